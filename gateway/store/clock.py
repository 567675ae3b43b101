"""The time that all who share a store go by: SQLite's is this machine's, PostgreSQL's is the database server's.

What one replica writes, another compares with its own time: leases, expiries, pauses, links, claims. With each
machine's own clock, one that is a minute ahead would take leases that are held, and its pauses would bind the others
for a minute. So the database is asked now and then, and in between this machine's steady clock counts on from its
answer: that one goes on when the database is away, and nobody sets it.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy import Float, cast, func, select

from gateway.errors import StoreError
from gateway.store.database import Database

LOOK_SECONDS = 10.0  # steady clocks part by less than a millisecond in that time
NEAR_SECONDS = 0.5  # an answer is as good as its way was short: one that took longer isn't taken, if there is another
FIRST_LOOKS = 3
WORTH_TELLING = 1.0  # seconds

_NOW = select(cast(func.extract("epoch", func.clock_timestamp()), Float(53)))
_log = structlog.get_logger()


def _steady() -> Callable[[], float]:
    """Return the clock that nobody sets; on Linux the one that goes on while the machine is asleep, too."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot is None else partial(time.clock_gettime, boot)


class SharedClock:
    """Epoch seconds by the database server's clock, to within half of `NEAR_SECONDS`. Called, it does no I/O."""

    __slots__ = ("_database", "_offset", "_steady")

    def __init__(self, database: Database, *, steady: Callable[[], float] | None = None) -> None:
        self._database = database
        self._steady = steady or _steady()
        self._offset: float | None = None

    def __call__(self) -> float:
        """Return the time. It must have been looked at once."""
        assert self._offset is not None  # noqa: S101 -- `clock_of` has looked
        return self._steady() + self._offset

    async def set(self) -> None:
        """Take the database's time: of a few answers the one that came soonest. Raises `StoreError`."""
        answers = [await self._ask() for _ in range(FIRST_LOOKS)]
        took, self._offset = min(answers)
        ahead = time.time() - self()
        if abs(ahead) > WORTH_TELLING:
            _log.warning("clock.differs", ahead=round(ahead, 1), took=round(took, 3), heeded="the database's")

    async def keep(self) -> None:
        """Look again now and then, until cancelled. While the store is away the steady clock is all there is."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except StoreError:
                continue  # the change feed tells that it is away

    async def look(self) -> None:
        """Take the database's time, unless its answer was long on the way. Raises `StoreError`."""
        took, offset = await self._ask()
        if took > NEAR_SECONDS:
            return
        moved = offset - (self._offset or offset)
        if abs(moved) > WORTH_TELLING:
            _log.warning("clock.moved", seconds=round(moved, 1), hint="The database's clock was set, or is another's.")
        self._offset = offset

    async def _ask(self) -> tuple[float, float]:
        """Return how long the answer was on the way, and what is to be added to the steady clock."""
        async with self._database.read() as connection:
            asked = self._steady()
            now: float = (await connection.execute(_NOW)).scalar_one()
            answered = self._steady()
        return answered - asked, now - (asked + answered) / 2


async def clock_of(database: Database) -> Callable[[], float]:
    """Return the clock of whoever works on this database. Raises `StoreError`."""
    if database.is_sqlite:
        return time.time
    clock = SharedClock(database)
    await clock.set()
    return clock
