"""Pages of a table that is a log: newest first, the cursor is the number of the last entry.

A tail reads the other way: `after` an entry's number, oldest first, so that whoever falls behind misses nothing. `next`
is then the `after` of the page behind; at the end a tail goes on from the last entry that it has. On PostgreSQL two
events that are written at the same moment may come to be seen in another order than their numbers': of these, a tail
can miss one. Requests are written one after the other.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, select

from gateway.errors import ClientError, Refusal
from gateway.store.database import Database

LIMIT = 100  # items on a page, where the caller doesn't say
LIMIT_MAX = 1000
DIGITS_MAX = 18  # what any 64-bit column holds


async def read_page(
    database: Database,
    table: Table,
    *,
    wanted: Mapping[str, str | int | None],
    limit: int,
    cursor: str | None,
    after: int | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows where each wanted column has its value (None: any), and the next page's cursor.

    Raises `ClientError` for a cursor that isn't one of ours.
    """
    limit = max(1, min(limit, LIMIT_MAX))
    query = select(table).order_by(table.c.id.desc() if after is None else table.c.id).limit(limit + 1)
    query = query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None))
    if cursor:
        query = query.where(table.c.id < _number(cursor))
    if after is not None:
        query = query.where(table.c.id > after)
    async with database.read() as connection:
        rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return rows[:limit], str(rows[limit - 1]["id"]) if len(rows) > limit else None


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= DIGITS_MAX):
        raise ClientError(Refusal(code="invalid", detail="The cursor is not one that a list gave."))
    return int(cursor)
