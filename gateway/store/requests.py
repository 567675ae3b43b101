"""The request log: written in batches, kept within bounds."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

from sqlalchemy import delete, func, select

from gateway.store.database import Database
from gateway.store.log_pages import LIMIT, read_page
from gateway.store.rows import Page, RequestRow
from gateway.store.tables import requests

_COLUMNS = tuple(column.name for column in requests.columns if column.name != "id")
_values = attrgetter(*_COLUMNS)
_INSERT_SQLITE = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - our own columns
_PLACES = f"({', '.join('?' * len(_COLUMNS))})"
_AT_ONCE = 250


class Requests:
    """The queries on the request log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_many(self, rows: Sequence[RequestRow]) -> None:
        """Add entries in one transaction; their `id`s are given by the store."""
        if not rows:
            return
        async with self._database.write() as connection:
            if connection.is_sqlite:
                # One statement for many rows: SQLite's thread holds no lock of Python's while it works at one, and the
                # data plane, which waits for that lock at each request, doesn't notice.
                for start in range(0, len(rows), _AT_ONCE):
                    some = rows[start : start + _AT_ONCE]
                    text = f"{_INSERT_SQLITE}{', '.join([_PLACES] * len(some))}"
                    await connection.exec_driver_sql(text, tuple(chain.from_iterable(map(_values, some))))
            else:
                await connection.execute(
                    requests.insert(), [dict(zip(_COLUMNS, _values(row), strict=True)) for row in rows]
                )

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
