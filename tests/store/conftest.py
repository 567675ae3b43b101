"""The one `store` that every contract test gets: an empty one, on each database there is."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store import Store
from gateway.store.database import Database
from gateway.store.tables import metadata
from tests.new_store import store_at
from tests.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgres]:
    """A real server, for as long as the tests run."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgresql: Postgres) -> str:
    return postgresql.url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/gateway.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    file = store_url.removeprefix("sqlite:///")
    async with await (Store.open(store_url, migrate=True) if file == store_url else store_at(Path(file))) as opened:
        if not opened.database.is_sqlite:  # the server is shared: what the last test left goes
            names = ", ".join(name for name in metadata.tables if name != "alembic_version")
            async with opened.database.write() as connection:
                await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        yield opened


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gateway.db"


@pytest.fixture
async def sqlite_store(sqlite_path: Path) -> AsyncIterator[Store]:
    async with await store_at(sqlite_path) as opened:
        yield opened


@pytest.fixture
async def fresh(store_url: str) -> AsyncIterator[None]:
    """No tables, before and after, also where the server is shared."""
    await _empty(store_url)
    yield
    await _empty(store_url)


async def _empty(url: str) -> None:
    if url.startswith("sqlite"):
        return
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await database.close()
