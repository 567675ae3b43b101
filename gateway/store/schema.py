"""Which version the schema has, and how it comes to be ours.

A fresh store gets the tables in one transaction, without Alembic, whose import would cost a quarter of a second on
every first start; a test shows that the migrations arrive at the very same tables. An older store is migrated by
Alembic. Either way one transaction and one lock: of several processes that start at once, one does it.
"""

from pathlib import Path

from sqlalchemy import Connection, func, inspect, select

from gateway.errors import Refusal, StartError
from gateway.store import tables
from gateway.store.database import Database
from gateway.store.transaction import Transaction

HEAD = "0001"  # the newest file in migrations/versions; numbers, so that newer and older can be told apart
COPYING = "copying"  # stands in the version's place while `copying` fills a store: it is nobody's to use yet
MIGRATIONS = Path(__file__).parent / "migrations"

LOCK = 0x6777_0001  # any number that is ours: the PostgreSQL advisory lock that migrations are done under


async def current(connection: Transaction) -> str | None:
    """Return the store's version, None where there are no tables yet."""
    return await connection.run_sync(_current)


async def bring_up(database: Database, *, migrate: bool) -> None:
    """Leave the store at `HEAD`. Raises `StartError` where it is newer, or older and `migrate` is False."""
    async with database.read() as connection:
        if is_ready(await current(connection), migrate=migrate):
            return
    async with database.write(patient=True) as connection:
        if not database.is_sqlite:
            await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        found = await current(connection)
        if is_ready(found, migrate=migrate):
            return  # another process was faster
        await connection.run_sync(create if found is None else upgrade)


def is_ready(found: str | None, *, migrate: bool) -> bool:
    """Whether a store of this version is at `HEAD`; False: it is to be brought up.

    Raises `StartError` where it is newer, or isn't at `HEAD` and `migrate` is False.
    """
    if found == HEAD:
        return True
    if found == COPYING:
        detail = "The store is a copy that isn't finished."
        hint = "Run `gateway db copy` again where it comes from: it goes on where it was."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint))
    if found is not None and not (found.isdecimal() and int(found) < int(HEAD)):
        raise StartError(
            Refusal(
                code="internal",
                detail=f"The store has schema {found}, newer than this gateway's {HEAD}.",
                hint="Run the newer gateway, or restore the backup that was made before it.",
            )
        )
    if not migrate:
        state = "is empty" if found is None else f"has schema {found}, older than this gateway's {HEAD}"
        raise StartError(Refusal(code="internal", detail=f"The store {state}.", hint="Run `gateway db upgrade`."))
    return False


def upgrade(connection: Connection) -> None:
    """Run Alembic's migrations up to `HEAD`, in the transaction that `connection` is in."""
    from alembic import command  # noqa: PLC0415 - only a real migration pays for its import
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(tables.version.name):
        return None
    return connection.execute(select(tables.version.c.version_num)).scalar()


def create(connection: Connection, version: str = HEAD) -> None:
    """Make the tables."""
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(tables.version.insert().values(version_num=version))
