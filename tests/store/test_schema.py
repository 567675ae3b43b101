"""Two ways lead to the schema, and they end at the same one."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from gateway.store import Store, schema
from gateway.store.tables import metadata


def described(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return each table's columns, keys and indexes, as SQLite sees them."""
    with closing(sqlite3.connect(path)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        seen: dict[str, list[tuple[object, ...]]] = {}
        for name in names:
            columns = sorted(row[1:] for row in db.execute(f"PRAGMA table_info({name})"))
            indexes = [
                (index, unique, origin, *[column for _, _, column in db.execute(f"PRAGMA index_info({index})")])
                for _, index, unique, origin, _ in db.execute(f"PRAGMA index_list({name})")
            ]
            seen[name] = columns + sorted(indexes)
        (seen["autoincrement"],) = (
            [row] for row in db.execute("SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%'")
        )
        return seen


def migrated(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        schema.upgrade(connection)
    engine.dispose()


async def test_a_fresh_store_has_exactly_the_tables_that_the_migrations_arrive_at(tmp_path):
    migrated(tmp_path / "migrated.db")
    async with await Store.open(f"sqlite:///{tmp_path}/fresh.db", migrate=True):
        pass
    assert described(tmp_path / "fresh.db") == described(tmp_path / "migrated.db")
    assert set(described(tmp_path / "fresh.db")) > set(metadata.tables)


def test_head_names_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD
