"""Every sealed value of the store, whatever its table: counted by its data key, found by its age, sealed anew."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    bindparam,
    func,
    select,
    tuple_,
    type_coerce,
    update,
)

from gateway.keyring import head_of
from gateway.store.database import Database
from gateway.store.sealed import row_of, sealed_columns
from gateway.store.tables import metadata

BATCH = 100  # values in one transaction: some 10 ms, in which SQLite's other writers wait
_HEAD_BYTES = len(head_of(0))
_MOST = 2**32 - 1  # the largest id there can be


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    """One value and where it stands. `key` is the row's primary key, in the columns' order."""

    column: Column[Any]
    key: tuple[Any, ...]
    blob: bytes = field(repr=False)

    @property
    def place(self) -> Mapping[str, str]:
        """What it is sealed for, as the keyring wants to be told."""
        return {"table": self.column.table.name, "column": self.column.name, "row": row_of(self.key)}

    def __str__(self) -> str:
        """Name the place for a person."""
        return f"{self.column.table.name}.{self.column.name} of {row_of(self.key)}"


class SealedValues:
    """The queries on all sealed columns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self) -> dict[int, int]:
        """Return how many values are sealed with each data key; keys with none are left out."""
        counts: dict[int, int] = {}
        async with self._database.read(patient=True) as connection:
            for column in sealed_columns(metadata):
                head = _head(column).label("head")
                query = select(head, func.count().label("number")).where(_sealed_before(column, None)).group_by(head)
                for found in (await connection.execute(query)).mappings():
                    key_id = int.from_bytes(found["head"][1:], "big")
                    counts[key_id] = counts.get(key_id, 0) + found["number"]
        return counts

    async def older_than(self, key_id: int) -> AsyncIterator[Sequence[SealedValue]]:
        """Give what is sealed with earlier keys than this one, in batches, each row once."""
        for column in sealed_columns(metadata):
            last: tuple[Any, ...] | None = None
            while batch := await self._batch(column, key_id, last):
                yield batch
                last = batch[-1].key

    async def replace(self, anew: Sequence[tuple[SealedValue, bytes]]) -> None:
        """Put each blob in the place of the value's, where that still stands as it was read.

        All are of one column. A row that is locked by somebody else just now is passed over, and not waited for: on
        PostgreSQL two transactions that wait for each other's rows would end with an error for one of them.
        """
        column = anew[0][0].column
        keys = tuple(column.table.primary_key.columns)
        still = (
            *(key == bindparam(f"key_{place}", type_=key.type) for place, key in enumerate(keys)),
            _plain(column) == bindparam("old", type_=LargeBinary()),
        )
        free = select(keys[0]).where(*still).with_for_update(skip_locked=True).scalar_subquery()
        change = (
            update(column.table).where(*still, keys[0].in_(free)).values({column: bindparam("new", type_=column.type)})
        )
        rows = [
            {f"key_{place}": part for place, part in enumerate(value.key)} | {"old": value.blob, "new": blob}
            for value, blob in anew
        ]
        async with self._database.write() as connection:
            await connection.execute(change, rows)

    async def _batch(self, column: Column[Any], key_id: int, last: tuple[Any, ...] | None) -> tuple[SealedValue, ...]:
        keys = tuple(column.table.primary_key.columns)
        query = select(*keys, _plain(column)).where(_sealed_before(column, key_id)).order_by(*keys).limit(BATCH)
        if last is not None:
            query = query.where(tuple_(*keys) > tuple_(*map(_literal, keys, last)))
        async with self._database.read(patient=True) as connection:
            rows = [tuple(row) for row in await connection.execute(query)]
        return tuple(SealedValue(column=column, key=row[:-1], blob=row[-1]) for row in rows)


def _plain(column: Column[Any]) -> ColumnElement[bytes]:
    """Return the column as mere bytes: what is looked for is neither read to be opened nor written."""
    return type_coerce(column, LargeBinary)


def _head(column: Column[Any]) -> ColumnElement[bytes]:
    return func.substr(_plain(column), 1, _HEAD_BYTES, type_=LargeBinary())


def _sealed_before(column: Column[Any], key_id: int | None) -> ColumnElement[bool]:
    """Hold for what is sealed with an earlier key than this one; None: with any key. Plain values begin otherwise."""
    return _head(column).between(head_of(0), head_of(_MOST if key_id is None else key_id - 1))


def _literal(column: Column[Any], value: Any) -> ColumnElement[Any]:
    return bindparam(None, value, type_=column.type, unique=True)
