"""What every store does with the counts over time."""

import asyncio
from typing import Any

from gateway.store import Store
from gateway.store.database import Database
from gateway.store.rows import LATENCIES, LATENCY, TallyRow
from gateway.store.tables import tallies
from gateway.store.tallies import SPANS, Tallies

DAY = 86_400
NOW = 20_000 * DAY  # the beginning of a day, and so of an hour and of five minutes


def a_tally(at: int = NOW, **changes: Any) -> TallyRow:
    values: dict[str, Any] = {"dimension": "app", "key": "crm", "span": 300, "requests": 1}
    return TallyRow(at=at, **values | changes)


async def numbers(store: Store, dimension: str, span: int) -> int:
    async with store.database.read() as connection:
        found = await connection.execute(tallies.select())
        return sum(row.dimension == dimension and row.span == span for row in found)


def test_each_latency_has_a_column_and_what_is_longer_than_all_has_one():
    assert len(LATENCIES) == len(LATENCY) + 1


async def test_counts_come_back_as_they_were_added(store: Store):
    row = TallyRow(
        dimension="connection",
        key="crm-ann ☃",
        at=NOW,
        span=3600,
        requests=55,
        refused=10,
        failed=7,
        refreshed=3,
        renewed=2,
        not_renewed=1,
        seconds=12.5,
        latency=(9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
    )
    await store.tallies.add([row])
    assert await store.tallies.series("connection", "crm-ann ☃", since=NOW, step=3600) == [row]


async def test_what_is_added_to_the_same_row_adds_up_in_every_column(store: Store):
    latency = tuple(range(10))
    counts: dict[str, Any] = {
        name: number
        for number, name in enumerate(("requests", "refused", "failed", "refreshed", "renewed", "not_renewed"), start=1)
    }
    await store.tallies.add([a_tally(**counts, seconds=0.25, latency=latency), a_tally(key="hub")])
    await store.tallies.add([a_tally(**counts, seconds=0.5, latency=latency)])
    twice = {name: 2 * number for name, number in counts.items()}
    expected = a_tally(**twice, seconds=0.75, latency=tuple(2 * number for number in latency))
    assert await store.tallies.series("app", "crm", since=NOW, step=300) == [expected]
    assert [row.requests for row in await store.tallies.series("app", "hub", since=NOW, step=300)] == [1]


async def test_no_rows_are_none_and_more_rows_than_one_statement_holds_are_all_added(store: Store):
    await store.tallies.add([])
    await store.tallies.add([a_tally(key=f"app-{number}") for number in range(601)])
    assert await numbers(store, "app", 300) == 601


async def test_two_processes_that_add_to_the_same_rows_at_once_lose_nothing(store: Store, store_url: str):
    """Neither waits for the other for ever, though each has them in another order."""
    rows = [a_tally(key=f"app-{number:03}") for number in range(300)]
    other = Database(store_url)
    try:
        for _ in range(3):
            await asyncio.gather(store.tallies.add(rows), Tallies(other).add(rows[::-1]))
    finally:
        await other.close()
    busiest = await store.tallies.busiest("app", since=NOW, now=NOW, limit=300)
    assert {(busy.key, busy.requests) for busy in busiest} == {(row.key, 6) for row in rows}


async def test_a_series_is_in_steps_and_has_gaps_where_nothing_was(store: Store):
    minutes = {0: 1, 5: 2, 10: 4, 15: 8, 40: 16}
    await store.tallies.add([a_tally(NOW + minute * 60, requests=count) for minute, count in minutes.items()])
    await store.tallies.add([a_tally(NOW, span=3600, requests=1000), a_tally(NOW, dimension="all", key="")])

    async def series(since: int, step: int) -> list[tuple[int, int]]:
        found = await store.tallies.series("app", "crm", since=since, step=step)
        return [((row.at - NOW) // 60, row.requests) for row in found]

    assert await series(NOW, 300) == list(minutes.items())
    assert await series(NOW, 900) == [(0, 7), (15, 8), (30, 16)]
    assert await series(NOW + 10 * 60, 300) == [(10, 4), (15, 8), (40, 16)]
    assert await series(NOW + 10 * 60, 900) == [(0, 7), (15, 8), (30, 16)], "the first step is whole"
    assert await series(NOW + 3600, 300) == []


async def test_a_step_of_hours_is_read_from_the_rows_of_hours(store: Store):
    await store.tallies.add([a_tally(NOW), a_tally(NOW, span=3600, requests=7), a_tally(NOW + 3600, span=3600)])
    assert [row.requests for row in await store.tallies.series("app", "crm", since=NOW, step=3600)] == [7, 1]
    assert [row.requests for row in await store.tallies.series("app", "crm", since=NOW, step=7200)] == [8]


async def test_the_busiest_have_their_true_sums_over_whole_spans(store: Store):
    def hour(key: str, ago: int, requests: int) -> TallyRow:
        return a_tally(NOW - ago * 3600, dimension="connection", span=3600, key=key, requests=requests, failed=1)

    rows = [hour("steady", ago, 50) for ago in (*range(24), 30)] + [hour("once", 3, 900), hour("old", 30, 5000)]
    rows += [hour(f"{name}-quiet-{number:02}", 3, 1) for name in "az" for number in range(30)]
    await store.tallies.add(rows)
    found = await store.tallies.busiest("connection", since=NOW - DAY, now=NOW + 60, limit=2)
    assert [(busy.key, busy.requests, busy.failed) for busy in found] == [("steady", 1200, 24), ("once", 900, 1)]
    assert await store.tallies.busiest("client", since=NOW - DAY, now=NOW, limit=2) == []


async def test_within_an_hour_apps_are_compared_by_five_minutes(store: Store):
    await store.tallies.add(
        [
            a_tally(NOW - 3600, key="before", requests=100),
            a_tally(NOW - 900, key="now", requests=3),
            a_tally(NOW - 3600, span=3600, key="before", requests=100),
        ]
    )
    found = await store.tallies.busiest("app", since=NOW - 1800, now=NOW, limit=5)
    assert [(busy.key, busy.requests) for busy in found] == [("now", 3)]


async def test_five_minutes_are_kept_for_a_week_and_hours_for_five(store: Store):
    def rows(ago: int) -> list[TallyRow]:
        return [
            a_tally(NOW - ago, dimension=dimension, key="", span=span)
            for dimension, spans in SPANS.items()
            for span in spans
        ]

    for ago in (7 * DAY, 7 * DAY + 300, 35 * DAY, 35 * DAY + 3600):
        await store.tallies.add(rows(ago))
    assert await store.tallies.prune(now=NOW) == 2 * 3 + 4
    assert await store.tallies.prune(now=NOW) == 0
    assert [await numbers(store, "app", 300), await numbers(store, "app", 3600)] == [1, 3]
    assert [await numbers(store, "connection", 3600), await numbers(store, "client", 3600)] == [3, 3]


async def test_however_many_connections_there_are_the_rows_stay_under_their_bound_by_whole_hours(store: Store):
    for ago in range(3):
        at = NOW - ago * 3600
        await store.tallies.add(
            [a_tally(at, dimension="connection", span=3600, key=f"c-{number}") for number in range(10)]
        )
    await store.tallies.add([a_tally(NOW - 7200, dimension="client", span=3600)])
    assert await store.tallies.prune(now=NOW, keep=25) == 10
    assert await numbers(store, "connection", 3600) == 20
    assert await numbers(store, "client", 3600) == 1
    assert await store.tallies.prune(now=NOW, keep=20) == 0


async def test_the_last_hour_of_each_client_is_found_and_of_those_alone(store: Store):
    def hour(key: str, at: int, **changes: Any) -> TallyRow:
        return a_tally(NOW + at, **{"dimension": "client", "key": key, "span": 3600} | changes)

    await store.tallies.add(
        [hour("a", 0), hour("a", 7200), hour("a", 3600), hour("b", 3600), hour("c", 0), hour("a", 9000, span=300)]
    )
    await store.tallies.add([hour("b", 9_000_000, dimension="app")])
    assert await store.tallies.last("client", ["a", "b", "nobody"]) == {"a": NOW + 7200, "b": NOW + 3600}
    assert await store.tallies.last("client", []) == {}
