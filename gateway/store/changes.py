"""The change feed: what was changed, by whichever process, in the order of the commits.

Who watches looks when there is something: on SQLite its `data_version` says so, on PostgreSQL a notification
(`listening`), and where that can't be had, the clock.

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
from random import Random

from sqlalchemy import delete, func, select

from gateway.errors import StoreError
from gateway.store.database import Database
from gateway.store.tables import changes
from gateway.store.transaction import Transaction

KEEP = 10_000  # entries; a reader that is further behind is told "everything"
PRUNE_EVERY = 256  # entries; pruning is a part of writing, so that nobody must remember it
POLL_SECONDS = 0.2  # "a running server sees the change within a second" (design.md), with room to act on it
SERVER_POLL_SECONDS = 0.5  # PostgreSQL, where it can't tell us: each look is a query, of every replica
CHANNEL = "gateway_changes"  # PostgreSQL's notifications that there is something to look at

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
    if not connection.is_sqlite:  # `in_order`, and who listens is told at the commit
        await connection.execute(select(func.pg_advisory_xact_lock(TURN), func.pg_notify(CHANNEL, "")))
    number = (
        await connection.execute(changes.insert().values(kind=kind, key=key).returning(changes.c.id))
    ).scalar_one()
    if number % PRUNE_EVERY == 0:
        await connection.execute(delete(changes).where(changes.c.id <= number - KEEP))


class Changes:
    """Reads the feed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seen = 0
        """The newest change that `watch` has told."""

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
        interval: float | None = None,
        on_error: Callable[[StoreError], None] | None = None,
    ) -> None:
        """Call `callback(kind, key)` for each change behind `after` (default: from now on), until cancelled.

        To miss nothing: take `latest()`, load what is to be cached, then watch `after` that. A change that comes twice
        in one look is told once. While the store is away, `on_error` is told each time; then the feed goes on where it
        was. Looks are `interval` seconds apart, where nothing says when to look.
        """
        watching = _Watching(self, callback, after)
        follow = self._follow_file if self._database.is_sqlite else self._follow_server
        pause = interval or (POLL_SECONDS if self._database.is_sqlite else SERVER_POLL_SECONDS)
        await follow(watching, pause, on_error or (lambda _: None))

    async def _follow_file(self, watching: "_Watching", pause: float, on_error: Callable[[StoreError], None]) -> None:
        while True:
            try:
                await watching.begin()
                async with self._database.read() as connection:
                    version: int | None = None
                    while True:
                        # It changes when another connection has committed: it is read from shared memory, so that an
                        # idle gateway does no query.
                        before, version = version, await connection.data_version()
                        if version != before:
                            await watching.tell(await _since(connection, watching.seen))
                        await asyncio.sleep(pause)
            except StoreError as error:
                on_error(error)
                await asyncio.sleep(pause)

    async def _follow_server(self, watching: "_Watching", pause: float, on_error: Callable[[StoreError], None]) -> None:
        from gateway.store.listening import Bell  # noqa: PLC0415 - its driver is an extra

        bell = Bell(self._database, Random())  # noqa: S311 - it keeps replicas from marching in step
        listening = asyncio.create_task(bell.listen(), name="listen")
        try:
            while True:
                try:
                    await watching.begin()
                    await watching.tell(await self.since(watching.seen))
                except StoreError as error:
                    on_error(error)
                    await asyncio.sleep(pause)  # and no bell: what couldn't be told rings no more
                else:
                    await bell.wait(pause)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class _Watching:
    """Who is told, and how far."""

    def __init__(self, feed: Changes, callback: Callback, after: int | None) -> None:
        self._feed, self._callback, self._after = feed, callback, after
        self.seen = after or 0

    async def begin(self) -> None:
        """Begin from now on, where nothing else was said."""
        if self._after is None:
            self.seen = self._after = await self._feed.latest()
        self._feed.seen = self.seen

    async def tell(self, fresh: Sequence[tuple[int, str, str]]) -> None:
        """Tell these, each once. What can't be told comes again."""
        if not fresh:
            return
        lost = fresh[-1][0] - self.seen > KEEP
        told = [("everything", "")] if lost else dict.fromkeys((kind, key) for _, kind, key in fresh)
        for kind, key in told:
            waiting = self._callback(kind, key)
            if waiting is not None:
                await waiting
        self.seen = self._feed.seen = fresh[-1][0]


async def _since(connection: Transaction, number: int) -> list[tuple[int, str, str]]:
    query = select(changes.c.id, changes.c.kind, changes.c.key).where(changes.c.id > number).order_by(changes.c.id)
    return [(row.id, row.kind, row.key) for row in await connection.execute(query)]
