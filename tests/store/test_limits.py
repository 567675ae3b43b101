"""What every store does with what is counted over all replicas."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.store import Store
from gateway.store.limits import Ask
from gateway.store.turns import Turns, fair_share, reserve

KEY = "connection:crm-ann"


@pytest.mark.parametrize(
    ("free_at", "turns", "burst", "ahead", "reserved"),
    [
        (0.0, 1, 1, 0.0, Turns(1, 0.0)),
        (0.0, 5, 1, 0.0, Turns(1, 0.0)),
        (0.0, 5, 3, 0.0, Turns(3, -1.0)),  # three at once, as nothing was sent for long
        (0.0, 2, 3, 0.0, Turns(2, -1.0)),
        (0.0, 5, 1, 1.0, Turns(3, 0.0)),  # now, in half a second, in one second
        (100.5, 5, 1, 0.0, Turns(0, 0.5)),
        (100.5, 5, 1, 0.5, Turns(1, 0.5)),
        (100.5, 5, 3, 0.0, Turns(2, -0.5)),
    ],
)
def test_turns_are_those_that_are_due_within_the_wait(free_at, turns, burst, ahead, reserved):
    after, got = reserve(free_at, now=100.0, turns=turns, interval=0.5, burst=burst, ahead=ahead)
    assert got == reserved
    assert after == max(free_at, 100.0) + 0.5 * reserved.count


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 9)), max_size=40),
    st.integers(1, 9),
    st.sampled_from([0.0, 1.0]),
)
def test_no_more_turns_are_due_than_the_rate_and_the_burst_allow(asks, burst, ahead):
    """Whoever asks, whenever, for however many: between any two moments there are so many and no more."""
    now, free_at, due = 0.0, 0.0, []
    for pause, turns in asks:
        now += pause
        free_at, got = reserve(free_at, now=now, turns=turns, interval=0.25, burst=burst, ahead=ahead)
        due += [max(now, now + got.start + 0.25 * number) for number in range(got.count)]
    due.sort()
    for number, first in enumerate(due):
        for count, last in enumerate(due[number:], start=1):
            assert count <= burst + (last - first) / 0.25 + 1e-6


@pytest.mark.parametrize(
    ("wanted", "shares"),
    [
        ({"a": 3}, {"a": 3}),
        ({"a": 30}, {"a": 12}),
        ({"a": 2, "b": 30}, {"a": 2, "b": 10}),
        ({"a": 30, "b": 30, "c": 1}, {"a": 6, "b": 5, "c": 1}),
        ({"a": 0, "b": 0}, {"a": 0, "b": 0}),
    ],
)
def test_who_needs_little_gets_it_and_the_rest_is_divided_evenly(wanted, shares):
    assert {name: fair_share(name, wanted, limit=12, now=0.0) for name in wanted} == shares


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 30))
def test_shares_are_the_limit_together_or_all_that_is_needed(wanted, limit):
    shares = [fair_share(name, wanted, limit=limit, now=7.0) for name in wanted]
    assert sum(shares) == min(limit, sum(wanted.values()))


def test_a_slot_that_cannot_be_divided_goes_round():
    wanted = {"a": 1, "b": 1, "c": 1}
    had = {next(name for name in wanted if fair_share(name, wanted, limit=1, now=now)) for now in (0.0, 2.0, 4.0, 5.9)}
    assert had == {"a", "b", "c"}


async def turns(store: Store, count: int, *, ahead: float = 0.0, now: float | None = None) -> Turns:
    (got,) = await store.limits.reserve([an_ask(turns=count, ahead=ahead)], now=time.time() if now is None else now)
    return got.turns


def an_ask(key: str = KEY, *, turns: int = 1, ahead: float = 0.0) -> Ask:
    return Ask(key=key, turns=turns, interval=10.0, burst=4, ahead=ahead)


async def test_turns_are_given_out_once_whoever_asks(store: Store):
    """Ten at once ask for one each: four there are, and the fifth is ten seconds away."""
    got = await asyncio.gather(*(turns(store, 1) for _ in range(10)))
    assert sum(one.count for one in got) == 4
    assert all(0 < one.start <= 10 for one in got if not one.count)


async def test_a_turn_ahead_is_told_by_when_it_is_due(store: Store):
    assert (await turns(store, 4)).count == 4
    late = await turns(store, 4, ahead=10.0)
    assert late.count == 1
    assert 9 < late.start <= 10


async def test_many_keys_at_once_are_counted_each_by_itself(store: Store):
    """In whichever order they come: two that ask for the same ones don't wait for each other for good."""
    keys = [f"connection:{number}" for number in range(5)]
    await store.limits.reserve([an_ask(keys[0], turns=4)], now=time.time())
    asks = [an_ask(key, turns=3) for key in keys]
    both = await asyncio.gather(
        store.limits.reserve(asks, now=time.time()), store.limits.reserve(asks[::-1], now=time.time())
    )
    given = [both[0][number].turns.count + both[1][4 - number].turns.count for number in range(5)]
    assert given == [0, 4, 4, 4, 4]


async def slots(store: Store, owner: str, wanted: int, *, in_use: int = 0, limit: int = 4, spare: int = 0) -> int:
    return await store.limits.share(
        KEY, owner=owner, in_use=in_use, wanted=wanted, spare=spare, limit=limit, now=time.time()
    )


async def test_all_slots_together_are_the_limit(store: Store):
    """The second gets what the first has left, and its fair part once the first has come by again."""
    for owner in ("a", "b"):
        await store.limits.renew(owner, now=time.time())
    assert await slots(store, "a", 3) == 3
    assert await slots(store, "b", 3) == 1
    assert await store.limits.contended("a") == [KEY]
    assert await store.limits.contended("b") == []
    assert await slots(store, "a", 3, in_use=3) == 2  # three are under way, and when one ends none takes its place
    assert await slots(store, "b", 3) == 1
    assert await slots(store, "a", 3, in_use=2) == 2
    assert await slots(store, "b", 3) == 2
    assert await slots(store, "a", 0) == 0
    assert await slots(store, "b", 3) == 3


async def test_what_nobody_needs_is_given_ahead(store: Store):
    for owner in ("a", "b"):
        await store.limits.renew(owner, now=time.time())
    assert await slots(store, "a", 1, spare=2) == 3
    assert await slots(store, "b", 1, spare=2) == 1
    assert await store.limits.contended("a") == []


async def test_many_that_ask_at_once_never_have_more_than_the_limit(store: Store):
    owners = [f"replica-{number}" for number in range(8)]
    for owner in owners:
        await store.limits.renew(owner, now=time.time())
    assert sum(await asyncio.gather(*(slots(store, owner, 3, limit=10) for owner in owners))) == 10


async def test_the_slots_of_one_that_died_come_back(store: Store):
    """Its lease lapses, wherever its clock stands; should it live after all, it hears that they are gone."""
    await store.limits.renew("dead", now=time.time())
    await store.limits.renew("a", now=time.time())
    assert await slots(store, "dead", 4) == 4
    assert await slots(store, "a", 4) == 0
    async with store.database.write() as connection:
        await connection.execute(text("UPDATE slot_holders SET until = until - 16 WHERE owner = 'dead'"))
    assert await slots(store, "a", 4) == 4
    assert not await store.limits.renew("dead", now=time.time())
    assert await store.limits.renew("dead", now=time.time())
    assert await slots(store, "dead", 4) == 0


async def test_one_that_stops_gives_its_slots_back_at_once(store: Store):
    for owner in ("a", "b"):
        await store.limits.renew(owner, now=time.time())
    assert await slots(store, "a", 4) == 4
    await store.limits.leave("a")
    assert await slots(store, "b", 4) == 4


async def test_a_pause_is_in_the_feed_and_a_shorter_one_changes_nothing(store: Store):
    after = await store.changes.latest()
    await store.limits.pause(KEY, 60.0, now=time.time())
    await store.limits.pause(KEY, 5.0, now=time.time())
    assert [(kind, key) for _, kind, key in await store.changes.since(after)] == [("pause", KEY)]
    assert 59 < await store.limits.paused(KEY, now=time.time()) <= 60
    assert await store.limits.paused("connection:other", now=time.time()) == 0
    (got,) = await store.limits.reserve([an_ask()], now=time.time())
    assert 59 < got.paused <= 60


async def test_what_says_nothing_any_more_is_removed(store: Store):
    await store.limits.renew("a", now=time.time())
    await store.limits.renew("old", now=time.time())
    assert await slots(store, "old", 4) == 4
    await turns(store, 1)
    await store.limits.pause("connection:paused", 60.0, now=time.time())
    async with store.database.write() as connection:
        await connection.execute(text("UPDATE limits SET free_at = free_at - 4000"))
        await connection.execute(text("UPDATE slot_holders SET until = until - 4000 WHERE owner = 'old'"))
    await store.limits.prune(now=time.time())
    async with store.database.read() as connection:
        for query, left in (
            ("SELECT key FROM limits", ["connection:paused"]),
            ("SELECT owner FROM slot_holders", ["a"]),
            ("SELECT owner FROM slots", []),
        ):
            assert list((await connection.execute(text(query))).scalars()) == left


async def test_the_machines_clocks_decide_nothing_on_postgresql(store: Store):
    """A replica that is an hour ahead gets no turn more, and its lease is as long as everybody's."""
    if store.database.is_sqlite:
        return
    ahead = time.time() + 3600
    assert (await turns(store, 4)).count == 4
    assert (await turns(store, 4, now=ahead)).count == 0
    await store.limits.renew("a", now=ahead)
    assert await slots(store, "a", 4) == 4
    await store.limits.renew("b", now=ahead)
    assert await store.limits.share(KEY, owner="b", in_use=0, wanted=4, spare=0, limit=4, now=ahead) == 0


async def test_no_commit_waits_for_the_disk_on_postgresql(store: Store):
    if store.database.is_sqlite:
        return
    async with store.database.read() as connection:
        query = "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY relname"
        found = await connection.execute(text(query))
        assert list(found.scalars()) == ["limits", "slot_holders", "slots"]
