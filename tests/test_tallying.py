"""What was counted arrives in the store: once, whole, and also after the store was away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.app import Gateway, open_gateway, tallying
from gateway.app.tallying import Tallying
from gateway.settings import Settings
from gateway.store.rows import TallyRow
from gateway.store.tables import tallies
from tests.proxy.test_tally import AT, an_entry

DAY = 86_400
HOUR = MINUTES = int(AT)  # the beginning of an hour, and so of five minutes


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.chdir(tmp_path)
    async with open_gateway(Settings(), clock=lambda: AT) as opened:
        yield opened


async def requests(gateway: Gateway, dimension: str, key: str = "", step: int = 3600) -> list[tuple[int, int]]:
    found = await gateway.store.tallies.series(dimension, key, since=int(AT) - DAY, step=step)
    return [(row.at, row.requests) for row in found]


async def rename(gateway: Gateway, old: str, new: str) -> None:
    async with gateway.store.database.write() as connection:
        await connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


async def test_a_request_counts_for_all_for_its_app_its_connection_and_its_client(gateway: Gateway) -> None:
    gateway.tally.add(
        [an_entry(), an_entry(status=500, seconds=2.0, connection="crm-bob"), an_entry(app="", client="")]
    )
    gateway.tally.add([an_entry(at=AT + 601, app="", client="")])
    await Tallying(gateway).write()
    assert await requests(gateway, "all", step=300) == [(MINUTES, 3), (MINUTES + 600, 1)]
    assert await requests(gateway, "all") == [(HOUR, 4)]
    assert await requests(gateway, "app", "crm", step=300) == [(MINUTES, 2)]
    assert await requests(gateway, "app", "crm") == [(HOUR, 2)]
    assert await requests(gateway, "connection", "crm-ann") == [(HOUR, 1)]
    assert await requests(gateway, "connection", "crm-bob") == [(HOUR, 1)]
    assert await requests(gateway, "client", "runner") == [(HOUR, 2)]
    (row,) = await gateway.store.tallies.series("app", "crm", since=HOUR, step=3600)
    assert (row.failed, row.seconds, row.latency) == (1, 2.01, (0, 1, 0, 0, 0, 0, 0, 1, 0, 0))
    async with gateway.store.database.read() as connection:
        found = await connection.execute(tallies.select().where(tallies.c.dimension == "all"))
        assert sorted((row.span, row.at) for row in found) == [(300, MINUTES), (300, MINUTES + 600), (3600, HOUR)]


async def test_what_is_refused_is_counted_and_has_no_latency(gateway: Gateway) -> None:
    gateway.tally.add([an_entry(status=403, code="target_not_allowed", refreshed=True)] * 3)
    gateway.tally.turned_away(AT)
    await Tallying(gateway).write()
    (row,) = await gateway.store.tallies.series("all", since=HOUR, step=3600)
    assert (row.requests, row.refused, row.seconds, sum(row.latency)) == (4, 4, 0.0, 0)


async def test_calls_of_a_token_endpoint_are_counted_without_a_request(gateway: Gateway) -> None:
    gateway.tally.renewal(AT, "crm", "crm-ann", renewed=True)
    gateway.tally.renewal(AT, "crm", "crm-ann", renewed=False)
    await Tallying(gateway).write()
    for dimension, key in (("all", ""), ("app", "crm"), ("connection", "crm-ann")):
        (row,) = await gateway.store.tallies.series(dimension, key, since=HOUR, step=3600)
        assert (row.requests, row.renewed, row.not_renewed) == (0, 1, 1)


async def test_what_is_written_twice_is_counted_once_and_more_is_added(gateway: Gateway) -> None:
    mine = Tallying(gateway)
    gateway.tally.add([an_entry()])
    await mine.write()
    await mine.write()
    gateway.tally.add([an_entry(), an_entry(at=AT + 3600)])
    await mine.write()
    assert await requests(gateway, "app", "crm") == [(HOUR, 2), (HOUR + 3600, 1)]


async def test_many_are_written_in_lots_and_none_of_them_twice(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "CELLS", 3)
    monkeypatch.setattr(tallying, "ROWS", 4)
    mine = Tallying(gateway)
    for _ in range(2):
        gateway.tally.add([an_entry(connection=f"crm-{number}") for number in range(10)])
        await mine.write()
    assert await requests(gateway, "all", step=300) == [(MINUTES, 20)]
    assert [await requests(gateway, "connection", f"crm-{number}") for number in range(10)] == [[(HOUR, 2)]] * 10


async def test_while_the_store_is_away_the_counts_wait_for_it(gateway: Gateway) -> None:
    mine = Tallying(gateway)
    await rename(gateway, "tallies", "away")
    for _ in range(3):
        gateway.tally.add([an_entry()])
        await mine.write()
    await rename(gateway, "away", "tallies")
    await mine.write()
    assert await requests(gateway, "connection", "crm-ann") == [(HOUR, 3)]


async def test_so_many_wait_and_those_of_the_apps_and_of_all_wait_longest(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "WAITING", 6)
    mine = Tallying(gateway)
    await rename(gateway, "tallies", "away")
    for number in range(8):
        gateway.tally.add([an_entry(connection=f"crm-{number}")])
        await mine.write()
    gateway.tally.add([an_entry(at=AT + 300)])
    await mine.write()
    await rename(gateway, "away", "tallies")
    await mine.write()
    assert await requests(gateway, "all") == [(HOUR, 9)]
    assert await requests(gateway, "app", "crm", step=300) == [(MINUTES, 8), (MINUTES + 300, 1)]
    kept = [number for number in range(8) if await requests(gateway, "connection", f"crm-{number}")]
    assert kept == [0], "of six, four are all's and the app's, and one is the client's"


async def test_what_is_old_is_removed_once_an_hour(gateway: Gateway) -> None:
    mine = Tallying(gateway)
    gateway.tally.add([an_entry(at=AT - 8 * DAY), an_entry()])
    await mine.write()
    await mine.prune()
    gateway.tally.add([an_entry(at=AT - 8 * DAY)])
    await mine.write()
    await mine.prune()
    found = await gateway.store.tallies.series("app", "crm", since=0, step=300)
    assert [row.at for row in found] == [MINUTES - 8 * DAY, MINUTES], "the second is gone in an hour"
    mine._prune_at = 0.0
    await mine.prune()
    assert len(await gateway.store.tallies.series("app", "crm", since=0, step=300)) == 1


async def test_counts_do_not_wait_for_what_is_old_to_be_removed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is patient with a store that hangs, for minutes."""
    monkeypatch.setattr(tallying, "WRITE_SECONDS", 0.0)
    pruning, never = asyncio.Event(), asyncio.Event()

    async def prune_for_ever(*, now: float) -> None:  # noqa: ARG001 - as the store has it
        pruning.set()
        await never.wait()

    monkeypatch.setattr(gateway.store.tallies, "prune", prune_for_ever)
    writing = asyncio.create_task(tallying.store_tallies(gateway))
    async with asyncio.timeout(10):
        await pruning.wait()
        gateway.tally.add([an_entry()])
        while await requests(gateway, "all") != [(HOUR, 1)]:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


async def test_a_server_that_is_stopped_while_it_writes_adds_nothing_twice_and_what_came_meanwhile(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallying, "WRITE_SECONDS", 0.0)
    add, committed, end = gateway.store.tallies.add, asyncio.Event(), asyncio.Event()

    async def add_slowly(rows: Sequence[TallyRow]) -> None:
        await add(rows)
        if rows:
            committed.set()
            await end.wait()

    monkeypatch.setattr(gateway.store.tallies, "add", add_slowly)
    gateway.tally.add([an_entry()])
    writing = asyncio.create_task(tallying.store_tallies(gateway))
    await committed.wait()
    gateway.tally.add([an_entry()])
    writing.cancel()
    asyncio.get_running_loop().call_soon(end.set)
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await requests(gateway, "all") == [(HOUR, 2)]
