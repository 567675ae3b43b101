"""What patterns cover of the connections that there are."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.access import Pattern
from gateway.web.coverage import Coverage

IDS = sorted(["crm-ann", "crm-bob", "crm", "board-ann", "Crm-ann", "crm.x", "z"])
letters = st.sampled_from("ab-.*z~A_9")


def test_patterns_together_cover_each_connection_once_in_order():
    assert Coverage(IDS).of(["crm-*", "*-ann", "z", "nothing"]) == ["Crm-ann", "board-ann", "crm-ann", "crm-bob", "z"]
    assert Coverage(IDS).of(["crm"]) == ["crm"]
    assert Coverage(IDS).of([]) == []
    assert Coverage([]).of(["*"]) == []
    assert len(Coverage(IDS)) == 7


@given(
    ids=st.sets(st.text(st.sampled_from("ab-.z~A_9"), min_size=1, max_size=5)),
    patterns=st.lists(st.text(letters, min_size=1, max_size=5), max_size=3),
)
def test_it_is_what_access_lets_through(ids, patterns):
    expected = sorted(one for one in ids if any(Pattern.parse(pattern).matches(one) for pattern in patterns))
    assert Coverage(sorted(ids)).of(patterns) == expected
