"""A PostgreSQL server: how it is reached, and a transaction on it that ends in time whatever the server does.

Nothing outlives a transaction: no SET, no prepared statement, no lock of a session. So the connection may be one of
PgBouncer's in transaction mode, where the next transaction is another server process. asyncpg prepares a statement in
one round trip and executes it in the next, so even a single read stands between BEGIN and ROLLBACK, for in between
PgBouncer would hand the process, and a statement without a name in it, to somebody else.

The URL is read by asyncpg as libpq reads it: `sslmode` and its kin, several hosts, PGPASSWORD, PGPASSFILE.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import asyncpg
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.errors import Refusal, StartError, StoreError
from gateway.store.failures import HINT, RETRY_AFTER, DriverError
from gateway.store.transaction import Transaction

POOL_SIZE = 2
"""With the urgent one and the one that listens that is 4 for a process: 20 replicas stay under a server's 100."""
URGENT = 1
"""More, for a rotated token alone: it must not wait behind hundreds who only want to look."""
QUEUE_SECONDS = 10.0
"""To get a connection: until one of the pool is free, where all are at work, and until a new one is made."""
WAIT_SECONDS = 5.0
"""For a server to let us in, and to answer to BEGIN."""
SECONDS = 10.0
"""For a transaction from then on; a step takes milliseconds. Whoever waits for the store is told by then."""
LEAVE_SECONDS = 1.0
"""For a step to end whose caller has gone away."""
PATIENT_SECONDS = 300.0
"""For what goes through many rows: a migration, pruning, a copy."""

Result = TypeVar("Result")

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All that asyncpg raises. The last is what it says to words in the middle of an answer that broke off."""


async def connect(url: str) -> Any:
    """Return a connection of asyncpg's. Raises `StartError` where the URL isn't one."""
    try:
        return await asyncpg.connect(
            url,
            timeout=WAIT_SECONDS,
            statement_cache_size=0,  # it would be the session's
            server_settings=None if "application_name=" in url else {"application_name": "gateway"},
        )
    except OSError:  # a certificate that doesn't pass is a ValueError, too
        raise
    except (ValueError, asyncpg.ClientConfigurationError):  # their words repeat parts of the URL: of the password, too
        detail = "The store's URL can't be read."
        hint = "Write / as %2F, @ as %40 and : as %3A in its password, and check the names and values behind the `?`"
        hint += " (verify-full needs sslrootcert)."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from None


async def uncut(driver: Any, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what comes of work on a connection. Whoever stops waiting lets it end, or hangs up after a second.

    asyncpg would ask the server to cancel it, over another connection, and PgBouncer dies of such requests now and then
    (its issue 801).
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task], timeout=LEAVE_SECONDS)
        finally:
            if not task.done():
                driver.terminate()
            await asyncio.gather(task, return_exceptions=True)
        raise


def engine(url: str) -> AsyncEngine:
    """Return a pool of connections; SQLAlchemy begins and ends nothing on them."""
    made = create_async_engine(
        "postgresql+gateway://",
        async_creator=lambda: connect(url),
        connect_args={"prepared_statement_cache_size": 0, "prepared_statement_name_func": str},
        pool_size=POOL_SIZE,
        max_overflow=URGENT,
        pool_timeout=QUEUE_SECONDS,
    )
    return made.execution_options(isolation_level="AUTOCOMMIT")


class Dialect(PGDialect_asyncpg):
    """SQLAlchemy's, without what it does outside of a transaction, and without waiting for a server to say goodbye."""

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Have JSON columns read as values."""
        try:
            await uncut(conn.driver_connection, self._set_up(conn))
        except DRIVER_ERRORS as error:
            raise DriverError(error) from error

    async def _set_up(self, conn: Any) -> None:
        async with conn.driver_connection.transaction():
            await super().setup_asyncpg_json_codec(conn)  # type: ignore[no-untyped-call]

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Do nothing: no column is of this type."""

    def do_close(self, dbapi_connection: Any) -> None:
        """Close, within two seconds."""
        dbapi_connection.terminate()


registry.register("postgresql.gateway", __name__, "Dialect")


class ServerTransaction(Transaction):
    """A transaction on PostgreSQL. The server ends it where we are silent, we where the server is."""

    def __init__(self, connection: AsyncConnection, *, writes: bool, patient: bool) -> None:
        super().__init__(connection, is_sqlite=False)
        self._seconds = PATIENT_SECONDS if patient else SECONDS
        # Both ends keep to the time: a server that works gives a clean error, one that hangs is hung up on. And a
        # process that stands still with a lock in its hands, or whose machine is gone, holds up nobody for longer.
        # PostgreSQL counts in milliseconds.
        self._opening = (
            f"BEGIN{'' if writes else ' READ ONLY'}; "
            f"SET LOCAL statement_timeout = {self._seconds * 800:.0f}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {SECONDS * 1000:.0f}"
        )
        self._driver: Any = None
        self._open = self._late = False
        self._alarm: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Take a connection and begin. One that was closed meanwhile, as by a restart, is replaced."""
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._connection.start()
            self._open = True
            async with asyncio.timeout(WAIT_SECONDS):
                for left in range(POOL_SIZE + URGENT, -1, -1):
                    self._driver = (await self._connection.get_raw_connection()).driver_connection
                    if await self._begun(is_last=not left):
                        break
                    await self._connection.invalidate()
        except TimeoutError:
            self._late = True
            raise
        self._alarm = asyncio.get_running_loop().call_later(self._seconds, self._hang_up)

    async def commit(self) -> None:
        """Commit. Raises `StoreError` where the server says that it didn't."""
        tag = await self._command("COMMIT")
        self._open = False
        if tag != "COMMIT":
            detail = "The store has given the change up."
            raise StoreError(Refusal(code="overloaded", detail=detail, hint=HINT, retry_after=RETRY_AFTER))

    async def end(self) -> None:
        """Roll back what isn't committed, and give the connection back; one that is in doubt is closed."""
        if self._connection.sync_connection is None:
            return
        try:
            if self._driver is not None and not self._driver.is_closed() and (self._open or self._late):
                if self._late:
                    self._driver.terminate()
                else:
                    async with asyncio.timeout(WAIT_SECONDS):  # who was cancelled at BEGIN has no alarm
                        await self._command("ROLLBACK")
        except BaseException as error:
            self._driver.terminate()
            if not isinstance(error, DriverError | OSError):
                raise
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            if self._driver is not None and self._driver.is_closed():
                await self._connection.invalidate()
            await self._connection.close()

    async def _step(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await uncut(self._driver, work)

    async def _begun(self, *, is_last: bool) -> bool:
        try:
            await self._command(self._opening)
        except DriverError:
            if is_last or not self._driver.is_closed():
                raise
            return False
        return True

    async def _command(self, text: str) -> str:
        """Run words without values; this is one round trip, and leaves nothing behind."""
        try:
            return str(await uncut(self._driver, self._driver.execute(text)))
        except DRIVER_ERRORS as error:
            raise DriverError(error) from error

    def _hang_up(self) -> None:
        """Close the connection under whoever waits on it: that is told so, and the pool makes another."""
        self._late = True
        self._driver.terminate()
