"""A store moved to another database, every row as it is: what is sealed stays sealed, and for the same place.

The target is marked before the first row, so that no gateway uses it, and the mark goes with the last one. Whoever is
interrupted begins again: what is there is compared with the source, row by row, and only what differs is written. So it
makes no difference where it was, nor what was changed in the source since.

The source is only read. It is not to be served meanwhile: a token that is rotated then would be lost on the way.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Never
from urllib.parse import quote

from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    delete,
    func,
    inspect,
    select,
    text,
    tuple_,
    update,
)

from gateway.errors import Refusal, StartError
from gateway.store import schema, sqlite_file, tables
from gateway.store.database import Database
from gateway.store.meta import GATEWAY_ID
from gateway.store.sealed import Sealed
from gateway.store.store import database_at, sqlite_path
from gateway.store.transaction import Transaction

BATCH = 500  # rows in a transaction, and keys in a statement

Progress = Callable[[int, int], None]
"""Told how many rows are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How it ended: the rows of each table, the same in both, and how many of them were written this time."""

    resumed: bool
    written: int
    rows: Mapping[str, int]


async def copy_store(source_url: str, target_url: str, *, progress: Progress = lambda _done, _total: None) -> Copied:
    """Copy. Raises `StartError` where that can't be, or mustn't, and `StoreError`; begin again then."""
    source = await _source(source_url)
    try:
        target = await database_at(target_url, create=True, accept=lambda _: None)
        try:
            return await Copying(source, target, progress).run()
        finally:
            await target.close()
    finally:
        await source.close()


class Copying:
    """One run."""

    def __init__(self, source: Database, target: Database, progress: Progress) -> None:
        self._source, self._target, self._progress = source, target, progress
        self._done = self._total = self._written = 0

    async def run(self) -> Copied:
        """Copy whatever isn't there, and see that both are the same."""
        async with AsyncExitStack() as stack:
            watching: Transaction | None = None
            if self._source.is_sqlite:  # by what one connection is told of the others
                watching = await stack.enter_async_context(self._source.read(patient=True))
            before = await self._mark(watching)
            resumed = await self._begin()
            async with self._source.read(patient=True) as connection:
                counts = {str(table.name): await _count(connection, table) for table in _TABLES}
            self._total = sum(counts.values())
            for table in _TABLES:
                await self._copy(table)
            await self._set_counters()
            if await self._mark(watching) != before:
                _refuse("The store was changed meanwhile: a server is at work on it.", _STOP)
        async with self._target.read(patient=True) as connection:
            for table in _TABLES:
                if (found := await _count(connection, table)) != counts[table.name]:
                    detail = f"The copy's table {table.name} has {found} rows, and not {counts[table.name]}."
                    _refuse(detail, "Run it again; nothing else may write into the new store.")
        async with self._target.write() as connection:
            await connection.execute(update(tables.version).values(version_num=schema.HEAD))
        return Copied(resumed=resumed, written=self._written, rows=counts)

    async def _begin(self) -> bool:
        """Mark the target as ours to fill; return whether it was. Raises `StartError` where it is somebody's."""
        ours = await _gateway_id(self._source)
        if ours is None:
            _refuse("There is no gateway in this store yet.", "Check `store.url`.")
        async with self._target.write(patient=True) as connection:
            if not connection.is_sqlite:
                await connection.execute(select(func.pg_advisory_xact_lock(schema.LOCK)))
            found = await schema.current(connection)
            if found is None:
                if clash := await connection.run_sync(_ours_among):
                    _refuse(f"The new store's database has a table {clash} of something else.", "Name an empty one.")
                await connection.run_sync(partial(schema.create, version=schema.COPYING))
                return False
            theirs = (await connection.execute(_GATEWAY_ID)).scalar_one_or_none()
            if theirs not in (None, ours):
                _refuse("The new store holds another gateway's data.", "Name an empty database.")
            if found == schema.COPYING:
                return True
            if theirs is not None or found != schema.HEAD or await _count(connection, _plain(tables.data_keys)):
                _refuse("The new store holds this gateway's data, whole, and may be in use.", "Name an empty database.")
            await connection.execute(update(tables.version).values(version_num=schema.COPYING))
            return False

    async def _mark(self, watching: Transaction | None) -> object:
        """Return what is another after a change of the source.

        PostgreSQL tells it to any connection, and no transaction stands open there meanwhile: it would be ended.
        """
        if watching is not None:
            return await watching.data_version()
        newest = [select(func.max(table.c.id)) for table in (tables.changes, tables.requests, tables.events)]
        async with self._source.read() as connection:
            return [(await connection.execute(query)).scalar() for query in newest]

    async def _copy(self, table: Table) -> None:
        standing = await self._clear(table)
        last: tuple[Any, ...] | None = None
        while rows := await self._behind(self._source, table, last):
            last = _key(table, rows[-1])
            found = await self._found(self._target, table, rows) if standing else {}
            await self._put(table, [row for row in rows if _key(table, row) not in found])
            self._done += len(rows)
            self._progress(self._done, self._total)

    async def _clear(self, table: Table) -> int:
        """Remove what the source has no longer, or another way; return how many rows are left.

        All of it goes before the first row is put: what is unique may have gone from one row to another.
        """
        left, last = 0, None
        while rows := await self._behind(self._target, table, last):
            last = _key(table, rows[-1])
            known = await self._found(self._source, table, rows)
            other = [key for row in rows if known.get(key := _key(table, row)) != tuple(row)]
            left += len(rows) - len(other)
            if other:
                async with self._target.write(patient=True) as connection:
                    await connection.execute(delete(table).where(_is_one_of(table, other)))
        return left

    async def _put(self, table: Table, rows: Sequence[Any]) -> None:
        if not rows:
            return
        async with self._target.write(patient=True) as connection:
            await connection.execute(table.insert(), [dict(row._mapping) for row in rows])  # noqa: SLF001 - its public name
        self._written += len(rows)

    async def _behind(self, database: Database, table: Table, last: tuple[Any, ...] | None) -> Sequence[Any]:
        keys = tuple(table.primary_key.columns)
        query = select(table).order_by(*keys).limit(BATCH)
        if last is not None:
            query = query.where(tuple_(*keys) > _values(table, last))
        async with database.read(patient=True) as connection:
            return (await connection.execute(query)).all()

    async def _found(self, database: Database, table: Table, rows: Sequence[Any]) -> dict[tuple[Any, ...], Any]:
        query = select(table).where(_is_one_of(table, [_key(table, row) for row in rows]))
        async with database.read(patient=True) as connection:
            return {_key(table, row): tuple(row) for row in await connection.execute(query)}

    async def _set_counters(self) -> None:
        """Go on numbering where the source was: a number never comes back, also where its row is gone."""
        async with self._source.read(patient=True) as connection:
            numbers = await _counters(connection)
        async with self._target.write(patient=True) as connection:
            for name, number in numbers.items():
                if connection.is_sqlite:
                    gone = text("DELETE FROM sqlite_sequence WHERE name = :name")
                    await connection.execute(gone, {"name": name})
                    anew = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)")
                else:
                    anew = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :number)")
                await connection.execute(anew, {"name": name, "number": number})


_STOP = "Stop the servers and wait for commands to end, then run it again."
_GATEWAY_ID = select(tables.meta.c.value).where(tables.meta.c.name == GATEWAY_ID)


async def _source(url: str) -> Database:
    """Open a store to read it and nothing else. Raises `StartError` where it isn't one of ours, or is in use."""
    path = sqlite_path(url)
    if path is not None:
        schema.is_ready(sqlite_file.prepare(path, create=False), migrate=False)
        if sqlite_file.is_in_use(path):
            _refuse("The store is in use by another process.", _STOP)
        return Database(f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true")
    source = await database_at(url, create=False, accept=lambda _: None)
    try:
        async with source.read() as connection:
            schema.is_ready(await schema.current(connection), migrate=False)
            if (await connection.execute(_OTHERS)).scalar_one():
                _refuse("The store is in use by another process.", _STOP)
    except BaseException:
        await source.close()
        raise
    return source


_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = current_setting('application_name')"
    " AND pid <> pg_backend_pid()"
)


async def _counters(connection: Transaction) -> dict[str, int]:
    """Return the last number that was given, for each table that has numbers and ever gave one."""
    numbered = [table.name for table in _TABLES if table.name in _NUMBERED]
    if connection.is_sqlite:
        found = await connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
        return {row.name: row.seq for row in found if row.name in numbered}
    numbers: dict[str, int] = {}
    for name in numbered:
        sequence = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:name, 'id')::regclass)")
        number = (await connection.execute(sequence, {"name": name})).scalar()
        if number is not None:
            numbers[name] = number
    return numbers


async def _gateway_id(database: Database) -> bytes | None:
    async with database.read() as connection:
        found: bytes | None = (await connection.execute(_GATEWAY_ID)).scalar_one_or_none()
    return found


async def _count(connection: Transaction, table: Table) -> int:
    number: int = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
    return number


def _ours_among(connection: Any) -> str | None:
    """Return one of our tables' names that is taken, None: none is."""
    return next((name for name in inspect(connection).get_table_names() if name in tables.metadata.tables), None)


def _plain(table: Table) -> Table:
    """Return a table whose sealed values are mere bytes: they are neither read to be opened nor written anew."""
    columns = (
        Column(one.name, LargeBinary() if isinstance(one.type, Sealed) else one.type, primary_key=one.primary_key)
        for one in table.columns
    )
    return Table(table.name, MetaData(), *columns)


_TABLES = tuple(_plain(table) for table in tables.metadata.sorted_tables if table is not tables.version)
_NUMBERED = {
    table.name for table in tables.metadata.tables.values() if table.dialect_options["sqlite"].get("autoincrement")
}


def _key(table: Table, row: Any) -> tuple[Any, ...]:
    return tuple(row._mapping[key.name] for key in table.primary_key.columns)  # noqa: SLF001 - its public name


def _values(table: Table, key: tuple[Any, ...]) -> ColumnElement[Any]:
    typed = zip(table.primary_key.columns, key, strict=True)
    return tuple_(*(bindparam(None, value, type_=column.type, unique=True) for column, value in typed))


def _is_one_of(table: Table, keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    return tuple_(*table.primary_key.columns).in_(keys)


def _refuse(detail: str, hint: str) -> Never:
    raise StartError(Refusal(code="conflict", detail=detail, hint=hint))
