"""The type of every sealed column; `tables` says which they are. A value is sealed for (table, column, primary key).

What is read is noted, so that `Database` can see to it that the data key is known before anybody opens it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Column, Dialect, LargeBinary, MetaData
from sqlalchemy.types import TypeDecorator

from gateway.keyring import KeyringError, key_id_of

_NOTED: ContextVar[set[int] | None] = ContextVar("noted", default=None)


class Sealed(TypeDecorator[bytes]):
    """Bytes that a data key has sealed."""

    impl = LargeBinary
    cache_ok = True

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the value as it is; note its key."""
        noted = _NOTED.get()
        if noted is not None and (key_id := sealed_with(value)) is not None:
            noted.add(key_id)
        return value


@contextmanager
def noting() -> Iterator[set[int]]:
    """Give the set into which the keys of all sealed values go that are read inside."""
    before, seen = _NOTED.get(), set[int]()
    _NOTED.set(seen)
    try:
        yield seen
    finally:
        _NOTED.set(before)  # and no reset by token: a generator may be closed in another context


def sealed_with(value: bytes | None) -> int | None:
    """Return the id of the data key that a value is sealed with, None where it isn't sealed."""
    try:
        return None if value is None else key_id_of(value)
    except KeyringError:
        return None


def sealed_columns(metadata: MetaData) -> tuple[Column[Any], ...]:
    """Return every sealed column, in the order of the tables."""
    columns = (column for table in metadata.sorted_tables for column in table.columns)
    return tuple(column for column in columns if isinstance(column.type, Sealed))


def row_of(key: tuple[Any, ...]) -> str:
    """Return the row that a value is sealed for, from its primary key: its parts with / between, bytes in hex."""
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
