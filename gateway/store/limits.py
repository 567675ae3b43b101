"""What goes out, counted over all replicas: turns, slots, and until when a service wants to be left alone.

    reserve    turns of a rate, ahead of their use: one row for each thing that is counted
    share      slots: how many may be under way here, beside those of the other processes
    renew      the lease of all of a process's slots, in one row: they come back when it dies
    pause      what a service asked for; the change feed tells the others

Times are the database's own on PostgreSQL, where the machines' clocks may differ; `now` is this machine's, by which
SQLite goes, whose processes share one. Nothing of it is worth a sync of the disk: on PostgreSQL the tables are
unlogged, and a crash begins counting anew.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, Row, bindparam, cast, delete, func, literal, select, update

from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.tables import limits, slot_holders, slots
from gateway.store.transaction import Transaction
from gateway.store.turns import Turns, fair_share, reserve
from gateway.store.upsert import insert_if_absent, upsert

LEASE = 15.0
"""Seconds after which the slots of a process that isn't heard of are free again."""
_FORGOTTEN_AFTER = 3_600.0
"""Seconds that a row is kept when it says nothing any more."""
_NOTHING = {"free_at": 0.0, "paused_until": 0.0}
_IN_TURN = 0x6777_0005
"""Any number that is ours: the first part of the advisory lock under which one thing's slots are shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Up to so many turns of a key, one each `interval` seconds and `burst` at once, due within `ahead` seconds."""

    key: str
    turns: int
    interval: float
    burst: int
    ahead: float


@dataclass(frozen=True, slots=True)
class Reserved:
    """The turns, and for how many seconds more the service wants to be left alone; 0 or less: it doesn't."""

    turns: Turns
    paused: float


class Limits:
    """The queries on limits. Keys say what is counted: `connection:<id>`, `app:<name>`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, asks: Sequence[Ask], *, now: float) -> list[Reserved]:
        """Reserve turns, each for another key, in one transaction: many cost little more than one."""
        keys = sorted(ask.key for ask in asks)
        async with self._database.write() as connection:
            rows = await self._lock(connection, keys, now)
            if len(rows) < len(keys):
                for key in keys:
                    if key not in rows:
                        await insert_if_absent(connection, limits, {"key": key}, _NOTHING)
                rows = await self._lock(connection, keys, now)
            got, changed = [], []
            for ask in asks:
                row = rows[ask.key]
                free_at, turns = reserve(
                    row.free_at, now=row.at, turns=ask.turns, interval=ask.interval, burst=ask.burst, ahead=ask.ahead
                )
                got.append(Reserved(turns, row.paused_until - row.at))
                if turns.count:
                    changed.append({"of": ask.key, "later": free_at})
            if changed:
                later = update(limits).where(limits.c.key == bindparam("of")).values(free_at=bindparam("later"))
                await connection.execute(later, changed)
        return got

    async def _lock(self, connection: Transaction, keys: Sequence[str], now: float) -> dict[str, Row[Any]]:
        """Return the rows of these keys, each nobody else's until this transaction ends; always in the same order."""
        query = select(limits, _now(connection, now).label("at")).where(limits.c.key.in_(keys))
        found = await connection.execute(query.order_by(limits.c.key).with_for_update())
        return {row.key: row for row in found}

    async def share(self, key: str, *, owner: str, in_use: int, wanted: int, spare: int, limit: int, now: float) -> int:
        """Return how many may be under way for `owner`, which keeps them while its lease lasts: `renew` that first.

        `wanted` is what it needs now; up to `spare` more are given where nobody needs them. It may be fewer than
        `in_use`: those can't be called back and still count, but when they end, none takes their place.
        """
        mine = {"key": key, "owner": owner}
        async with self._database.write() as connection:
            if not connection.is_sqlite:
                await connection.execute(select(func.pg_advisory_xact_lock(_IN_TURN, func.hashtext(key))))
            at = _now(connection, now).label("at")
            everybody = (
                select(slots, slot_holders.c.until, at)
                .join(slot_holders, slot_holders.c.owner == slots.c.owner, isouter=True)
                .where(slots.c.key == key, slots.c.owner != owner)
            )
            others = (await connection.execute(everybody)).all()
            living = [row for row in others if row.until is not None and row.until > row.at]
            if len(living) < len(others):
                names = [row.owner for row in living]
                dead = (slots.c.key == key, slots.c.owner != owner, slots.c.owner.not_in(names))
                await connection.execute(delete(slots).where(*dead))
            granted = _granted(living, owner, wanted=wanted, spare=spare, limit=limit)
            held = max(in_use, granted)
            if held or wanted:
                await upsert(connection, slots, mine, {"held": held, "wanted": wanted})
            else:
                await connection.execute(delete(slots).filter_by(**mine))
        return granted

    async def renew(self, owner: str, *, now: float) -> bool:
        """Keep an owner's slots for another lease. False: it had none, or it had lapsed, and all its slots with it."""
        async with self._database.write() as connection:
            at = _now(connection, now)
            lease = update(slot_holders).where(slot_holders.c.owner == owner, slot_holders.c.until > at)
            if (await connection.execute(lease.values(until=at + LEASE))).rowcount:
                return True
            await connection.execute(delete(slots).where(slots.c.owner == owner))
            await upsert(connection, slot_holders, {"owner": owner}, {"until": at + LEASE})
        return False

    async def leave(self, owner: str) -> None:
        """Give back all that an owner has."""
        async with self._database.write() as connection:
            await connection.execute(delete(slots).where(slots.c.owner == owner))
            await connection.execute(delete(slot_holders).where(slot_holders.c.owner == owner))

    async def contended(self, owner: str) -> Sequence[str]:
        """Return of which of an owner's keys somebody else has less than it needs."""
        others = slots.alias("others")
        query = (
            select(slots.c.key)
            .distinct()
            .join(others, others.c.key == slots.c.key)
            .where(slots.c.owner == owner, others.c.owner != owner, others.c.wanted > others.c.held)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalars().all()

    async def pause(self, key: str, seconds: float, *, now: float) -> None:
        """Note that a service wants to be left alone for so long; a longer pause that stands is kept."""
        async with self._database.write() as connection:
            await insert_if_absent(connection, limits, {"key": key}, _NOTHING)
            until = _now(connection, now) + seconds
            longer = update(limits).where(limits.c.key == key, limits.c.paused_until < until)
            if (await connection.execute(longer.values(paused_until=until))).rowcount:
                await append(connection, "pause", key)

    async def paused(self, key: str, *, now: float) -> float:
        """Return for how many seconds more; 0 or less: not at all."""
        async with self._database.read() as connection:
            query = select(limits.c.paused_until - _now(connection, now)).where(limits.c.key == key)
            return (await connection.execute(query)).scalar_one_or_none() or 0.0

    async def prune(self, *, now: float) -> None:
        """Remove what says nothing any more."""
        async with self._database.write() as connection:
            before = _now(connection, now) - _FORGOTTEN_AFTER
            await connection.execute(delete(limits).where(limits.c.free_at < before, limits.c.paused_until < before))
            await connection.execute(delete(slot_holders).where(slot_holders.c.until < before))
            await connection.execute(delete(slots).where(slots.c.owner.not_in(select(slot_holders.c.owner))))


def _granted(others: Iterable[Row[Any]], owner: str, *, wanted: int, spare: int, limit: int) -> int:
    """Return how many an owner may have, beside what the others hold and need."""
    needs, free, now = {owner: wanted}, limit, 0.0
    for row in others:
        needs[row.owner] = row.wanted
        free -= row.held
        now = row.at
    share = fair_share(owner, needs, limit=limit, now=now)
    unneeded = max(0, limit - sum(needs.values()))
    return max(0, min(free, share + min(spare, unneeded)))


def _now(connection: Transaction, now: float) -> ColumnElement[float]:
    """Return the time in epoch seconds: the database's, of this moment and not of the transaction's beginning."""
    if connection.is_sqlite:
        return literal(now)
    return cast(func.extract("epoch", func.clock_timestamp()), Double)
