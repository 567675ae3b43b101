"""What a server looks up about itself: the store's numbers, how far behind it is, how late its loop is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import Gateway, open_gateway
from gateway.app.watching import FeedLag, Taking, watch_itself
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.store import Status
from gateway.store.rows import RevocationRow
from tests.store.samples import a_client, a_connection

NOW = 1_700_000_000.0


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.chdir(tmp_path)
    async with open_gateway(Settings(workers=3), clock=lambda: NOW) as opened:
        yield opened


async def test_the_census_counts_what_the_store_holds_and_what_this_server_is_made_of(gateway: Gateway) -> None:
    store = gateway.store
    await store.connections.insert(a_connection("crm-ann"))
    await store.connections.insert(a_connection("crm-bob", failures=2, renew_at=NOW - 40))
    await store.connections.insert(a_connection("mail-ann", app="mail", status=Status.NEEDS_REAUTHORIZATION))
    for number, at in enumerate((NOW - 90, NOW + 10, None)):
        await store.revocations.add(a_revocation(str(number), at))
    gateway.catalog.directory.mkdir()
    (gateway.catalog.directory / "broken.toml").write_text("name = 1\nunknown = 2\n")
    gateway.catalog.load()
    await Taking(gateway).look()
    census = gateway.metrics.census
    assert census.store_up is True
    assert {key: count for key, count in census.connections.items() if count} == {
        ("crm", "active"): 2,
        ("mail", "needs_reauthorization"): 1,
    }
    assert census.connections["crm", "needs_reauthorization"] == 0, "else it couldn't be seen to rise"
    assert (census.retrying, census.given_up) == (1, 1)
    assert census.waiting == {"revocations": 2, "deliveries": 0}
    assert census.overdue == {"renewals": 40.0, "revocations": 90.0, "deliveries": 0.0}
    assert (census.workers, census.policies, census.faulty) == (3, 0, 1)
    assert census.data_key_made_at == NOW
    assert census.ca_expires_at is not None
    assert 9.9 < (census.ca_expires_at - NOW) / 365 / 86_400 < 10.1


def a_revocation(name: str, at: float | None) -> RevocationRow:
    return RevocationRow(id=name, connection="c", app="crm", actor="ann", created_at=NOW, next_try_at=at)


async def test_while_the_store_is_away_it_is_said_to_be_and_the_rest_stays_as_it_was(gateway: Gateway) -> None:
    await gateway.store.connections.insert(a_connection())
    taking, census = Taking(gateway), gateway.metrics.census
    await taking.look()
    async with gateway.store.database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE revocations RENAME TO away")
    await taking.look()
    assert census.store_up is False
    assert census.connections["crm", "active"] == 1
    async with gateway.store.database.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE away RENAME TO revocations")
    await taking.look()
    assert census.store_up is True


async def test_uses_of_the_store_are_counted_from_its_opening_on(gateway: Gateway) -> None:
    before = sum(gateway.metrics.store_seconds["write"].buckets)
    await gateway.store.meta.put("x", b"y")
    assert sum(gateway.metrics.store_seconds["write"].buckets) == before + 1
    with pytest.raises(Exception, match="store"):
        async with gateway.store.database.read() as connection:
            await connection.exec_driver_sql("SELECT * FROM nowhere")
    assert dict(gateway.metrics.store_errors.items()) == {("read",): 1}


def test_the_feed_s_lag_is_since_the_oldest_change_that_somebody_has_not_heard_of() -> None:
    lag = FeedLag()
    assert lag.look(100.0, newest=5, seen=5) == 0.0
    assert lag.look(110.0, newest=7, seen=5) == 0.0, "it may have been written this moment"
    assert lag.look(120.0, newest=9, seen=6) == 10.0
    assert lag.look(130.0, newest=9, seen=7) == 10.0, "9 has been there for ten seconds"
    assert lag.look(140.0, newest=9, seen=9) == 0.0


async def test_a_worker_that_hears_of_nothing_is_the_one_that_counts(gateway: Gateway) -> None:
    deaf = Metrics()
    gateway.metrics.heard(0, deaf.export())
    gateway.metrics.feed_seen = 1_000
    taking = Taking(gateway)
    await gateway.store.clients.insert(a_client())
    await taking.look()
    taking._gateway = replace(gateway, clock=lambda: NOW + 60.0)
    await taking.look()
    assert gateway.metrics.census.feed_lag == 60.0


async def test_a_process_shows_how_late_its_loop_was_at_its_latest(gateway: Gateway) -> None:
    looks, late, done = 0, [0.0, 0.5, 0.0], asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal looks
        if looks == len(late):
            done.set()
            await asyncio.Event().wait()
        clock.now += seconds + late[looks]
        looks += 1

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    gateway.store.changes.seen = 7
    watching = asyncio.create_task(watch_itself(gateway, sleep=sleep, time=clock))
    await done.wait()
    watching.cancel()
    assert gateway.metrics.figures["lag"] == 0.5
    assert gateway.metrics.figures["cpu"] > 0
    assert gateway.metrics.feed_seen == 7
