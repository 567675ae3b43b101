"""The audit trail: only ever added to, and read newest first."""

from gateway.store.changes import in_order
from gateway.store.database import Database
from gateway.store.log_pages import LIMIT, read_entry, read_latest, read_page
from gateway.store.rows import EventRow, Page
from gateway.store.tables import events


class Events:
    """The queries on the audit trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: EventRow) -> None:
        """Add an entry; its `id` is given by the store."""
        values = {column.name: getattr(row, column.name) for column in events.columns if column.name != "id"}
        async with self._database.write() as connection:
            await in_order(connection)
            await connection.execute(events.insert().values(values | {"detail": dict(row.detail)}))

    async def list(
        self,
        *,
        app: str | None = None,
        connection: str | None = None,
        client: str | None = None,
        kind: str | None = None,
        limit: int = LIMIT,
        cursor: str | None = None,
        after: int | None = None,
    ) -> Page[EventRow]:
        """Return entries, newest first, at most `limit` (1 to 1000), those before `cursor`.

        With `after`, an entry's number: those behind it, oldest first; `next` is then the next page's `after`.
        """
        wanted = {"app": app, "connection": connection, "client": client, "kind": kind}
        found, following = await read_page(
            self._database, events, wanted=wanted, limit=limit, cursor=cursor, after=after
        )
        return Page(items=tuple(EventRow(**row) for row in found), next=following)

    async def get(self, number: int) -> EventRow | None:
        """Return one entry by its number."""
        found = await read_entry(self._database, events, number)
        return None if found is None else EventRow(**found)

    async def latest(self) -> int:
        """Return the number of the newest entry, 0 if there is none."""
        return await read_latest(self._database, events)
