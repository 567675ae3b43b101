"""Through PgBouncer in transaction mode, where each transaction is another process of the server: the same contract.

The tests of `leases`, `clients` and the change feed are the very same ones, over this store.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from gateway.store import Store, changes, listening, postgresql
from gateway.store.listening import Bell
from tests.pgbouncer import pgbouncer
from tests.store.samples import a_client, a_connection
from tests.store.test_changes import *  # noqa: F403 - its tests
from tests.store.test_changes import Heard, watching
from tests.store.test_leases import *  # noqa: F403 - its tests
from tests.store.test_listening import ringing


@pytest.fixture(scope="module")
def bounced_url(postgresql_url: str) -> Iterator[str]:
    with pgbouncer(postgresql_url) as url:
        yield url


@pytest.fixture
def store_url(bounced_url: str) -> str:
    return bounced_url


async def test_many_at_once_share_three_processes_of_the_server(store: Store, store_url: str):
    """Were anything left behind by one, another would find it: a statement, a setting, half a transaction."""

    async def one(mine: Store, other: Store, number: int) -> tuple[int | None, bool]:
        name = f"c{number}"
        await mine.connections.insert(a_connection(name))
        fence = await other.connections.take_lease(name, owner="o", seen_version=1, now=1.0, until=31.0)
        late = await mine.connections.take_lease(name, owner="m", seen_version=1, now=2.0, until=32.0)
        written = await other.connections.write_tokens(
            name, fence=fence or 0, now=3.0, credentials=name.encode(), expires_at=None
        )
        await mine.clients.insert(a_client(name))
        return late, written

    async with await Store.open(store_url, migrate=False) as other:
        done = await asyncio.gather(
            *(one(store, other, number) if number % 2 else one(other, store, number) for number in range(40))
        )
        assert done == [(None, True)] * 40
        rows = (await other.connections.list()).items
        assert [(row.id, row.credentials, row.token_version) for row in rows] == sorted(
            (f"c{number}", f"c{number}".encode(), 2) for number in range(40)
        )
        assert [client.patterns for client in await store.clients.all()] == [("crm-*", "x")] * 40


async def test_nothing_lasts_longer_than_a_transaction(store: Store):
    await store.clients.insert(a_client())
    left = text(
        "SELECT (SELECT count(*) FROM pg_prepared_statements), current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
    )
    pool = store.database
    async with pool.read() as first, pool.read() as second, pool.write(urgent=True) as third:
        for one in (first, second, third):
            await one.execute(text("COMMIT"))
            assert [*(await one.execute(left)).one()] == [0, "0", "0", 0]


async def test_a_listener_finds_that_it_is_deaf_and_the_feed_is_polled(
    store: Store, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "HEAR_SECONDS", 0.1)
    bell, proofs = Bell(store.database, Random(1)), asyncio.Queue[bool]()
    is_proved = bell._is_proved

    async def noted() -> bool:
        proofs.put_nowait(await is_proved())
        return False

    monkeypatch.setattr(bell, "_is_proved", noted)
    async with ringing(bell):
        assert await asyncio.wait_for(proofs.get(), 10) is False
        assert not bell.hears
    heard, loop = Heard(), asyncio.get_running_loop()
    polling = watching(store, heard, interval=changes.SERVER_POLL_SECONDS, after=0)
    async with await Store.open(postgresql_url, migrate=False) as other, polling:
        await other.clients.insert(a_client("a"))
        await heard.until(bool)
        begun = loop.time()
        await other.clients.insert(a_client("b"))
        await heard.until(lambda said: len(said) == 2)
        assert loop.time() - begun < 1.0


async def test_who_goes_away_in_the_middle_of_a_statement_never_has_the_server_asked_to_cancel_it(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    """PgBouncer dies of such requests now and then (its issue 801)."""
    monkeypatch.setattr(postgresql, "LEAVE_SECONDS", 0.1)
    log = Path(parse_qs(urlsplit(store_url).query)["host"][0], "log")
    said = len(log.read_text())  # noqa: ASYNC240 - a few lines
    for seconds in (0.01, 30):  # one that ends meanwhile, one that is hung up on
        async with asyncio.timeout(10):
            begun = asyncio.Event()
            work = asyncio.create_task(sleep_over(store, seconds, begun))
            await begun.wait()
            await asyncio.sleep(0)  # into the statement
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert await store.connections.count() == 0
    assert "cancel request" not in log.read_text()[said:]  # noqa: ASYNC240 - as above


async def sleep_over(store: Store, seconds: float, begun: asyncio.Event) -> None:
    async with store.database.read() as connection:
        begun.set()
        await connection.execute(text(f"SELECT pg_sleep({seconds})"))
