"""INSERT … ON CONFLICT, which SQLite and PostgreSQL share word for word and SQLAlchemy has once for each."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from gateway.store.transaction import Transaction


async def upsert(connection: Transaction, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert a row, or set `values` in the one whose primary key is `key`."""
    statement = _insert(connection, table).values(**key, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(values)))


async def insert_if_absent(
    connection: Transaction, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> bool:
    """Insert a row; False: one of this primary key is there, and was left as it is."""
    statement = _insert(connection, table).values(**key, **values)
    return (await connection.execute(statement.on_conflict_do_nothing(index_elements=list(key)))).rowcount > 0


def _insert(connection: Transaction, table: Table) -> Any:
    if connection.is_sqlite:
        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - paid for where it is used

    return insert(table)
