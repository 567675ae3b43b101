"""Whose time it is: this machine's on SQLite, the database's on PostgreSQL, whatever this machine's clock says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import Refusal, StoreError
from gateway.store import Store
from gateway.store.clock import SharedClock, clock_of


@pytest.mark.parametrize("ahead", [-300.0, 0.0, 300.0])
async def test_a_machine_whose_clock_is_minutes_off_goes_by_the_databases(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    true = time.time
    async with await Store.open(postgresql_url, migrate=True) as store:
        monkeypatch.setattr("time.time", lambda: true() + ahead)
        clock = await clock_of(store.database)
        assert abs(clock() - true()) < 1.0  # the database is on this machine


async def test_on_sqlite_it_is_this_machines_own(sqlite_store: Store) -> None:
    assert await clock_of(sqlite_store.database) is time.time


class Database:
    """Answers with its time, each answer so many seconds on the way, most of them back; `steady` is the gateway's."""

    is_sqlite = False

    def __init__(self) -> None:
        self.now, self.steady = 1_700_000_000.0, 5.0
        self.ways = [0.0]
        self.is_away = False
        self.missed = asyncio.Event()

    @asynccontextmanager
    async def read(self) -> AsyncIterator["Database"]:
        if self.is_away:
            self.missed.set()
            raise StoreError(Refusal(code="overloaded", detail="The store can't be reached."))
        yield self

    async def execute(self, _statement: object) -> "Database":
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        self._pass(way * 0.25)
        self.said = self.now
        self._pass(way * 0.75)
        return self

    def scalar_one(self) -> float:
        return self.said

    def _pass(self, seconds: float) -> None:
        self.now, self.steady = self.now + seconds, self.steady + seconds


@pytest.fixture
async def database() -> Database:
    return Database()


def shared(database: Any) -> SharedClock:
    return SharedClock(database, steady=lambda: database.steady)


async def test_it_goes_on_by_the_steady_clock_while_the_database_is_away(database: Database) -> None:
    clock = shared(database)
    await clock.set()
    database.is_away = True
    with pytest.raises(StoreError):
        await clock.look()
    database.steady += 3_600.0
    assert clock() == database.now + 3_600.0


async def test_of_its_first_answers_the_quickest_counts(database: Database) -> None:
    database.ways = [8.0, 0.2, 4.0]
    clock = shared(database)
    await clock.set()
    assert clock() == pytest.approx(database.now - 0.05, abs=0.001), "within half of the 0.2 s"


async def test_an_answer_that_was_long_on_the_way_changes_nothing(database: Database) -> None:
    clock = shared(database)
    await clock.set()
    was, database.ways = clock() - database.steady, [0.6]
    database.now += 10.0
    await clock.look()
    assert clock() - database.steady == was
    database.ways = [0.4]
    await clock.look()
    assert clock() == pytest.approx(database.now - 0.1, abs=0.001)


async def test_it_looks_again_by_and_by_also_after_the_database_was_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that another took over from, a minute ahead."""
    monkeypatch.setattr("gateway.store.clock.LOOK_SECONDS", 0.001)
    clock = shared(database)
    await clock.set()
    keeping = asyncio.create_task(clock.keep())
    database.is_away = True
    await database.missed.wait()
    database.is_away, database.now = False, database.now + 60.0
    async with asyncio.timeout(5):
        while clock() != database.now:  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0)
    keeping.cancel()
