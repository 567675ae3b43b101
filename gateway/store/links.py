"""Connect links: each can be used once, until it expires, by one person at a time."""

from typing import Any

from sqlalchemy import delete, or_, select, update

from gateway.store.database import Database
from gateway.store.rows import LinkRow
from gateway.store.tables import connect_links

KEPT = 86_400.0
"""Seconds for which an expired link is still known, so that who opens it reads that it has expired."""


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

    async def claim(self, token_hash: bytes, *, claim: str, now: float, until: float, begun: float) -> LinkRow | None:
        """Take a link for one try and return it; None: it is unknown, used, expired, or somebody else's just now.

        Of several at once, on however many servers, one gets it. `begun` is when the person began: who went to a
        provider's login in time isn't too late on coming back. A claim lapses at `until`, should its holder die.
        """
        mine = (
            update(connect_links)
            .where(
                connect_links.c.token_hash == token_hash,
                connect_links.c.used_at.is_(None),
                connect_links.c.expires_at > begun,
                or_(connect_links.c.claimed_until.is_(None), connect_links.c.claimed_until <= now),
            )
            .values(claim=claim, claimed_until=until)
            .returning(*connect_links.columns)
        )
        async with self._database.write() as connection:
            row = (await connection.execute(mine)).mappings().one_or_none()
        return None if row is None else LinkRow(**row)

    async def use(self, token_hash: bytes, *, claim: str, now: float, outcome: bytes) -> bool:
        """Use a claimed link up; what was filled in beforehand goes. False: the claim had lapsed."""
        return await self._end(token_hash, claim, used_at=now, outcome=outcome, fields=None)

    async def release(self, token_hash: bytes, *, claim: str, outcome: bytes) -> bool:
        """Give a claimed link back, still good, with how the try ended. False: as for `use`."""
        return await self._end(token_hash, claim, outcome=outcome)

    async def _end(self, token_hash: bytes, claim: str, **values: Any) -> bool:
        mine = (
            update(connect_links)
            .where(
                connect_links.c.token_hash == token_hash,
                connect_links.c.claim == claim,
                connect_links.c.used_at.is_(None),
            )
            .values(claim=None, claimed_until=None, **values)
        )
        async with self._database.write() as connection:
            return (await connection.execute(mine)).rowcount == 1

    async def prune(self, *, before: float) -> int:
        """Remove the links that expired before a time; return how many."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(connect_links).where(connect_links.c.expires_at < before))).rowcount
