"""Writes what a refresh brought, and insists: a rotated token that is lost is a person who must log in again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

import structlog

from gateway.errors import StoreError
from gateway.store.alongside import Alongside
from gateway.store.connections import Connections
from gateway.store.failures import RetiredKeyError
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.lease import LEASE_SECONDS

FIRST_PAUSE = 0.05  # seconds
LONGEST_PAUSE = 2.0
GIVE_UP_SECONDS = 600.0  # a store that is away for so long is not busy but gone, and the process must be able to end
FAILURE_SECONDS = 2.0  # for a failure nobody needs to wait longer: unwritten, it costs one more try after the lease

T = TypeVar("T")
_log = structlog.get_logger()


async def sealed_anew(write: Callable[[], Awaitable[T]]) -> T:
    """Do a write that seals what it writes; once more where the data key was retired in between."""
    try:
        return await write()
    except RetiredKeyError:
        return await write()


class Commits:
    """Writes under a fence, again and again while the store is busy. `clock` gives epoch seconds."""

    def __init__(self, connections: Connections, *, owner: str, clock: Callable[[], float], random: Random) -> None:
        self._connections = connections
        self._owner = owner
        self._clock = clock
        self._random = random

    async def tokens(
        self,
        row: ConnectionRow,
        fence: int,
        *,
        credentials: Callable[[], bytes],
        expires_at: float | None,
        renew_at: float | None,
        alongside: Sequence[Alongside] = (),
    ) -> bool:
        """Store new tokens. False: newer credentials are there, or the connection was ended; these are of no use.

        `credentials` seals them, anew at each try: the data key of the last one may have been retired meanwhile.
        Where the fence is lost to somebody who took the lease after it lapsed, and who can only fail with the token
        that ours replaced, we take the lease in our turn. Raises `StoreError` after ten minutes of trying.
        """

        async def write() -> bool:
            return await self._connections.write_tokens(
                row.id,
                fence=fence,
                now=self._clock(),
                credentials=credentials(),
                expires_at=expires_at,
                renew_at=renew_at,
                alongside=alongside,
            )

        while not await self._insist(row.id, write):
            _log.warning("token.fence_lost", connection=row.id, app=row.app)
            taken = await self._retake(row)
            if taken is None:
                return False
            fence = taken
        return True

    async def failure(
        self,
        row: ConnectionRow,
        fence: int,
        *,
        reason: str,
        retry_at: float | None,
        failures: int,
        status: Status | None = None,
        alongside: Sequence[Alongside] = (),
    ) -> bool:
        """Store why it failed; False: we were too late, and it matters no more. Raises `StoreError`."""

        async def write() -> bool:
            return await self._connections.fail_refresh(
                row.id,
                fence=fence,
                now=self._clock(),
                reason=reason,
                retry_at=retry_at,
                failures=failures,
                status=status,
                alongside=alongside,
            )

        return await self._insist(row.id, write, within=FAILURE_SECONDS)

    async def _retake(self, row: ConnectionRow) -> int | None:
        """Return a new fence as soon as the lease is free; None: the credentials we renewed aren't the current ones."""
        pause = FIRST_PAUSE
        while True:
            standing = await self._insist(row.id, lambda: self._connections.get(row.id))
            if standing is None or standing.token_version != row.token_version:
                return None
            now = self._clock()
            fence = await self._insist(
                row.id,
                lambda: self._connections.take_lease(
                    row.id,
                    owner=self._owner,
                    seen_version=row.token_version,
                    now=now,  # noqa: B023 -- awaited before the loop goes on
                    until=now + LEASE_SECONDS,  # noqa: B023 -- as above
                ),
            )
            if fence is not None:
                return fence
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _insist(
        self, connection_id: str, attempt: Callable[[], Awaitable[T]], *, within: float = GIVE_UP_SECONDS
    ) -> T:
        """Try until the store takes it, with a pause that doubles and varies, so that processes don't march in step."""
        pause = FIRST_PAUSE
        give_up = asyncio.get_running_loop().time() + within
        while True:
            try:
                return await attempt()
            except StoreError as error:
                if asyncio.get_running_loop().time() > give_up:
                    _log.error("lease.write_given_up", connection=connection_id, reason=error.refusal.detail)
                    raise
                _log.warning("lease.write_delayed", connection=connection_id, reason=error.refusal.detail)
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
