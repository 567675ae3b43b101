"""Secrets of apps: client secrets and the like, set by a person, sealed for (app_secrets, sealed, app/name)."""

from sqlalchemy import delete, select

from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.tables import app_secrets
from gateway.store.upsert import upsert


def row_name(app: str, name: str) -> str:
    """Return the row to seal a secret for, which is its key in the change feed too."""
    return f"{app}/{name}"


class AppSecrets:
    """The queries on app secrets; every write is in the change feed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, app: str, name: str, sealed: bytes, *, now: float) -> None:
        """Set a secret, whether it was there or not."""
        async with self._database.write() as connection:
            key = {"app": app, "name": name}
            await upsert(connection, app_secrets, key, {"sealed": sealed, "updated_at": now})
            await append(connection, "secret", row_name(app, name))

    async def get(self, app: str, name: str) -> bytes | None:
        """Return the sealed secret."""
        query = select(app_secrets.c.sealed).where(app_secrets.c.app == app, app_secrets.c.name == name)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def names(self, app: str) -> tuple[str, ...]:
        """Return the names of the secrets that are set, in order."""
        query = select(app_secrets.c.name).where(app_secrets.c.app == app).order_by(app_secrets.c.name)
        async with self._database.read() as connection:
            return tuple((await connection.execute(query)).scalars())

    async def times(self, app: str | None = None) -> dict[tuple[str, str], float]:
        """Return when each secret was set, by its app and name: of one app, or of all."""
        query = select(app_secrets.c.app, app_secrets.c.name, app_secrets.c.updated_at)
        if app is not None:
            query = query.where(app_secrets.c.app == app)
        async with self._database.read() as connection:
            return {(row.app, row.name): row.updated_at for row in await connection.execute(query)}

    async def delete(self, app: str, name: str) -> bool:
        """Remove a secret; False: there was none."""
        ours = (app_secrets.c.app == app, app_secrets.c.name == name)
        async with self._database.write() as connection:
            gone = (await connection.execute(delete(app_secrets).where(*ours))).rowcount > 0
            if gone:
                await append(connection, "secret", row_name(app, name))
        return gone
