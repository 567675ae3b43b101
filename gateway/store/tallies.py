"""Counts over time: true under any load, where the request log keeps only the newest of each second.

A row is one span of one key: of five minutes for all requests and for each app, and of an hour for these and for each
connection and client. So 10,000 busy connections are 10,000 rows an hour, some 1.5 MB, and not twelve times as many:
what is looked at by the minute is the gateway and its apps; a connection's minutes are in the request log.

Several processes add to the same rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, text

from gateway.store.database import Database
from gateway.store.rows import LATENCIES, OUTCOMES, TallyRow
from gateway.store.tables import tallies

FINE, COARSE = 300, 3600
"""Seconds of a span."""
SPANS = {"all": (FINE, COARSE), "app": (FINE, COARSE), "connection": (COARSE,), "client": (COARSE,)}
"""The spans that there are rows of, by dimension."""
KEPT = {FINE: 7 * 86_400, COARSE: 35 * 86_400}
"""Seconds that rows of a span are kept for."""
KEEP = 2_000_000
"""Rows of one dimension and span, some 300 MB: a week of 10,000 connections that are busy in every hour."""
LEADERS = 4
"""How many times as many as are asked for `busiest` takes into account from each span."""

_KEY = ("dimension", "span", "key", "at")
_COUNTS = (*OUTCOMES, *LATENCIES, "seconds")
_COLUMNS = (*_KEY, *_COUNTS)
_AT_ONCE = 250
_PLACES = f"({', '.join('?' * len(_COLUMNS))})"
_INSERT = f"INSERT INTO tallies ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608 - our own columns, as below
_ADD = f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET " + ", ".join(
    f"{name} = tallies.{name} + excluded.{name}" for name in _COUNTS
)

_ADD_NAMED = text(f"{_INSERT}({', '.join(f':{name}' for name in _COLUMNS)}){_ADD}")

# The leaders of each span are at the end of its part of an index. PostgreSQL looks there by a lateral join, SQLite,
# which has none, by a list of row numbers.
_SPANS = """WITH RECURSIVE spans(at) AS
    (SELECT CAST(:first AS BIGINT) UNION ALL SELECT at + :span FROM spans WHERE at < :last)"""
_OF_SPAN = (
    "FROM tallies t WHERE t.dimension = :dimension AND t.span = :span AND t.at = spans.at ORDER BY t.requests DESC"
)
_LEADERS_SQLITE = f"""{_SPANS} SELECT led.key, sum(led.requests) AS number FROM spans CROSS JOIN tallies led
    ON led.rowid IN (SELECT t.rowid {_OF_SPAN} LIMIT :each) GROUP BY led.key ORDER BY number DESC LIMIT :each"""  # noqa: S608
_LEADERS_POSTGRESQL = f"""{_SPANS} SELECT led.key, sum(led.requests) AS number FROM spans CROSS JOIN LATERAL
    (SELECT t.key, t.requests {_OF_SPAN} LIMIT :each) led GROUP BY led.key ORDER BY number DESC LIMIT :each"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """What went through one key in the time that was asked for."""

    key: str
    requests: int
    refused: int
    failed: int
    seconds: float


class Tallies:
    """The queries on the tallies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rows: Sequence[TallyRow]) -> None:
        """Add the counts of these rows to those that are there, all or none. No two of them are of one key and time."""
        if not rows:
            return
        # In one order, whoever writes: two that lock each other's next row would wait for each other for ever.
        values = sorted(map(_values, rows))
        async with self._database.write() as connection:
            for start in range(0, len(values), _AT_ONCE):
                some = values[start : start + _AT_ONCE]
                if connection.is_sqlite:  # one statement for many rows: see `requests`
                    statement = f"{_INSERT}{', '.join([_PLACES] * len(some))}{_ADD}"
                    await connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))
                else:
                    await connection.execute(_ADD_NAMED, [dict(zip(_COLUMNS, one, strict=True)) for one in some])

    async def series(self, dimension: str, key: str = "", *, since: int, step: int) -> list[TallyRow]:
        """Return the counts from `since` on in steps of so many seconds, oldest first; where nothing was, nothing is.

        A step is a multiple of one of the dimension's `SPANS`; the first one begins at or before `since`.
        """
        span = max(span for span in SPANS[dimension] if step % span == 0)
        at = (tallies.c.at - tallies.c.at % step).label("at")
        query = (
            select(at, *(func.sum(tallies.c[name]).label(name) for name in _COUNTS))
            .where(*_of(dimension, span), tallies.c.key == key, tallies.c.at >= since - since % step)
            .group_by(at)
            .order_by(at)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        return [_row(dimension, key, step, values) for values in found]

    async def busiest(self, dimension: str, *, since: int, now: int, limit: int) -> list[Busy]:
        """Return the keys with the most requests from `since` to `now`, in whole spans.

        Their counts are true. Which they are is told by the leaders of each span, so that 10,000 connections needn't
        be added up: one that leads in no span isn't seen, though its sum may pass another's by a little.
        """
        span = min(SPANS[dimension]) if now - since <= COARSE else COARSE
        first, last, each = since - since % span, now - now % span, limit * LEADERS
        about = {"dimension": dimension, "span": span, "first": first, "last": last, "each": each}
        statement = _LEADERS_SQLITE if self._database.is_sqlite else _LEADERS_POSTGRESQL
        summed = (func.sum(tallies.c[name]).label(name) for name in ("requests", "refused", "failed", "seconds"))
        query = select(tallies.c.key, *summed).group_by(tallies.c.key)
        async with self._database.read() as connection:
            leaders = [row.key for row in await connection.execute(text(statement), about)]
            within = (*_of(dimension, span), tallies.c.key.in_(leaders), tallies.c.at >= first)
            found = [Busy(**row) for row in (await connection.execute(query.where(*within))).mappings()]
        return sorted(found, key=lambda busy: (-busy.requests, busy.key))[:limit]

    async def last(self, dimension: str, keys: Sequence[str]) -> dict[str, int]:
        """Return in which hour each of these last had a request, by its beginning; one that had none isn't there."""
        query = (
            select(tallies.c.key, func.max(tallies.c.at).label("at"))
            .where(*_of(dimension, COARSE), tallies.c.key.in_(keys))
            .group_by(tallies.c.key)
        )
        async with self._database.read() as connection:
            return {row.key: row.at for row in await connection.execute(query)}

    async def prune(self, *, now: float, keep: int = KEEP) -> int:
        """Remove what is older than `KEPT`, and the oldest spans of a dimension with more than `keep` rows."""
        gone = 0
        for dimension, span in ((dimension, span) for dimension, spans in SPANS.items() for span in spans):
            of = _of(dimension, span)
            over = select(tallies.c.at).where(*of).order_by(tallies.c.at.desc()).offset(keep).limit(1)
            async with self._database.read(patient=True) as connection:
                last = (await connection.execute(over)).scalar()
            before = max(int(now) - KEPT[span], -1 if last is None else last + 1)
            async with self._database.write(patient=True) as connection:
                gone += (await connection.execute(delete(tallies).where(*of, tallies.c.at < before))).rowcount
        return gone


def _of(dimension: str, span: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return tallies.c.dimension == dimension, tallies.c.span == span


def _values(row: TallyRow) -> tuple[Any, ...]:
    """Return a row in the order of `_COLUMNS`."""
    counts = (row.requests, row.refused, row.failed, row.refreshed, row.renewed, row.not_renewed)
    return (row.dimension, row.span, row.key, row.at, *counts, *row.latency, row.seconds)


def _row(dimension: str, key: str, step: int, values: Sequence[Any]) -> TallyRow:
    at, *counts = values
    outcomes = dict(zip(OUTCOMES, map(int, counts), strict=False))
    latency = tuple(map(int, counts[len(OUTCOMES) : -1]))
    return TallyRow(dimension=dimension, key=key, at=at, span=step, latency=latency, seconds=counts[-1], **outcomes)
