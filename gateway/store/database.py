"""One database: how transactions begin, on SQLite and on PostgreSQL. Everything above only writes SQL.

SQLite: write-ahead log, full synchronisation (a rotated token that was committed survives a power cut), and each write
transaction begins with BEGIN IMMEDIATE, so that it never has to be given up half-way for a lock. Within a process
writers queue at a lock of our own, which is fair; between processes SQLite's busy timeout waits.

PostgreSQL: READ COMMITTED transactions, for reads too (`postgresql` says why); none takes longer than it may.

Whoever reads a sealed value gets it only after its data key is known, if there is such a key: the keys are read again
before. And a write that came too late for its key says so after they were read, so that the next try seals anew.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any, Protocol

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.errors import Refusal, StartError, StoreError
from gateway.keyring import Keyring
from gateway.secret import Secret
from gateway.store.failures import ConflictError, RetiredKeyError, translated
from gateway.store.sealed import noting
from gateway.store.transaction import Transaction

BUSY_SECONDS = 15.0  # longer than any honest writer holds the lock, shorter than the token call's 20 s (design.md)
POOL_SIZE = 4  # SQLite: a writer, a watcher, two readers
HELD = 60.0  # seconds: what is read for longer follows the change feed, and tells nothing of how fast the store is
CLOSE_SECONDS = 5.0  # a step on SQLite takes milliseconds; who is stuck isn't waited for
_WRITES = "gateway_writes"


class Watched(Protocol):
    """Is told of each use of the store."""

    def __call__(self, operation: str, seconds: float, *, failed: bool) -> None:
        """`operation` is `read` or `write`; must be quick."""


class Database:
    """An engine and the two ways to use it. Bound to the event loop it is first used in.

    `url` is one that `store` has found right. Raises `StartError` where its driver isn't installed.
    """

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.url = Secret(url)
        self._lane: asyncio.Semaphore | None = None
        if self.is_sqlite:
            self._engine = _sqlite_engine(make_url(url))
        else:
            self._engine, self._lane = _postgresql_engine(url)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._in_use, self._idle = 0, asyncio.Event()
        self._keyring: Keyring | None = None
        self._learn: Callable[[], Awaitable[None]] | None = None
        self.watched: Watched | None = None
        self._turn: asyncio.Lock | nullcontext[None] = asyncio.Lock() if self.is_sqlite else nullcontext()

    def opened_with(self, keyring: Keyring, learn: Callable[[], Awaitable[None]]) -> None:
        """Keep this keyring up to date from now on: `learn` adds the data keys that it doesn't have yet."""
        self._keyring, self._learn = keyring, learn

    async def learn(self) -> None:
        """Take up the data keys that other processes have made. Raises `StoreError`."""
        if self._learn is not None:
            await self._learn()

    @asynccontextmanager
    async def read(self, *, patient: bool = False) -> AsyncIterator[Transaction]:
        """Give a connection to read with; each statement sees the newest commit. Raises `StoreError`.

        `patient`: it goes through many rows, and may take longer than anybody who waits for an answer would.
        """
        with self._timed("read"), translated(), noting() as seen:
            async with self._using(writes=False, patient=patient) as transaction:
                yield transaction
            await self._know(seen)

    @asynccontextmanager
    async def write(self, *, patient: bool = False, urgent: bool = False) -> AsyncIterator[Transaction]:
        """Give a connection inside one write transaction, committed at the end, rolled back on any error.

        `patient`: as for `read`. `urgent`: what is lost if it has to wait; on PostgreSQL there is a
        connection for nothing else, opened when it is needed.

        Raises `ConflictError` where a unique key is taken, `RetiredKeyError` where something is to be sealed anew,
        `StoreError` for everything else.
        """
        with self._timed("write"), translated(), noting() as seen:
            try:
                async with self._turn, self._using(writes=True, patient=patient, urgent=urgent) as transaction:
                    yield transaction
                    await transaction.commit()
            except RetiredKeyError:
                await self.learn()
                raise
            await self._know(seen)

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        """Tell who watches how long it took. A key that is taken is no failure of the store's, nor is one retired."""
        began, failed = time.perf_counter(), False
        try:
            yield
        except StoreError as error:
            failed = not isinstance(error, ConflictError | RetiredKeyError)
            raise
        finally:
            if self.watched is not None:
                self.watched(operation, min(time.perf_counter() - began, HELD), failed=failed)

    async def _know(self, key_ids: set[int]) -> None:
        if key_ids and self._keyring is not None and not self._keyring.knows(key_ids):
            await self.learn()

    @asynccontextmanager
    async def _using(self, *, writes: bool, patient: bool, urgent: bool = False) -> AsyncIterator[Transaction]:
        lane = nullcontext() if urgent or self._lane is None else _turn_in(self._lane)
        async with lane, self._connected(self._transaction(writes=writes, patient=patient)) as transaction:
            yield transaction

    @asynccontextmanager
    async def _connected(self, transaction: Transaction) -> AsyncIterator[Transaction]:
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

    def _transaction(self, *, writes: bool, patient: bool) -> Transaction:
        if self.is_sqlite:
            return Transaction((self._writer if writes else self._engine).connect(), is_sqlite=True)
        from gateway.store.postgresql import ServerTransaction  # noqa: PLC0415 - loaded with the engine

        return ServerTransaction(self._engine.connect(), writes=writes, patient=patient)

    async def close(self) -> None:
        """Close every connection, when what runs on it has come to its end: one that is given back later stays open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._in_use:
                    self._idle.clear()
                    await self._idle.wait()
        await self._engine.dispose()


@asynccontextmanager
async def _turn_in(lane: asyncio.Semaphore) -> AsyncIterator[None]:
    from gateway.store import postgresql  # noqa: PLC0415 - loaded with the engine

    async with asyncio.timeout(postgresql.QUEUE_SECONDS):
        await lane.acquire()
    try:
        yield
    finally:
        lane.release()


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


def _postgresql_engine(url: str) -> tuple[AsyncEngine, asyncio.Semaphore]:
    """Return the engine, and how many of its connections are for everybody."""
    try:
        from gateway.store import postgresql  # noqa: PLC0415 - its driver is an extra
    except ModuleNotFoundError as error:
        detail = f"The store's URL needs {error.name}, which is not installed."
        hint = "Install connection-gateway[postgres]."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from error
    return postgresql.engine(url), asyncio.Semaphore(postgresql.POOL_SIZE)
