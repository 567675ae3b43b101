"""The change feed: what was changed, by whichever process, in the order of the commits.

A writer appends `(kind, key)` in its own transaction: a change and its notice are there together or not at all. Kinds:

    connection  key: the connection's id
    client      key: the client's name
    secret      key: app/name
    key         key: the data key's id
    pause       key: what a service wants to be left alone of (`limits`)
    upkeep      key: the table in which there is work to do beside (`alongside`)
    everything  key: "" — only from `watch`, when more happened than the feed keeps: forget all that is cached
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import delete, func, select

from gateway.errors import StoreError
from gateway.store.database import Database
from gateway.store.tables import changes
from gateway.store.transaction import Transaction

KEEP = 10_000  # entries; a reader that is further behind is told "everything"
PRUNE_EVERY = 256  # entries; pruning is a part of writing, so that nobody must remember it
POLL_SECONDS = 0.2  # "a running server sees the change within a second" (design.md), with room to act on it

TURN = 0x6777_0002  # any numbers that are ours, see `in_order`
REQUESTS_TURN = 0x6777_0004

Callback = Callable[[str, str], Awaitable[None] | None]


async def in_order(connection: Transaction, turn: int = TURN) -> None:
    """Wait until nobody else adds to a log, until this transaction ends; no row is to be waited for after it.

    Numbers are drawn before the commit: without this lock a reader could see 8, and 7 after that, and miss it.
    """
    if not connection.is_sqlite:  # there all writers stand in one line anyway
        await connection.execute(select(func.pg_advisory_xact_lock(turn)))


async def append(connection: Transaction, kind: str, key: str) -> None:
    """Note one change in the transaction of `connection`; the last thing to do before it commits."""
    await in_order(connection)
    number = (
        await connection.execute(changes.insert().values(kind=kind, key=key).returning(changes.c.id))
    ).scalar_one()
    if number % PRUNE_EVERY == 0:
        await connection.execute(delete(changes).where(changes.c.id <= number - KEEP))


class Changes:
    """Reads the feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> int:
        """Return the number of the newest change, 0 if there is none."""
        async with self._database.read() as connection:
            return (await connection.execute(select(func.max(changes.c.id)))).scalar() or 0

    async def since(self, number: int) -> list[tuple[int, str, str]]:
        """Return the changes behind `number`, oldest first, as (number, kind, key)."""
        async with self._database.read() as connection:
            return await _since(connection, number)

    async def watch(
        self,
        callback: Callback,
        *,
        after: int | None = None,
        interval: float = POLL_SECONDS,
        on_error: Callable[[StoreError], None] | None = None,
    ) -> None:
        """Call `callback(kind, key)` for each change behind `after` (default: from now on), until cancelled.

        To miss nothing: take `latest()`, load what is to be cached, then watch `after` that. A change that comes twice
        in one look is told once. While the store is away, `on_error` is told each time; then the feed goes on where it
        was.
        """
        seen = after
        while True:
            try:
                if seen is None:
                    seen = await self.latest()
                async with self._database.read() as connection:
                    look = _Look(connection)
                    while True:
                        fresh = await look.behind(seen)
                        if fresh:
                            await _tell(callback, fresh, seen)
                            seen = fresh[-1][0]
                        await asyncio.sleep(interval)
            except StoreError as error:
                if on_error is not None:
                    on_error(error)
                await asyncio.sleep(interval)


class _Look:
    """Looks for changes over one connection of its own.

    SQLite's `data_version` changes when another connection has committed: it is read from shared memory, so that an
    idle gateway does no query.
    """

    def __init__(self, connection: Transaction) -> None:
        self._connection = connection
        self._version: int | None = None

    async def behind(self, number: int) -> Sequence[tuple[int, str, str]]:
        if self._connection.is_sqlite:
            version = await self._connection.data_version()
            if version == self._version:
                return ()
            self._version = version
        return await _since(self._connection, number)


async def _since(connection: Transaction, number: int) -> list[tuple[int, str, str]]:
    query = select(changes.c.id, changes.c.kind, changes.c.key).where(changes.c.id > number).order_by(changes.c.id)
    return [(row.id, row.kind, row.key) for row in await connection.execute(query)]


async def _tell(callback: Callback, fresh: Sequence[tuple[int, str, str]], seen: int) -> None:
    lost = fresh[-1][0] - seen > KEEP
    told = [("everything", "")] if lost else dict.fromkeys((kind, key) for _, kind, key in fresh)
    for kind, key in told:
        waiting = callback(kind, key)
        if waiting is not None:
            await waiting
