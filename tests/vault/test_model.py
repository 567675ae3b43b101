"""The refresh protocol, through every order of its steps and of all that can go wrong: see `model`."""

import pytest

from tests.vault.model import BORNE, CALL, UNIT, Found, Violated, World, search

NOTHING_WRONG = frozenset[str]()
LATE = "late request"  # one that arrives when its sender is long gone, and another process has used the token since

HOLDS = {
    "two replicas": (World(), NOTHING_WRONG),
    "three replicas": (World(skews=(0, 0, 0), leases=3), NOTHING_WRONG),
    "the provider fails": (World(failures=2), NOTHING_WRONG),
    "one clock is 15 s ahead": (World(skews=(0, BORNE)), NOTHING_WRONG),
    "one clock is 15 s behind": (World(skews=(0, -BORNE)), NOTHING_WRONG),
    "three clocks": (World(skews=(-1, 0, 2), leases=3), NOTHING_WRONG),
    "the store is away, for however long": (World(outages=1), NOTHING_WRONG),
    "a write is made and not heard of": (World(unsure=1, outages=1, leases=3), NOTHING_WRONG),
    "one is cut off from the store for 15 s": (World(cuts=1, longest_cut=BORNE, leases=3), NOTHING_WRONG),
    "people come in between": (World(reconnects=1, disconnects=1, leases=2), NOTHING_WRONG),
    "one is cut off from the store for longer": (World(cuts=1, longest_cut=BORNE + 1, leases=3), {"cut off"}),
    "the provider's answer is lost": (World(lost=1), {"lost answer", LATE}),
    "kill -9 at every step": (World(crashes=1), {"crash", LATE}),
    "kill -9, twice": (World(crashes=2, leases=3), {"crash", LATE}),
    "kill -9, and a person": (World(crashes=1, reconnects=1, leases=3), {"crash", LATE}),
    "kill -9, with a provider that takes the last token twice": (World(crashes=1, grace=True), {LATE}),
    "a lost answer, with such a provider": (World(lost=1, grace=True), {LATE}),
}


@pytest.mark.parametrize(("world", "reasons"), HOLDS.values(), ids=HOLDS.keys())
def test_a_spent_token_is_used_again_only_where_its_answer_was_lost(world: World, reasons: frozenset[str]) -> None:
    """And in no state is an older token written over a newer one, nor one lost that nothing had happened to."""
    found = search(world)
    assert found == Found(states=found.states, reuses=frozenset(reasons))
    assert found.states > 1000


TWICE = "two calls with one token at a time"
REUSED = "a spent refresh token was used again, and nobody had lost the answer"
BREAKS = {
    "no fence, and a person reconnects": (World(fenced=False, reconnects=1), "an older token was written over a newer"),
    "no fence, and a person disconnects": (World(fenced=False, disconnects=1), "a connection that a person ended was"),
    "a lease that is shorter than the call": (World(lease=CALL - 2), TWICE),
    "a clock that is 20 s ahead": (World(skews=(0, BORNE + 1)), TWICE),
    "a clock that is 20 s behind": (World(skews=(0, -BORNE - 1)), TWICE),
    "a call whose time begins when it is sent": (World(counted_from_the_lease=False), TWICE),
    "a lapsed lease that nobody watches": (World(watch=0, outages=1), REUSED),
}


@pytest.mark.parametrize(("world", "what"), BREAKS.values(), ids=BREAKS.keys())
def test_the_search_finds_what_each_rule_is_for(world: World, what: str) -> None:
    with pytest.raises(Violated, match=what):
        search(world)


def test_the_clocks_may_be_as_far_apart_as_the_documentation_says() -> None:
    assert BORNE * UNIT == 15.0
