"""When connections are to be renewed: read and claimed from the beginning of an index, however many there are.

To claim a row is to put its time off, so that another server, or this one's next look, finds other rows meanwhile. Who
really may ask the provider is for the lease to say.
"""

from sqlalchemy import select, update

from gateway.store.database import Database
from gateway.store.rows import ConnectionRow, Status, connection_row
from gateway.store.tables import connections


class Due:
    """The queries on `renew_at`. None of them is in the change feed: it says nothing that anybody caches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_at(self) -> float | None:
        """Return when the first active connection is due, None if none ever is."""
        query = (
            select(connections.c.renew_at)
            .where(connections.c.status == Status.ACTIVE, connections.c.renew_at.is_not(None))
            .order_by(connections.c.renew_at)
            .limit(1)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[ConnectionRow, ...]:
        """Return up to `limit` active connections that are due, and put them off `until` then."""
        due = (connections.c.status == Status.ACTIVE, connections.c.renew_at <= now)
        first = (
            select(connections.c.id)
            .where(*due)
            .order_by(connections.c.renew_at)
            .limit(limit)
            .with_for_update(skip_locked=True)  # PostgreSQL: two servers claim different ones; SQLite has one writer
            .cte("first")  # a subquery could be gone through again for each row, and pass the limit
        )
        mine = (
            update(connections)
            .where(connections.c.id.in_(select(first.c.id)), *due)
            .values(renew_at=until)
            .returning(*connections.columns)
        )
        async with self._database.write() as connection:
            return tuple(connection_row(row) for row in (await connection.execute(mine)).mappings())

    async def put_off(self, connection_id: str, *, seen_version: int, renew_at: float | None) -> None:
        """Set when a connection is due, unless its token has changed meanwhile."""
        change = update(connections).where(
            connections.c.id == connection_id, connections.c.token_version == seen_version
        )
        async with self._database.write() as connection:
            await connection.execute(change.values(renew_at=renew_at))

    async def look_again(self, app: str, *, now: float) -> int:
        """Make every active connection of an app due, for its policy's times have changed; return how many."""
        change = update(connections).where(connections.c.app == app, connections.c.status == Status.ACTIVE)
        async with self._database.write(patient=True) as connection:
            return (await connection.execute(change.values(renew_at=now))).rowcount
