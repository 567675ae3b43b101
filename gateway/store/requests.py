"""The request log: written in batches, kept within bounds."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from gateway.store.database import Database
from gateway.store.log_pages import LIMIT, read_page
from gateway.store.rows import Page, RequestRow
from gateway.store.tables import requests


class Requests:
    """The queries on the request log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_many(self, rows: Sequence[RequestRow]) -> None:
        """Add entries in one transaction; their `id`s are given by the store."""
        if not rows:
            return
        names = [column.name for column in requests.columns if column.name != "id"]
        values = [{name: getattr(row, name) for name in names} for row in rows]
        async with self._database.write() as connection:
            await connection.execute(requests.insert(), values)

    async def list(
        self,
        *,
        connection: str | None = None,
        client: str | None = None,
        status: int | None = None,
        limit: int = LIMIT,
        cursor: str | None = None,
    ) -> Page[RequestRow]:
        """Return entries, newest first, at most `limit` (1 to 1000), those before `cursor`."""
        wanted = {"connection": connection, "client": client, "status": status}
        found, following = await read_page(self._database, requests, wanted=wanted, limit=limit, cursor=cursor)
        return Page(items=tuple(RequestRow(**row) for row in found), next=following)

    async def prune(self, *, before: float | None = None, keep: int | None = None) -> int:
        """Remove the entries from before a time, and all but the newest `keep`; return how many."""
        gone = 0
        async with self._database.write() as connection:
            if before is not None:
                gone += (await connection.execute(delete(requests).where(requests.c.at < before))).rowcount
            if keep is not None:
                newest = select(func.max(requests.c.id)).scalar_subquery()
                gone += (await connection.execute(delete(requests).where(requests.c.id <= newest - keep))).rowcount
        return gone
