"""Clients: the programs that may use connections."""

from sqlalchemy import ColumnElement, delete, select, update

from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.rows import ClientRow
from gateway.store.tables import clients


class Clients:
    """The queries on clients; every write is in the change feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, row: ClientRow) -> None:
        """Add a client. A revoked one of the same name gives way; any other raises `ConflictError`."""
        values = {column.name: getattr(row, column.name) for column in clients.columns}
        async with self._database.write() as connection:
            await connection.execute(
                delete(clients).where(clients.c.name == row.name, clients.c.revoked_at.is_not(None))
            )
            await connection.execute(clients.insert().values(values | {"patterns": list(row.patterns)}))
            await append(connection, "client", row.name)

    async def get(self, name: str) -> ClientRow | None:
        """Return the client of this name, revoked or not."""
        return next(iter(await self._rows(clients.c.name == name)), None)

    async def all(self) -> tuple[ClientRow, ...]:
        """Return every client by name, revoked ones too."""
        return await self._rows()

    async def revoke(self, name: str, *, now: float) -> bool:
        """Revoke a client; False: there is none of this name that isn't revoked."""
        ours = (clients.c.name == name, clients.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            revoked = (await connection.execute(update(clients).where(*ours).values(revoked_at=now))).rowcount > 0
            if revoked:
                await append(connection, "client", name)
        return revoked

    async def remove(self, name: str) -> bool:
        """Delete a client, revoked or not; False: there is none of this name."""
        async with self._database.write() as connection:
            removed = (await connection.execute(delete(clients).where(clients.c.name == name))).rowcount > 0
            if removed:
                await append(connection, "client", name)
        return removed

    async def _rows(self, *conditions: ColumnElement[bool]) -> tuple[ClientRow, ...]:
        query = select(clients).where(*conditions).order_by(clients.c.name)
        async with self._database.read() as connection:
            found = [dict(row) for row in (await connection.execute(query)).mappings()]
        return tuple(ClientRow(**row | {"patterns": tuple(row["patterns"])}) for row in found)
