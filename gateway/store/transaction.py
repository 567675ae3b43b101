"""A connection in use, which a caller that goes away doesn't leave half-way.

Cancelled in the middle of a statement, SQLAlchemy throws the connection away while SQLite's thread is still at work on
it; the write lock that it gets a moment later then belongs to nobody, and stays until the garbage collector comes by.
So on SQLite each step is done to its end, and the cancellation is raised behind it: SQLAlchemy never sees one. A step
there takes milliseconds, at most as long as the write lock is waited for. asyncpg can be cancelled at any moment.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.fence import LIVING, key_ids_written, require_living

T = TypeVar("T")


class Transaction:
    """The part of `AsyncConnection` that queries need. `Database.read` and `write` give one."""

    def __init__(self, connection: AsyncConnection, *, is_sqlite: bool) -> None:
        self._connection = connection
        self.is_sqlite = is_sqlite

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Execute a statement and return its rows, all of them read.

        Raises `RetiredKeyError` where it wrote what is sealed with a key that was retired meanwhile.
        """
        result = await self._step(self._connection.execute(statement, parameters))
        if statement.is_dml and (used := key_ids_written(result)):
            require_living(used, (await self._step(self._connection.execute(LIVING))).scalars())
        return result

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> CursorResult[Any]:
        """Execute a text in the database's own words."""
        return await self._step(self._connection.exec_driver_sql(statement, parameters))

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Run a function that wants a synchronous connection."""
        return await self._step(self._connection.run_sync(work))

    async def data_version(self) -> int:
        """Return SQLite's number for what other connections have committed."""
        # Straight to the driver: this is all that an idle gateway does, and SQLAlchemy would double its cost.
        driver: Any = (await self._connection.get_raw_connection()).driver_connection
        ((version,),) = await self._step(driver.execute_fetchall("PRAGMA data_version"))
        return int(version)

    async def begin(self) -> None:
        """Take a connection and begin."""
        await self._step(self._begin())

    async def commit(self) -> None:
        """Commit: where the caller is cancelled meanwhile, it is committed all the same."""
        await self._step(self._connection.commit())

    async def end(self) -> None:
        """Roll back what isn't committed, and give the connection back."""
        if self._connection.sync_connection is not None:
            await self._step(self._connection.close())

    async def _begin(self) -> None:
        await self._connection.start()
        await self._connection.begin()

    async def _step(self, work: Coroutine[Any, Any, T]) -> T:
        return await (_to_its_end(work) if self.is_sqlite else work)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])  # unlike awaiting the task, this doesn't cancel it
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # seen, so that it isn't reported as lost
        raise cancelled
    return task.result()
