"""One refresh at a time for a connection: a flight in this process, and the lease row for all the others.

    flight    the first who needs a new token starts a task; everyone else waits for that task, and whoever goes away
              takes nothing with them: the task goes on, and the tokens land in the store
    lease     the task takes the lease row with a fencing number and commits: it holds no database connection while it
              calls
    losers    wait for the new token version, woken by the change feed, looking themselves now and then
    lapsed    a lease whose time is over is taken by who has watched it lie there for a while, in a store that answers:
              after an outage of the store its owner, who has the new tokens in hand, comes before those who have not
    the call  ends well before the lease does, however long the way to it was: what waited too long isn't sent at all

How far the processes' clocks may be apart, and what no protocol can save, is in docs/replicas.md; tests/vault/model.py
goes through every order in which these steps and everything that goes wrong can happen.

A flight ends with a value: the new `Live`, or the `Refusal` that everyone who waits is given.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from random import Random
from typing import Protocol

import structlog

from gateway.errors import PROBLEMS, GatewayError, Refusal
from gateway.keyring import KeyringError
from gateway.oauth.answer import TokenAnswer, TokenRefused
from gateway.policy.model import Grant, Policy
from gateway.store.alongside import Alongside
from gateway.store.connections import Connections
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.chronicle import Chronicle
from gateway.vault.commit import Commits
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.lease import LEASE_SECONDS, Lease, Watch
from gateway.vault.live import Live, not_usable
from gateway.vault.provider import CALL_SECONDS, SHORTEST_CALL, Provider
from gateway.vault.refusals import back_off, gone, paused, sentence, stopping
from gateway.vault.timing import can_ask, renew_at, renews_with

WAIT_SECONDS = 2 * LEASE_SECONDS  # that a loser waits: for a lease that lapses, and the next one
FIRST_LOOK = 0.05  # seconds until a loser looks by itself; the change feed is usually sooner
LONGEST_LOOK = 2.0

_log = structlog.get_logger()


class Why(Enum):
    """What a refresh is for."""

    EXPIRED = "expired"
    REJECTED = "rejected"  # upstream said 401
    AHEAD = "ahead"
    ASKED = "asked"  # by a person or the API: always happens
    SWEPT = "swept"  # as AHEAD, for a connection that perhaps nobody uses


class Keep(Protocol):
    """Makes a row the Live of this process."""

    def __call__(self, row: ConnectionRow, *, changed: asyncio.Event, used: bool) -> Awaitable[Live]:
        """`changed` is set where a change was heard of since the row was read. `used` False: nobody asked for it."""


class Policies(Protocol):
    """The part of `Catalog` that is used here."""

    def get(self, app: str) -> Policy | None:
        """Return the app's policy."""


class OnRefresh(Protocol):
    """Is told of each call of a token endpoint, and whether it gave a token."""

    def __call__(self, app: str, connection: str, *, renewed: bool) -> None:
        """Must be quick."""


class Outcomes(Protocol):
    """The part of `Metrics` that is used here."""

    def refresh(self, outcome: str, app: str) -> None:
        """Count one call of a token endpoint by how it ended."""


class Renewals:
    """Flights and leases.

    `keep` makes a row the Live of this process; `orphaned` gets credentials that came for a connection which was ended
    meanwhile. `clock` gives epoch seconds.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        safe: Safe,
        policies: Policies,
        provider: Provider,
        keep: Keep,
        chronicle: Chronicle,
        orphaned: Callable[[ConnectionRow, Policy, Credentials], Awaitable[None]],
        owner: str,
        clock: Callable[[], float],
        random: Random,
        public_url: str,
        outcomes: Outcomes | None,
        on_refresh: OnRefresh | None,
    ) -> None:
        self._connections = connections
        self._commits = Commits(connections, owner=owner, clock=clock, random=random)
        self._safe = safe
        self._policies = policies
        self._provider = provider
        self._keep = keep
        self._chronicle = chronicle
        self._orphaned = orphaned
        self._owner = owner
        self._clock = clock
        self._random = random
        self._public_url = public_url
        self._outcomes = outcomes
        self._on_refresh = on_refresh
        self._flights: dict[str, asyncio.Task[Live | Refusal]] = {}
        self._leased: set[asyncio.Task[Live | Refusal]] = set()
        self._changed: dict[str, asyncio.Event] = {}
        # Losers look one after the other: a provider that takes its time makes hundreds of them, and who has a rotated
        # token to write must not wait behind them for a connection to the database.
        self._looking = asyncio.Lock()
        self._closing = False

    def is_flying(self, connection_id: str) -> bool:
        """Whether a refresh is under way in this process."""
        return connection_id in self._flights

    def start(self, connection_id: str, *, seen: int, why: Why) -> asyncio.Task[Live | Refusal]:
        """Return the flight of a connection, begun if there is none. `seen` is the token version to be replaced.

        Wait for it with `asyncio.shield`: it must outlive whoever waits.
        """
        flight = self._flights.get(connection_id)
        if flight is None:
            flight = asyncio.create_task(self._fly(connection_id, seen, why), name=f"refresh {connection_id}")
            self._flights[connection_id] = flight
            flight.add_done_callback(lambda done: self._landed(connection_id, done))
        return flight

    def wake(self, connection_id: str) -> None:
        """Tell a flight that waits for another process's that the row has changed."""
        event = self._changed.get(connection_id)
        if event is not None:
            event.set()

    def wake_all(self) -> None:
        """Tell every flight that its row may have changed."""
        for event in self._changed.values():
            event.set()

    async def close(self) -> None:
        """End what only waits; what holds a lease is awaited, for its answer may be a rotated token."""
        self._closing = True
        for flight in set(self._flights.values()) - self._leased:
            flight.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    def _landed(self, connection_id: str, done: asyncio.Task[Live | Refusal]) -> None:
        if self._flights.get(connection_id) is done:
            del self._flights[connection_id]
        self._leased.discard(done)

    async def _fly(self, connection_id: str, seen: int, why: Why) -> Live | Refusal:
        """Keep the promise that a flight ends with a value."""
        try:
            if self._closing:
                return stopping()
            return await self._renew(connection_id, seen, why)
        except asyncio.CancelledError:
            return stopping()
        except GatewayError as error:
            _log.warning("token.refresh_failed", connection=connection_id, reason=error.refusal.detail)
            return error.refusal
        except Exception:  # noqa: BLE001 -- a fault of ours must not leave callers waiting; it is logged whole
            _log.exception("token.refresh_broken", connection=connection_id)
            return Refusal(code="internal", detail=f"The refresh of {connection_id} failed inside the gateway.")

    async def _renew(self, connection_id: str, seen: int, why: Why) -> Live | Refusal:
        give_up = asyncio.get_running_loop().time() + WAIT_SECONDS
        pause, watch = FIRST_LOOK, Watch()
        self._changed[connection_id] = asyncio.Event()
        try:
            row = await self._connections.get(connection_id)
            while True:
                settled = self._settled(row, connection_id, seen, why)
                if isinstance(settled, Refusal):
                    return settled
                if settled.token_version > seen:  # somebody else was first: re-reading is all there is to do
                    return await self._kept(settled, why)
                lease = await self._take(settled) if watch.is_free(settled, self._clock()) else None
                if lease is not None:
                    return await self._leased_renewal(settled, lease, why)
                if asyncio.get_running_loop().time() > give_up:
                    detail = f"Another process has been refreshing {connection_id} for over {WAIT_SECONDS:g} s."
                    return Refusal(code="refresh_failed", detail=detail, retry_after=1)
                watch.waited(await self._wait(connection_id, pause))
                pause = min(pause * 2, LONGEST_LOOK)
                async with self._looking:
                    row = await self._connections.get(connection_id)
        finally:
            del self._changed[connection_id]

    def _settled(self, row: ConnectionRow | None, connection_id: str, seen: int, why: Why) -> ConnectionRow | Refusal:
        """Return the row if a new token may be asked for with it, else why not."""
        if row is None:
            return gone(connection_id)
        refusal = not_usable(row, self._public_url)
        asked = why is Why.ASKED and row.status is Status.NEEDS_REAUTHORIZATION
        if refusal is not None and not asked:
            return refusal
        if row.token_version == seen and why is not Why.ASKED and row.retry_at is not None:
            return paused(row.id, row.reason, row.retry_at, self._clock()) or row
        return row

    async def _take(self, row: ConnectionRow) -> Lease | None:
        now, began = self._clock(), asyncio.get_running_loop().time()
        task = asyncio.current_task()
        if task is not None and not self._closing:
            self._leased.add(task)  # from here on a shutdown waits for us
        fence = await self._connections.take_lease(
            row.id, owner=self._owner, seen_version=row.token_version, now=now, until=now + LEASE_SECONDS
        )
        if fence is None and task is not None:
            self._leased.discard(task)
        return None if fence is None else Lease(fence=fence, call_until=began + CALL_SECONDS)

    async def _wait(self, connection_id: str, seconds: float) -> float:
        """Wait so long at most, for a change of the row; return how long it was."""
        event, began = self._changed[connection_id], asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return seconds
        event.clear()
        return min(seconds, asyncio.get_running_loop().time() - began)

    async def _leased_renewal(self, row: ConnectionRow, lease: Lease, why: Why) -> Live | Refusal:
        """Ask the provider, and write down what came of it. The lease is ours."""
        policy = self._policies.get(row.app)
        try:
            if policy is None:
                answer: TokenAnswer | TokenRefused = TokenRefused(
                    error="no_policy", detail=f"The policy of the app {row.app} is not there."
                )
                credentials = Credentials()
            else:
                credentials = self._safe.open_credentials(row)
                answer = await self._ask(row, policy, credentials, until=lease.call_until)
        except KeyringError as error:
            answer = TokenRefused(error="sealed", detail=f"The credentials can't be opened: {error}.")
        except GatewayError as error:
            answer = TokenRefused(error=error.refusal.code, detail=error.refusal.detail)
        self._count(answer, row.app)
        if self._on_refresh is not None:
            self._on_refresh(row.app, row.id, renewed=isinstance(answer, TokenAnswer))
        if isinstance(answer, TokenAnswer) and policy is not None:
            credentials = credentials.renewed(answer, now=self._clock())
            return await self._succeeded(row, lease.fence, policy, credentials, expires_at=answer.expires_at, why=why)
        assert isinstance(answer, TokenRefused)  # noqa: S101 -- tokens without a policy can't be
        return await self._failed(row, lease.fence, answer, why)

    async def _ask(
        self, row: ConnectionRow, policy: Policy, credentials: Credentials, *, until: float
    ) -> TokenAnswer | TokenRefused:
        """Ask with the token that renews; where there is none, or it is spent, anew if the grant can.

        `until` (the loop's time) every call has ended, and none is begun that hardly could.
        """
        context = credentials.context(policy, self._safe.open_fields(row), row.id)
        held = credentials.all_secrets
        anew, token = can_ask(policy, credentials), renews_with(policy, credentials)
        if token is not None:
            answer = await self._provider.refresh(row.app, policy, context, token=token, until=until, held=held)
            spent = isinstance(answer, TokenRefused) and answer.final
            left = until - asyncio.get_running_loop().time()
            if not (spent and anew) or left < SHORTEST_CALL:
                return answer
        elif not anew:
            return TokenRefused(
                error="no_refresh_token",
                detail="The token is of no use any more, and the provider gave nothing to renew it with.",
                final=True,
            )
        return await self._provider.ask(row.app, policy, context, until=until, held=held)

    async def _succeeded(
        self,
        row: ConnectionRow,
        fence: int,
        policy: Policy,
        credentials: Credentials,
        *,
        expires_at: float | None,
        why: Why,
    ) -> Live | Refusal:
        if credentials.refresh_token is not None and policy.auth.grant is Grant.PASSWORD:
            credentials = credentials.without("password")
        now = self._clock()
        told: tuple[Alongside, ...] = ()
        if row.failures:
            told = self._tell("token.refresh_recovered", row, failures=row.failures)
        written = await self._commits.tokens(
            row,
            fence,
            credentials=partial(self._safe.seal_credentials, row.id, credentials),
            expires_at=expires_at,
            renew_at=renew_at(row.id, policy, credentials, expires_at=expires_at, updated_at=now),
            alongside=told,
        )
        standing = await self._read_anew(row.id)
        refusal = gone(row.id) if standing is None else not_usable(standing, self._public_url)
        if not written:
            _log.warning("token.superseded", connection=row.id, app=row.app)
            if standing is None or standing.status is Status.DISCONNECTED:
                await self._orphaned(row, policy, credentials)
        if standing is None or refusal is not None:
            return refusal or gone(row.id)
        _log.info("token.refreshed", connection=row.id, app=row.app, expires_at=standing.expires_at)
        return await self._kept(standing, why)

    async def _failed(self, row: ConnectionRow, fence: int, answer: TokenRefused, why: Why) -> Refusal:
        failures = row.failures + 1
        pause = max(back_off(failures, self._random), answer.retry_after or 0.0)
        retry_at = None if answer.final else self._clock() + pause
        status = Status.NEEDS_REAUTHORIZATION if answer.final else None
        told: tuple[Alongside, ...] = ()  # the first failure of a row, and the last: a busy connection is no flood
        if answer.final and row.status is not Status.NEEDS_REAUTHORIZATION:
            told = self._tell("connection.needs_reauthorization", row, reason=answer.detail)
        elif not row.failures and not answer.final:
            told = self._tell("token.refresh_failed", row, reason=answer.detail)
        await self._commits.failure(
            row, fence, reason=answer.detail, retry_at=retry_at, failures=failures, status=status, alongside=told
        )
        _log.warning("token.refresh_failed", connection=row.id, app=row.app, error=answer.error, reason=answer.detail)
        standing = await self._read_anew(row.id)
        if standing is not None and standing.status is not Status.DISCONNECTED:
            await self._kept(standing, why)
            refusal = not_usable(standing, self._public_url)
            if refusal is not None:
                return refusal
        return paused(row.id, answer.detail, retry_at, self._clock()) or Refusal(
            code="refresh_failed", detail=sentence(row.id, answer.detail)
        )

    async def _read_anew(self, connection_id: str) -> ConnectionRow | None:
        self._changed[connection_id].clear()  # what is heard of from here on may be newer than what is read
        return await self._connections.get(connection_id)

    async def _kept(self, row: ConnectionRow, why: Why) -> Live:
        return await self._keep(row, changed=self._changed[row.id], used=why is not Why.SWEPT)

    def _tell(self, kind: str, row: ConnectionRow, **detail: object) -> tuple[Alongside, ...]:
        return self._chronicle.tell(kind, actor="gateway", app=row.app, connection=row.id, **detail)

    def _count(self, answer: TokenAnswer | TokenRefused, app: str) -> None:
        """Count how it ended, in words of our own: a provider's would be labels without bound."""
        if self._outcomes is None:
            return
        match answer:
            case TokenAnswer():
                self._outcomes.refresh("refreshed", app)
            case TokenRefused(final=True):
                self._outcomes.refresh("needs_reauthorization", app)
            case TokenRefused(error=error) if error in PROBLEMS:
                self._outcomes.refresh(error, app)
            case _:
                self._outcomes.refresh("refused", app)
