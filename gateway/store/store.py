"""The store as one value: opened, its groups of queries, closed."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import Refusal, StartError, StoreError
from gateway.store import schema, sqlite_file
from gateway.store.app_secrets import AppSecrets
from gateway.store.attention import Attention
from gateway.store.changes import Changes
from gateway.store.clients import Clients
from gateway.store.connections import Connections
from gateway.store.data_keys import DataKeys
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries
from gateway.store.due import Due
from gateway.store.events import Events
from gateway.store.limits import Limits
from gateway.store.links import Links
from gateway.store.login_states import LoginStates
from gateway.store.meta import Meta
from gateway.store.requests import Requests
from gateway.store.revocations import Revocations
from gateway.store.tallies import Tallies


class Store:
    """Everything that lasts. Use `await Store.open(url, migrate=…)`, and `close()` or `async with` at the end."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.connections = Connections(database)
        self.due = Due(database)
        self.revocations = Revocations(database)
        self.deliveries = Deliveries(database)
        self.clients = Clients(database)
        self.secrets = AppSecrets(database)
        self.limits = Limits(database)
        self.links = Links(database)
        self.logins = LoginStates(database)
        self.events = Events(database)
        self.requests = Requests(database)
        self.tallies = Tallies(database)
        self.attention = Attention(database)
        self.keys = DataKeys(database)
        self.meta = Meta(database)
        self.changes = Changes(database)

    @classmethod
    async def open(cls, url: str, *, migrate: bool) -> Self:
        """Open the store at `sqlite:///path` or `postgresql://user@host/name`.

        `migrate` makes a missing store and brings an older one up; without it both are refused. Raises `StartError`,
        one line and what to do next; nothing was changed then.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            await _prepare_file(Path(parsed.database or ""), migrate=migrate)
        try:
            database = Database(parsed)
        except ModuleNotFoundError as error:
            detail = f"The store's URL needs {error.name}, which is not installed."
            hint = "Install connection-gateway[postgres]."
            raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from error
        try:
            await schema.bring_up(database, migrate=migrate)
        except StoreError as error:
            await database.close()
            hint = "Nothing was changed. Check `store.url`, and that its disk has room."
            raise StartError(Refusal(code="internal", detail=error.refusal.detail, hint=hint)) from error
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Close the store's connections; no query may be running."""
        await self.database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    if parsed is not None and parsed.get_backend_name() == "postgresql":
        return parsed
    # The URL itself is left out: it may hold a password.
    detail = "The store's URL is not one of `sqlite:///path` and `postgresql://user@host/name`."
    raise StartError(Refusal(code="internal", detail=detail, hint="Change `store.url`."))


async def _prepare_file(path: Path, *, migrate: bool) -> None:
    found = await asyncio.to_thread(sqlite_file.prepare, path, create=migrate)
    schema.is_ready(found, migrate=migrate)
    await asyncio.to_thread(sqlite_file.write_ahead, path)
