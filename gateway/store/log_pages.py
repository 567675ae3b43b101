"""Pages of a table that is a log: newest first, the cursor is the number of the last entry.

A tail reads the other way: `after` an entry's number, oldest first, so that whoever falls behind misses nothing. `next`
is then the `after` of the page behind; at the end a tail goes on from the last entry that it has. Whoever
adds to a log has its turn (`changes.in_order`), so that no lower number comes to be seen behind a higher one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select

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
    conditions: Sequence[ColumnElement[bool]] = (),
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows where each wanted column has its value (None: any), and the next page's cursor.

    `conditions` hold besides. Raises `ClientError` for a cursor that isn't one of ours.
    """
    limit = max(1, min(limit, LIMIT_MAX))
    query = select(table).order_by(table.c.id.desc() if after is None else table.c.id).limit(limit + 1)
    query = query.where(*(table.c[name] == value for name, value in wanted.items() if value is not None), *conditions)
    if cursor:
        query = query.where(table.c.id < _number(cursor))
    if after is not None:
        query = query.where(table.c.id > after)
    async with database.read() as connection:
        rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return rows[:limit], str(rows[limit - 1]["id"]) if len(rows) > limit else None


async def read_entry(database: Database, table: Table, number: int) -> dict[str, Any] | None:
    """Return the row with this number, None: there is none, or it was pruned."""
    async with database.read() as connection:
        row = (await connection.execute(select(table).where(table.c.id == number))).mappings().one_or_none()
    return None if row is None else dict(row)


async def read_latest(database: Database, table: Table) -> int:
    """Return the number of the newest entry, 0 if there is none."""
    async with database.read() as connection:
        return (await connection.execute(select(func.max(table.c.id)))).scalar() or 0


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= DIGITS_MAX):
        raise ClientError(Refusal(code="invalid", detail="The cursor is not one that a list gave."))
    return int(cursor)
