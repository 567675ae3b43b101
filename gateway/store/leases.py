"""One refresh at a time for a connection, over all processes and machines: a lease with a fencing number.

    fence = take_lease(…)          commit; None: somebody else has it, or the token is newer than what we saw
    the call to the provider       no database connection is held
    write_tokens(fence=…)          or fail_refresh(fence=…); False: we were too late, somebody else is at it

The lease ends by time where its owner dies; the fence keeps an owner who only was slow from writing over the next one.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, update

from gateway.store.alongside import Alongside, write_alongside
from gateway.store.changes import append
from gateway.store.database import Database
from gateway.store.rows import Status
from gateway.store.tables import connections


class Leases:
    """The refresh lease's part of `Connections`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_lease(
        self, connection_id: str, *, owner: str, seen_version: int, now: float, until: float
    ) -> int | None:
        """Return our fence, None: the lease is taken, or `token_version` is no longer the one we saw."""
        lease = (
            update(connections)
            .where(
                connections.c.id == connection_id,
                connections.c.token_version == seen_version,
                or_(connections.c.lease_until.is_(None), connections.c.lease_until < now),
            )
            .values(lease_owner=owner, lease_until=until, fence=connections.c.fence + 1)
            .returning(connections.c.fence)
        )
        async with self._database.write() as connection:
            fence: int | None = (await connection.execute(lease)).scalar_one_or_none()
        return fence

    async def write_tokens(
        self,
        connection_id: str,
        *,
        fence: int,
        now: float,
        credentials: bytes,
        expires_at: float | None,
        renew_at: float | None = None,
        status: Status = Status.ACTIVE,
        alongside: Sequence[Alongside] = (),
    ) -> bool:
        """Store what the provider gave, if the lease is still ours: the token version rises, the failures are over."""
        values = {
            "credentials": credentials,
            "expires_at": expires_at,
            "renew_at": renew_at,
            "status": status,
            "reason": None,
            "retry_at": None,
            "failures": 0,
            "token_version": connections.c.token_version + 1,
            "updated_at": now,
        }
        return await self._finish(connection_id, fence, alongside, values, urgent=True)

    async def fail_refresh(
        self,
        connection_id: str,
        *,
        fence: int,
        now: float,
        reason: str | None,
        retry_at: float | None,
        failures: int,
        status: Status | None = None,
        alongside: Sequence[Alongside] = (),
    ) -> bool:
        """Store why it failed and when to try again, if the lease is still ours. `status` None: it stays.

        The background sweep comes by then too, whether anybody asks or not.
        """
        values: dict[str, object] = {} if status is None else {"status": status}
        values |= {"reason": reason, "retry_at": retry_at, "renew_at": retry_at, "failures": failures}
        return await self._finish(connection_id, fence, alongside, values | {"updated_at": now})

    async def _finish(
        self,
        connection_id: str,
        fence: int,
        alongside: Sequence[Alongside],
        values: Mapping[str, object],
        *,
        urgent: bool = False,
    ) -> bool:
        ours = (connections.c.id == connection_id, connections.c.fence == fence)
        async with self._database.write(urgent=urgent) as connection:
            # The lease is given back, its number is kept: the next one to take it is above every one before.
            change = update(connections).where(*ours).values(lease_owner=None, lease_until=None, **values)
            written = (await connection.execute(change)).rowcount > 0
            if written:
                await write_alongside(connection, alongside)
                await append(connection, "connection", connection_id)
        return written
