"""Connect links: each can be used once, until it expires."""

from sqlalchemy import delete, select, update

from gateway.store.database import Database
from gateway.store.rows import LinkRow
from gateway.store.tables import connect_links


class Links:
    """The queries on connect links."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, row: LinkRow) -> None:
        """Add a link. Raises `ConflictError` if its token is there already."""
        values = {column.name: getattr(row, column.name) for column in connect_links.columns}
        async with self._database.write() as connection:
            await connection.execute(connect_links.insert().values(values))

    async def get(self, token_hash: bytes) -> LinkRow | None:
        """Return the link of this token, used, expired or neither."""
        async with self._database.read() as connection:
            query = select(connect_links).where(connect_links.c.token_hash == token_hash)
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else LinkRow(**row)

    async def use(self, token_hash: bytes, *, now: float) -> LinkRow | None:
        """Use a link up and return it; None: it is unknown, used or expired. Of several at once, one gets it."""
        mine = (
            update(connect_links)
            .where(
                connect_links.c.token_hash == token_hash,
                connect_links.c.used_at.is_(None),
                connect_links.c.expires_at > now,
            )
            .values(used_at=now)
            .returning(*connect_links.columns)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(mine)).mappings().one_or_none()
        return None if row is None else LinkRow(**row)

    async def prune(self, *, before: float) -> int:
        """Remove the links that expired before a time; return how many."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(connect_links).where(connect_links.c.expires_at < before))).rowcount
