"""What needs a person: connections that ask for a sign-in, those that can't get a token, tests that have failed."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import Select, select

from gateway.store.database import Database
from gateway.store.rows import ConnectionRow, Status, connection_row
from gateway.store.tables import connections, events

TESTS = 500
"""Newest tests that `failing` looks at. A connection whose last test is further back isn't seen, nor is one that was
never tested but in being connected: then it passed."""

_TESTED = "connection.tested"
_CONNECTED = ("connection.created", "connection.updated")  # the test call is a part of connecting: it has passed

_by_id = attrgetter("id")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTest:
    """A connection whose last test failed; `status` is what the test API answered, None: nothing."""

    connection: str
    app: str
    label: str
    at: float
    status: int | None


class Attention:
    """The queries on what needs a person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def to_reauthorize(self, limit: int) -> list[ConnectionRow]:
        """Return the connections that need a sign-in, those that have needed it for the shortest time first."""
        query = select(connections).where(connections.c.status == Status.NEEDS_REAUTHORIZATION)
        return await self._connections(query.order_by(connections.c.updated_at.desc()).limit(limit))

    async def retrying(self, limit: int) -> list[ConnectionRow]:
        """Return the active connections whose last refresh failed and is tried again, most failures first."""
        query = select(connections).where(connections.c.status == Status.ACTIVE, connections.c.failures > 0)
        return await self._connections(query.order_by(connections.c.failures.desc()).limit(limit))

    async def failing(self, limit: int) -> list[FailedTest]:
        """Return the active connections whose last test failed, among the newest `TESTS`, newest first."""
        newest = (
            select(events.c.id, events.c.connection, events.c.at, events.c.detail)
            .where(events.c.kind == _TESTED)
            .order_by(events.c.id.desc())
            .limit(TESTS)
        )
        async with self._database.read() as connection:
            last: dict[str, Any] = {}
            for event in await connection.execute(newest):
                last.setdefault(event.connection, event)
            failed = {name: event for name, event in last.items() if name and not event.detail.get("ok")}
            standing = select(connections.c.id, connections.c.app, connections.c.label).where(
                connections.c.id.in_(failed), connections.c.status == Status.ACTIVE
            )
            since = (
                select(events.c.connection, events.c.id)
                .where(events.c.connection.in_(failed), events.c.kind.in_(_CONNECTED))
                .where(events.c.id > min((event.id for event in failed.values()), default=0))
            )
            rows = {row.id: row for row in await connection.execute(standing)}
            connected = {row.connection: row.id for row in sorted(await connection.execute(since), key=_by_id)}
        found = [
            FailedTest(
                connection=name,
                app=rows[name].app,
                label=rows[name].label,
                at=event.at,
                status=event.detail.get("status"),
            )
            for name, event in failed.items()
            if name in rows and connected.get(name, 0) < event.id
        ]
        return found[:limit]

    async def _connections(self, query: Select[*tuple[object, ...]]) -> list[ConnectionRow]:
        async with self._database.read() as connection:
            return [connection_row(row) for row in (await connection.execute(query)).mappings()]
