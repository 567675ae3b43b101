"""The request log: written in batches, kept within bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    Integer,
    Text,
    delete,
    func,
    literal,
    literal_column,
    select,
)

from gateway.store.changes import REQUESTS_TURN, in_order
from gateway.store.database import Database
from gateway.store.log_pages import LIMIT, read_entry, read_latest, read_page
from gateway.store.rows import Page, RequestRow
from gateway.store.tables import requests

_COLUMNS = tuple(column.name for column in requests.columns if column.name != "id")
_values = attrgetter(*_COLUMNS)
_INSERT_SQLITE = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - our own columns
_PLACES = f"({', '.join('?' * len(_COLUMNS))})"
_AT_ONCE = 250
_TYPES = {Double: "float8", Text: "text", Integer: "int4", BigInteger: "int8", Boolean: "bool"}
_ARRAYS = ", ".join(
    f"${place}::{_TYPES[type(requests.c[name].type)]}[]" for place, name in enumerate(_COLUMNS, start=1)
)
_INSERT_POSTGRESQL = f"INSERT INTO requests ({', '.join(_COLUMNS)}) SELECT * FROM unnest({_ARRAYS})"  # noqa: S608 - as above

_FAILED_CLASS = 4
# In the very words of the index on them (tables.py): a bound value would be none of its.
_class: ColumnElement[int] = literal_column("(status / 100)")
_FAILED: ColumnElement[bool] = literal_column("status >= 400")

REFUSED = 1_000
"""Refused requests of an app that `refused` looks at: they are read from an index that has no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedTarget:
    """What was asked for and not allowed: how often, and when the last time. `url` has no query."""

    method: str
    url: str
    count: int
    last_at: float


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
                await in_order(connection, REQUESTS_TURN)
                # One statement with an array for each column: others wait for their turn at the log meanwhile.
                columns = tuple(list(column) for column in zip(*map(_values, rows), strict=True))
                await connection.exec_driver_sql(_INSERT_POSTGRESQL, columns)

    async def list(
        self,
        *,
        app: str | None = None,
        connection: str | None = None,
        client: str | None = None,
        status: int | None = None,
        code: str | None = None,
        status_class: int | None = None,
        refused: bool = False,
        limit: int = LIMIT,
        cursor: str | None = None,
        after: int | None = None,
    ) -> Page[RequestRow]:
        """Return entries, newest first, at most `limit` (1 to 1000), those before `cursor`.

        `status_class` is 2, 4 or 5; `refused` leaves those that the gateway itself answered. With `after`, an entry's
        number: those behind it, oldest first; `next` is then the next page's `after`.
        """
        wanted = {"app": app, "connection": connection, "client": client, "status": status, "code": code}
        found, following = await read_page(
            self._database,
            requests,
            wanted=wanted,
            limit=limit,
            cursor=cursor,
            after=after,
            conditions=_conditions(status_class, refused=refused),
        )
        return Page(items=tuple(RequestRow(**row) for row in found), next=following)

    async def get(self, number: int) -> RequestRow | None:
        """Return one entry by its number; None: there is none, or it was pruned."""
        found = await read_entry(self._database, requests, number)
        return None if found is None else RequestRow(**found)

    async def latest(self) -> int:
        """Return the number of the newest entry, 0 if there is none."""
        return await read_latest(self._database, requests)

    async def refused(self, app: str, *, limit: int) -> tuple[RefusedTarget, ...]:
        """Return what the newest 1,000 requests to this app's connections were that its policy didn't allow.

        Each target once, the one that was asked for last first.
        """
        newest = (
            select(requests.c.method, requests.c.url, requests.c.at, requests.c.id)
            .where(requests.c.app == app, requests.c.code == "target_not_allowed")
            .order_by(requests.c.id.desc())
            .limit(REFUSED)
            .subquery()
        )
        query = (
            select(newest.c.method, newest.c.url, func.count().label("count"), func.max(newest.c.at).label("last_at"))
            .group_by(newest.c.method, newest.c.url)
            .order_by(func.max(newest.c.id).desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            return tuple(RefusedTarget(**row) for row in (await connection.execute(query)).mappings())

    async def prune(self, *, before: float | None = None, keep: int | None = None) -> int:
        """Remove the entries from before a time, and all but the newest `keep`; return how many."""
        gone = 0
        async with self._database.write(patient=True) as connection:
            if before is not None:
                gone += (await connection.execute(delete(requests).where(requests.c.at < before))).rowcount
            if keep is not None:
                newest = select(func.max(requests.c.id)).scalar_subquery()
                gone += (await connection.execute(delete(requests).where(requests.c.id <= newest - keep))).rowcount
        return gone


def _conditions(status_class: int | None, *, refused: bool) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if status_class is not None:
        conditions.append(_class == literal(status_class))
        if status_class >= _FAILED_CLASS:
            conditions.append(_FAILED)
    if refused:
        conditions.append(requests.c.code.is_not(None))
    return conditions
