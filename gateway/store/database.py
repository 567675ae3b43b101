"""One database: how transactions begin, on SQLite and on PostgreSQL. Everything above only writes SQL.

SQLite: write-ahead log, full synchronisation (a rotated token that was committed survives a power cut), and each write
transaction begins with BEGIN IMMEDIATE, so that it never has to be given up half-way for a lock. Within a process
writers queue at a lock of our own, which is fair; between processes SQLite's busy timeout waits.

PostgreSQL: reads are single statements in autocommit, writes are READ COMMITTED transactions.

Whoever reads a sealed value gets it only after its data key is known, if there is such a key: the keys are read again
before. And a write that came too late for its key says so after they were read, so that the next try seals anew.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.keyring import Keyring
from gateway.store.failures import RetiredKeyError, translated
from gateway.store.sealed import noting
from gateway.store.transaction import Transaction

BUSY_SECONDS = 15.0  # longer than any honest writer holds the lock, shorter than the token call's 20 s (design.md)
POOL_SIZE = 4  # SQLite: a writer, a watcher, two readers; PostgreSQL: 20 replicas stay under 100 connections
CONNECT_SECONDS = 10.0  # PostgreSQL: asyncpg's own default is a minute, in which everybody waits
CLOSE_SECONDS = 5.0  # a step on SQLite takes milliseconds; who is stuck isn't waited for
URGENT = 1  # more, on PostgreSQL, for a rotated token alone: it must not wait behind hundreds who only want to look
_WRITES = "gateway_writes"


class Database:
    """An engine and the two ways to use it. Bound to the event loop it is first used in."""

    def __init__(self, url: URL) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgresql_engine(url)
        reading: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reader = self._engine.execution_options(**reading)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._in_use, self._idle = 0, asyncio.Event()
        self._keyring: Keyring | None = None
        self._learn: Callable[[], Awaitable[None]] | None = None
        self._turn: asyncio.Lock | nullcontext[None] = asyncio.Lock() if self.is_sqlite else nullcontext()
        self._lane = asyncio.Semaphore(POOL_SIZE)

    def opened_with(self, keyring: Keyring, learn: Callable[[], Awaitable[None]]) -> None:
        """Keep this keyring up to date from now on: `learn` adds the data keys that it doesn't have yet."""
        self._keyring, self._learn = keyring, learn

    async def learn(self) -> None:
        """Take up the data keys that other processes have made. Raises `StoreError`."""
        if self._learn is not None:
            await self._learn()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Give a connection to read with; each statement sees the newest commit. Raises `StoreError`."""
        with translated(), noting() as seen:
            async with self._using(self._reader) as transaction:
                yield transaction
            await self._know(seen)

    @asynccontextmanager
    async def write(self, *, urgent: bool = False) -> AsyncIterator[Transaction]:
        """Give a connection inside one write transaction, committed at the end, rolled back on any error.

        `urgent`: what is lost if it has to wait; there is a connection for nothing else, opened when it is needed.

        Raises `ConflictError` where a unique key is taken, `RetiredKeyError` where something is to be sealed anew,
        `StoreError` for everything else.
        """
        with translated(), noting() as seen:
            try:
                async with self._turn, self._using(self._writer, urgent=urgent) as transaction:
                    yield transaction
                    await transaction.commit()
            except RetiredKeyError:
                await self.learn()
                raise
            await self._know(seen)

    async def _know(self, key_ids: set[int]) -> None:
        if key_ids and self._keyring is not None and not self._keyring.knows(key_ids):
            await self.learn()

    @asynccontextmanager
    async def _using(self, engine: AsyncEngine, *, urgent: bool = False) -> AsyncIterator[Transaction]:
        async with nullcontext() if urgent else self._in_lane(), self._connected(engine) as transaction:
            yield transaction

    @asynccontextmanager
    async def _in_lane(self) -> AsyncIterator[None]:
        """Wait for one of the connections that are for everybody."""
        async with asyncio.timeout(BUSY_SECONDS):
            await self._lane.acquire()
        try:
            yield
        finally:
            self._lane.release()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[Transaction]:
        transaction = Transaction(engine.connect(), is_sqlite=self.is_sqlite)
        self._in_use += 1
        try:
            await transaction.begin()
            yield transaction
        finally:
            try:
                await transaction.end()
            finally:
                self._in_use -= 1
                if not self._in_use:
                    self._idle.set()

    async def close(self) -> None:
        """Close every connection, when what runs on it has come to its end: one that is given back later stays open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._in_use:
                    self._idle.clear()
                    await self._idle.wait()
        await self._engine.dispose()


def _sqlite_engine(url: URL) -> AsyncEngine:
    # isolation_level None: Python's driver begins nothing by itself. `_begin` below does.
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS},
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=BUSY_SECONDS,
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _postgresql_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        connect_args={"timeout": CONNECT_SECONDS},
        pool_size=POOL_SIZE,
        max_overflow=URGENT,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,  # after a restart of the server: a round trip, not an error for each pooled connection
    )
