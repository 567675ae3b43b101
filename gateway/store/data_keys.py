"""Data keys, wrapped by the master key. There is one, and while it is being replaced there are two.

Keys are made and wrapped anew under a lock of their own: of two processes, the later one sees what the earlier one did.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import delete, func, select, update

from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.rows import DataKeyRow
from gateway.store.tables import data_keys
from gateway.store.transaction import Transaction
from gateway.store.upsert import insert_if_absent

_LOCK = 0x6777_0003  # any number that is ours: the PostgreSQL advisory lock


class DataKeys:
    """The queries on data keys. A new key is in the change feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> tuple[DataKeyRow, ...]:
        """Return every data key, oldest first."""
        async with self._database.read() as connection:
            return await _all(connection)

    async def add(self, row: DataKeyRow) -> bool:
        """Add a key; False: one of this id is there already, which then is the one to use."""
        async with self._database.write() as connection:
            return await _add(connection, row)

    async def succeed(self, make: Callable[[Sequence[DataKeyRow]], DataKeyRow | None]) -> tuple[DataKeyRow, ...]:
        """Add what `make` makes of the keys there are (None: nothing); return all of them then."""
        async with self._changing() as connection:
            row = make(await _all(connection))
            if row is not None:
                await _add(connection, row)
            return await _all(connection)

    async def rewrap(self, wrapped: Callable[[DataKeyRow], bytes]) -> int:
        """Wrap every key anew, all of them or none; return how many. No server needs to hear of it."""
        async with self._changing() as connection:
            rows = await _all(connection)
            for row in rows:
                change = update(data_keys).where(data_keys.c.id == row.id)
                await connection.execute(change.values(wrapped=wrapped(row)))
        return len(rows)

    async def retire(self, *, before: int, now: float) -> None:
        """See to it that no key older than `before` seals any more, in no process."""
        # No notice in the feed: its lock is taken after the fence's, by everyone (see `fence`).
        change = update(data_keys).where(data_keys.c.id < before, data_keys.c.retired_at.is_(None))
        async with self._changing() as connection:
            await connection.execute(change.values(retired_at=now))

    async def remove(self, key_ids: Sequence[int]) -> None:
        """Remove retired keys, for good, and what was handed on for the sake of those who had no other way to hear."""
        gone = delete(data_keys).where(data_keys.c.id.in_(key_ids), data_keys.c.retired_at.is_not(None))
        async with self._changing() as connection:
            await connection.execute(gone)
            await connection.execute(update(data_keys).where(data_keys.c.handed_on.is_not(None)).values(handed_on=None))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Transaction]:
        async with self._database.write() as connection:
            if not connection.is_sqlite:
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield connection


async def _all(connection: Transaction) -> tuple[DataKeyRow, ...]:
    found = await connection.execute(select(data_keys).order_by(data_keys.c.id))
    return tuple(DataKeyRow(**row) for row in found.mappings())


async def _add(connection: Transaction, row: DataKeyRow) -> bool:
    values = {name: getattr(row, name) for name in ("wrapped", "created_at", "retired_at", "handed_on")}
    added = await insert_if_absent(connection, data_keys, {"id": row.id}, values)
    if added:
        await append(connection, "key", str(row.id))
    return added
