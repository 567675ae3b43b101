"""The store's schema, for those who only look at it or bring it up."""

from pathlib import Path

from sqlalchemy import make_url

from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.schema import HEAD, current
from gateway.store.store import Store


async def schema_of(settings: Settings) -> tuple[str | None, str]:
    """Return the version that the store has (None: it has no tables, or isn't there) and the one that we need."""
    if missing_file(settings) is not None:
        return None, HEAD  # connecting would make the file
    database = Database(settings.store.url)
    try:
        async with database.read() as connection:
            return await current(connection), HEAD
    finally:
        await database.close()


def missing_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite store that was never made, None where the store is there or is a server."""
    if not settings.store.url.startswith("sqlite:"):
        return None
    path = Path(make_url(settings.store.url).database or "")
    return None if path.is_file() else path


async def upgrade_schema(settings: Settings) -> None:
    """Bring the store up to what this gateway needs. Raises `StartError`."""
    store = await Store.open(settings.store.url, migrate=True)
    await store.close()
