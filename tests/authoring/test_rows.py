"""Rows while somebody works on them, and two people's changes put together."""

import pytest

from gateway.authoring.merge import merge
from gateway.authoring.rows import added, moved, numbered, removed, rows_of, split

TWO = {"name": "CRM", "fields.3.name": "b", "fields.1.name": "a", "fields.2.required": "on", "allow.urls.7": "x.test"}


def test_rows_are_numbered_from_nothing_on_and_the_empty_ones_stand_last():
    assert numbered(TWO) == {
        "name": "CRM",
        "fields.0.name": "a",
        "fields.1.name": "b",
        "fields.2.required": "on",
        "allow.urls.0": "x.test",
    }


def test_a_row_more_is_there_to_be_filled_in():
    values = added(numbered({"fields.0.name": "a"}), "fields")
    assert rows_of(values, "fields") == [{"name": "a"}, {"name": "", "required": "on"}]
    assert rows_of(added({}, "allow.urls"), "allow.urls") == [{"": ""}]
    assert rows_of(added({}, "inject.headers"), "inject.headers") == [{"name": "", "value": "", "kind": "text"}]


def test_a_row_that_says_something_takes_the_place_of_empty_ones():
    values = added({"allow.urls.0": "a.test", "allow.urls.1": ""}, "allow.urls", {"": "b.test"})
    assert values == {"allow.urls.0": "a.test", "allow.urls.1": "b.test"}


def test_a_row_less_and_the_others_move_up():
    values = {"inject.query.0.name": "a", "inject.query.1.name": "b", "inject.body.0.name": "c"}
    assert removed(values, "inject.query.0") == {"inject.query.0.name": "b", "inject.body.0.name": "c"}
    assert removed(values, "inject.query.9") == values


@pytest.mark.parametrize(
    ("row", "by", "order"), [(0, 1, "bac"), (2, -1, "acb"), (0, -1, "abc"), (2, 1, "abc"), (9, 1, "abc")]
)
def test_a_row_is_moved_and_stays_within_the_others(row, by, order):
    values = {f"fields.{number}.name": name for number, name in enumerate("abc")}
    assert "".join(one["name"] for one in rows_of(moved(values, f"fields.{row}", by), "fields")) == order


@pytest.mark.parametrize("name", ["fields", "fields.x", "fields.0.name", "name", "fields.01", "fields.9999999"])
def test_what_is_no_row_is_said(name):
    with pytest.raises(ValueError, match="is no row"):
        split(name)


def test_of_two_peoples_changes_both_stay_and_a_part_that_both_changed_is_mine():
    base = {"name": "CRM", "base_url": "https://a.test", "allow.urls.0": "a.test", "fields.0.name": "x"}
    mine = base | {"name": "Mine", "allow.urls.1": "b.test"}
    theirs = base | {"name": "Theirs", "base_url": "https://c.test"}
    del theirs["fields.0.name"]
    merged = merge(base, mine, theirs)
    assert merged.values == {
        "name": "Mine",
        "base_url": "https://c.test",
        "allow.urls.0": "a.test",
        "allow.urls.1": "b.test",
    }
    assert (set(merged.theirs), merged.clashes) == ({"base_url", "fields"}, ("name",))


def test_where_both_made_the_same_change_there_is_nothing_to_tell():
    merged = merge({"name": "A"}, {"name": "B"}, {"name": "B"})
    assert (merged.values, merged.theirs, merged.clashes) == ({"name": "B"}, (), ())
