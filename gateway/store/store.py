"""The store as one value: opened, its groups of queries, closed."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import Refusal, StartError, StoreError
from gateway.store import schema, sqlite_file
from gateway.store.app_secrets import AppSecrets
from gateway.store.attention import Attention
from gateway.store.census import Census
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

SQLITE_HINT = "Check `store.url`, and that its disk has room."
SERVER_HINT = "Check `store.url` (or PGPASSWORD, PGPASSFILE), and that the server is up and lets this machine in."


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
        self.census = Census(database)
        self.changes = Changes(database)

    @classmethod
    async def open(cls, url: str, *, migrate: bool) -> Self:
        """Open the store at `sqlite:///path` or `postgresql://user@host/name`.

        `migrate` makes a missing store and brings an older one up; without it both are refused. Raises `StartError`,
        one line and what to do next; nothing was changed then.
        """
        database = await database_at(url, create=migrate, accept=partial(schema.is_ready, migrate=migrate))
        try:
            await schema.bring_up(database, migrate=migrate)
        except StoreError as error:
            await database.close()
            hint = f"Nothing was changed. {SQLITE_HINT if database.is_sqlite else SERVER_HINT}"
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


async def database_at(url: str, *, create: bool, accept: Callable[[str | None], object]) -> Database:
    """Return the database of a URL. Raises `StartError`.

    A file is found right before, and made if `create`; `accept` is handed the version of its schema, and may raise.
    """
    path = sqlite_path(url)
    if path is not None:
        accept(await asyncio.to_thread(sqlite_file.prepare, path, create=create))
        await asyncio.to_thread(sqlite_file.write_ahead, path)
    elif not url.startswith("postgresql://"):
        # The URL itself is left out: it may hold a password.
        detail = "The store's URL is not one of `sqlite:///path` and `postgresql://user@host/name`."
        raise StartError(Refusal(code="internal", detail=detail, hint="Change `store.url`."))
    return Database(url)


def sqlite_path(url: str) -> Path | None:
    """Return the file that a URL names, None where it names none."""
    try:
        parsed = make_url(url) if url.startswith("sqlite:") else None
    except ArgumentError:
        return None
    return Path(parsed.database) if parsed and parsed.database not in (None, "", ":memory:") else None
