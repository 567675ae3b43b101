"""What is PostgreSQL's own: how opening fails, and that both ways lead to the same schema there too."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.errors import StartError, StoreError
from gateway.store import EventRow, Store, failures, postgresql, schema
from gateway.store.changes import in_order
from gateway.store.database import Database
from gateway.store.requests import Requests
from gateway.store.transaction import Transaction
from tests.store.samples import a_connection, a_request

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("/postgres?", "/missing?"), "The store does not exist."),
        (
            ("postgres:@", "nobody:@"),
            f"The store {failures._SQLSTATE['28000']}.",
        ),
        (("?host=/", "?host=/nowhere/"), "The store can't be reached (No such file or directory)."),
    ],
)
async def test_a_database_that_cannot_be_used_is_one_clear_line(url, change, said):
    with pytest.raises(StartError) as caught:
        await Store.open(url.replace(*change), migrate=True)
    assert caught.value.refusal.detail == said


async def test_a_server_that_is_not_there_is_one_clear_line_without_the_password():
    with pytest.raises(StartError, match="can't be reached") as caught:
        await Store.open("postgresql://user:s3cret@127.0.0.1:1/gateway", migrate=True)
    assert "s3cret" not in str(caught.value)


class Mute:
    """A connection, its holder and its driver in one: it answers to BEGIN when it may, and then never again."""

    def __init__(self) -> None:
        self.asked, self.may_answer, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.driver_connection = self.sync_connection = self
        self.is_closed = self.ended.is_set
        self.terminate = self.ended.set

    async def start(self) -> None: ...

    async def invalidate(self) -> None: ...

    async def close(self) -> None: ...

    async def get_raw_connection(self) -> "Mute":
        return self

    async def execute(self, words: str) -> str:
        self.asked.set()
        await (self.may_answer if words.startswith("BEGIN") else self.ended).wait()
        return words


async def test_who_is_cancelled_at_begin_waits_for_no_server_that_then_falls_silent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgresql, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(postgresql, "LEAVE_SECONDS", 0.05)
    mute: Any = Mute()
    transaction = postgresql.ServerTransaction(mute, writes=False, patient=False)
    beginning = asyncio.create_task(transaction.begin())
    await mute.asked.wait()
    beginning.cancel()
    mute.may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    assert not mute.ended.is_set()
    async with asyncio.timeout(5):
        await transaction.end()
    assert mute.ended.is_set()


def test_a_missing_driver_says_what_to_install():
    program = """
import asyncio, sys
sys.modules["asyncpg"] = None
from gateway.store import Store
try:
    asyncio.run(Store.open("postgresql://u@127.0.0.1:1/x", migrate=True))
except Exception as error:
    print(type(error).__name__, error)
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert child.stdout.startswith("StartError The store's URL needs asyncpg")
    assert "connection-gateway[postgres]" in child.stdout


async def test_a_rotated_token_is_written_while_everybody_else_waits_for_a_connection(store: Store) -> None:
    """Hundreds may want to look at once, when a provider or the database is back; a token that waits may be lost."""
    if store.database.is_sqlite:
        pytest.skip("there it is a matter of milliseconds")
    await store.connections.insert(a_connection())
    fence = await store.connections.take_lease("crm-ann", owner="me", seen_version=1, now=1.0, until=31.0)
    assert fence is not None
    go_on = asyncio.Event()

    async def look() -> None:
        async with store.database.read() as connection:
            await connection.execute(text("SELECT 1"))
            await go_on.wait()

    waiting = [asyncio.create_task(look()) for _ in range(20)]
    written = await asyncio.wait_for(
        store.connections.write_tokens("crm-ann", fence=fence, now=2.0, credentials=b"new", expires_at=None), 10.0
    )
    assert written
    assert not any(task.done() for task in waiting)
    go_on.set()
    await asyncio.gather(*waiting)


DESCRIBED = """
SELECT table_name, column_name, data_type, is_nullable, is_identity, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2
"""
INDEXED = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"


async def described(url: str) -> list[tuple[object, ...]]:
    database = Database(url)
    async with database.read() as connection:
        columns = await connection.exec_driver_sql(DESCRIBED)
        indexes = await connection.exec_driver_sql(INDEXED)
        found = [*map(tuple, columns), *map(tuple, indexes)]
    await database.close()
    return found


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_fresh_store_has_exactly_the_tables_that_the_migrations_arrive_at(store_url):
    database = Database(store_url)
    async with database.write() as connection:
        await connection.run_sync(schema.upgrade)
    migrated = await described(store_url)
    async with database.write() as connection:
        await connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        await connection.exec_driver_sql("CREATE SCHEMA public")
    await database.close()
    async with await Store.open(store_url, migrate=True):
        pass
    assert await described(store_url) == migrated
    assert len(migrated) > 70


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_newer_schema_is_refused(store_url):
    async with await Store.open(store_url, migrate=True) as store, store.database.write() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(StartError, match=r"schema 0099, newer than this gateway's"):
        await Store.open(store_url, migrate=True)


class Slow(Database):
    """A database whose writers come to the end of their transaction and wait there."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        async with super().write() as transaction:
            yield transaction
            self.arrived.set()
            await self.go_on.wait()


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_tail_of_requests_misses_none_that_was_numbered_before_another_and_committed_after_it(store, store_url):
    slow = Slow(store_url)
    first = asyncio.create_task(Requests(slow).add_many([a_request(1.0)]))
    await slow.arrived.wait()
    second = asyncio.create_task(store.requests.add_many([a_request(2.0)]))
    while not second.done():
        async with store.database.read() as connection:
            held_up = await connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if held_up.scalar_one():
                break
    seen = [(row.id, row.at) for row in (await store.requests.list(after=0)).items]
    slow.go_on.set()
    await asyncio.gather(first, second)
    await slow.close()
    rest = await store.requests.list(after=seen[-1][0] if seen else 0)
    assert [at for _, at in seen] + [row.at for row in rest.items] == [1.0, 2.0]


WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
WRITERS: dict[str, Callable[[Store], Coroutine[Any, Any, object]]] = {
    "an event": lambda store: store.events.add(EventRow(at=2.0, kind="k", actor="a")),
    "an event alongside": lambda store: store.connections.insert(
        a_connection(), alongside=(EventRow(at=2.0, kind="k", actor="a"),)
    ),
}


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("writer", WRITERS)
async def test_an_event_is_numbered_only_when_all_before_it_are_committed(store: Store, writer):
    """Else a tail that has read entry 8 would never see a 7 that is committed behind it."""
    async with store.database.write(urgent=True) as first:  # two connections are left for the others
        await in_order(first)
        second = asyncio.create_task(WRITERS[writer](store))
        async with asyncio.timeout(10), store.database.read() as looking:
            while not (await looking.execute(WAITING)).scalar():
                assert not second.done(), "it has overtaken"
    await second


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_server_beside_a_newer_schema_says_what_it_misses(store_url):
    """In a rolling upgrade the newer replica migrates while the older ones still run."""
    async with await Store.open(store_url, migrate=True) as store:
        for change, said in (
            ("ALTER TABLE clients RENAME COLUMN patterns TO rules", "lacks a column"),
            ("ALTER TABLE clients RENAME TO programs", "lacks a table"),
        ):
            async with store.database.write() as connection:
                await connection.exec_driver_sql(change)
            with pytest.raises(StoreError, match=rf"{said} \(has a newer gateway changed its schema\?\)"):
                await store.clients.all()
