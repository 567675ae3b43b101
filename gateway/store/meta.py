"""Single values of the whole store by name: the gateway's id, the canary, the CA's certificate and its sealed key.

And a mark for each session of the administrator that was signed out (`web.ended`).
"""

from collections.abc import Mapping

from sqlalchemy import delete, select

from gateway.store.database import Database
from gateway.store.tables import meta
from gateway.store.upsert import insert_if_absent, upsert

GATEWAY_ID = "gateway_id"
"""What a gateway is called in `Via`: the same for all of its processes, starts and copies."""


class Meta:
    """The queries on single values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> bytes | None:
        """Return a value."""
        async with self._database.read() as connection:
            return (await connection.execute(select(meta.c.value).where(meta.c.name == name))).scalar_one_or_none()

    async def put(self, name: str, value: bytes) -> None:
        """Set a value."""
        async with self._database.write() as connection:
            await upsert(connection, meta, {"name": name}, {"value": value})

    async def prune(self, first: str, last: str) -> None:
        """Remove the values whose names are `first` or behind it, and before `last`."""
        async with self._database.write() as connection:
            await connection.execute(delete(meta).where(meta.c.name >= first, meta.c.name < last))

    async def establish(self, values: Mapping[str, bytes]) -> dict[str, bytes]:
        """Store these values together, unless the first of them is there already; return what the store has then.

        Of several processes that start at once, one establishes, and all of them go on with the same values.
        """
        names = list(values)
        async with self._database.write() as connection:
            if await insert_if_absent(connection, meta, {"name": names[0]}, {"value": values[names[0]]}):
                for name in names[1:]:
                    await upsert(connection, meta, {"name": name}, {"value": values[name]})
            found = await connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.in_(names)))
            return {row.name: row.value for row in found}
