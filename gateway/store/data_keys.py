"""Data keys, wrapped by the master key."""

from sqlalchemy import select

from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.rows import DataKeyRow
from gateway.store.tables import data_keys
from gateway.store.upsert import insert_if_absent, upsert


class DataKeys:
    """The queries on data keys; every write is in the change feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> tuple[DataKeyRow, ...]:
        """Return every data key, oldest first."""
        async with self._database.read() as connection:
            found = await connection.execute(select(data_keys).order_by(data_keys.c.id))
            return tuple(DataKeyRow(**row) for row in found.mappings())

    async def add(self, row: DataKeyRow) -> bool:
        """Add a key; False: one of this id is there already, which then is the one to use."""
        values = {"wrapped": row.wrapped, "created_at": row.created_at, "retired_at": row.retired_at}
        async with self._database.write() as connection:
            added = await insert_if_absent(connection, data_keys, {"id": row.id}, values)
            if added:
                await append(connection, "key", str(row.id))
        return added

    async def put(self, row: DataKeyRow) -> None:
        """Set a key, whether it was there or not: newly wrapped, or retired."""
        values = {"wrapped": row.wrapped, "created_at": row.created_at, "retired_at": row.retired_at}
        async with self._database.write() as connection:
            await upsert(connection, data_keys, {"id": row.id}, values)
            await append(connection, "key", str(row.id))
