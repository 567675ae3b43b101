"""Connections: found, listed, changed. Their refresh lease is in `leases`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypedDict, Unpack

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update

from gateway.store.alongside import Alongside, write_alongside
from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.leases import Leases
from gateway.store.rows import ConnectionRow, Page, Status, connection_row
from gateway.store.tables import connections

LIMIT = 100  # items on a page, where the caller doesn't say
LIMIT_MAX = 1000
TOUCH_AT_ONCE = 500  # ids in one statement: well under SQLite's and PostgreSQL's limits on parameters


class ConnectionChanges(TypedDict, total=False):
    """What `update` may set."""

    label: str
    account_label: str | None
    unique_id: str | None
    status: Status
    reason: str | None
    fields: bytes
    credentials: bytes | None
    expires_at: float | None
    renew_at: float | None
    retry_at: float | None
    failures: int
    updated_at: float
    last_used_at: float | None
    created_by: str


class Connections(Leases):
    """The queries on connections. Every write but `touch` and `take_lease` is in the change feed."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    async def get(self, connection_id: str) -> ConnectionRow | None:
        """Return the connection of this id."""
        return await self._one(select(connections).where(connections.c.id == connection_id))

    async def find(self, app: str, unique_id: str) -> ConnectionRow | None:
        """Return the connection of this account, whatever its status."""
        query = select(connections).where(connections.c.app == app, connections.c.unique_id == unique_id)
        return await self._one(query)

    async def list(
        self,
        *,
        app: str | None = None,
        status: Status | None = None,
        search: str | None = None,
        limit: int = LIMIT,
        cursor: str | None = None,
    ) -> Page[ConnectionRow]:
        """Return connections in the order of their ids, at most `limit` (1 to 1000), those behind `cursor`.

        `search` is a part of the id or the label, whatever its case; it reads every entry of an index until the page
        is full.
        """
        limit = max(1, min(limit, LIMIT_MAX))
        query = select(connections).order_by(connections.c.id)
        conditions = _where(app, status)
        if cursor:
            conditions.append(connections.c.id > cursor)
        if search:
            ids = select(connections.c.id).where(*conditions, _has(search)).order_by(connections.c.id).limit(limit + 1)
            query = query.where(connections.c.id.in_(ids))
        else:
            query = query.where(*conditions).limit(limit + 1)
        async with self._database.read() as connection:
            rows = [connection_row(row) for row in (await connection.execute(query)).mappings()]
        return Page(items=tuple(rows[:limit]), next=rows[limit - 1].id if len(rows) > limit else None)

    async def count(self, *, app: str | None = None, status: Status | None = None) -> int:
        """Return how many there are."""
        async with self._database.read() as connection:
            query = select(func.count()).select_from(connections).where(*_where(app, status))
            number: int = (await connection.execute(query)).scalar_one()
        return number

    async def count_by_status(self, *, app: str | None = None) -> dict[Status, int]:
        """Return how many there are in each status; all four keys are there."""
        query = select(connections.c.status, func.count().label("number")).where(*_where(app, None))
        query = query.group_by(connections.c.status)
        async with self._database.read() as connection:
            found = {row.status: row.number for row in await connection.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    async def count_by_app(self) -> dict[str, int]:
        """Return how many each app has that aren't disconnected; an app without one isn't there."""
        query = (
            select(connections.c.app, func.count().label("number"))
            .where(connections.c.status != Status.DISCONNECTED)
            .group_by(connections.c.app)
        )
        async with self._database.read() as connection:
            return {row.app: row.number for row in await connection.execute(query)}

    async def insert(self, row: ConnectionRow, *, alongside: Sequence[Alongside] = ()) -> None:
        """Add a connection. Raises `ConflictError` if its id, or its account, is there already."""
        values = {column.name: getattr(row, column.name) for column in connections.columns}
        async with self._database.write() as connection:
            await connection.execute(connections.insert().values(values))
            await write_alongside(connection, alongside)
            await append(connection, "connection", row.id)

    async def update(
        self,
        connection_id: str,
        *,
        seen: Mapping[str, object] = MappingProxyType({}),
        alongside: Sequence[Alongside] = (),
        **values: Unpack[ConnectionChanges],
    ) -> bool:
        """Set these values; False: there is no such connection. Raises `ConflictError` where the account is taken.

        `seen` are the columns of the row that it was decided by: False as well where they have other values by now.
        To set `credentials` or `status` is to take over: the fence and the token version rise and the lease ends, so
        that a refresh which is still under way can't write its older token over it.
        """
        change = update(connections).where(connections.c.id == connection_id).values(**values)
        change = change.where(*(connections.c[name].is_not_distinct_from(value) for name, value in seen.items()))
        if "credentials" in values or "status" in values:
            change = change.values(
                fence=connections.c.fence + 1,
                token_version=connections.c.token_version + 1,
                lease_owner=None,
                lease_until=None,
            )
        async with self._database.write() as connection:
            found = (await connection.execute(change)).rowcount > 0
            if found:
                await write_alongside(connection, alongside)
                await append(connection, "connection", connection_id)
        return found

    async def delete(self, connection_id: str) -> bool:
        """Remove a connection; False: there was none."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(connections).where(connections.c.id == connection_id))
            if gone.rowcount:
                await append(connection, "connection", connection_id)
        return gone.rowcount > 0

    async def touch(self, connection_ids: tuple[str, ...], *, now: float) -> None:
        """Note that these were used. It is no change that anybody must hear of.

        Their rows are locked in one order, whoever does it: two replicas never wait for each other.
        """
        for start in range(0, len(connection_ids), TOUCH_AT_ONCE):
            some = connection_ids[start : start + TOUCH_AT_ONCE]
            async with self._database.write() as connection:
                rows = select(connections.c.id).where(connections.c.id.in_(some)).order_by(connections.c.id)
                mine = connections.c.id.in_(rows.with_for_update())
                await connection.execute(update(connections).where(mine).values(last_used_at=now))

    async def ids(self) -> tuple[str, ...]:
        """Return the id of every connection that isn't disconnected, in the order of their characters."""
        standing = [status for status in Status if status is not Status.DISCONNECTED]
        query = select(connections.c.id).where(connections.c.status.in_(standing))
        async with self._database.read() as connection:
            return tuple(sorted((await connection.execute(query)).scalars()))

    async def _one(self, query: Select[*tuple[object, ...]]) -> ConnectionRow | None:
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else connection_row(row)


def _has(search: str) -> ColumnElement[bool]:
    part = search.lower()
    return or_(*(func.lower(one).contains(part, autoescape=True) for one in (connections.c.id, connections.c.label)))


def _where(app: str | None, status: Status | None) -> list[ColumnElement[bool]]:
    conditions = []
    if app is not None:
        conditions.append(connections.c.app == app)
    if status is not None:
        conditions.append(connections.c.status == status)
    return conditions
