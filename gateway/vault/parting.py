"""Disconnecting: the local end is immediate; the provider is told in the background, until it has heard.

What is to be revoked is sealed into the store in the transaction that ends the connection. Whoever ended it tries at
once; after that the gateway that serves tries, over restarts, for a week. Then it is given up, what was sealed goes,
and a person has to do it at the provider: the connection shows that.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

import structlog

from gateway.errors import GatewayError
from gateway.keyring import KeyringError
from gateway.oauth.answer import TokenRefused
from gateway.policy.model import Policy
from gateway.store.revocations import Revocations
from gateway.store.rows import ConnectionRow, RevocationRow
from gateway.vault.chronicle import Chronicle
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.provider import Provider
from gateway.vault.renewal import Policies
from gateway.vault.upkeep import TOLD_LONGEST

PAUSES = (2.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0)  # seconds between tries; the last one again and again
GIVE_UP_SECONDS = 7 * 86_400.0
CLAIM_SECONDS = 60.0  # longer than a call: should whoever tries die, the next one tries then

_log = structlog.get_logger()


class Partings:
    """The chore of revoking tokens at providers. `clock` gives epoch seconds, `entropy(n)` random bytes."""

    name = "revocations"
    longest = TOLD_LONGEST

    def __init__(
        self,
        *,
        revocations: Revocations,
        safe: Safe,
        policies: Policies,
        provider: Provider,
        chronicle: Chronicle,
        clock: Callable[[], float],
        random: Random,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._revocations = revocations
        self._safe = safe
        self._policies = policies
        self._provider = provider
        self._chronicle = chronicle
        self._clock = clock
        self._random = random
        self._entropy = entropy
        self._tasks: set[asyncio.Task[None]] = set()

    def plan(
        self,
        row: ConnectionRow,
        policy: Policy,
        credentials: Credentials,
        fields: Mapping[str, str],
        *,
        actor: str,
    ) -> RevocationRow | None:
        """Return what is to be written beside the end of a connection; None: there is nothing to revoke, or nowhere.

        It is claimed by us: `begin` it once it is written.
        """
        if policy.auth.revoke is None or credentials.access_token is None:
            return None
        revocation_id, now = self._entropy(16).hex(), self._clock()
        return RevocationRow(
            id=revocation_id,
            connection=row.id,
            app=row.app,
            actor=actor,
            sealed=self._safe.seal_revocation(revocation_id, credentials, fields),
            created_at=now,
            next_try_at=now + CLAIM_SECONDS,
        )

    def begin(self, revocation: RevocationRow) -> None:
        """Try at once, in the background."""
        task = asyncio.create_task(self._first_try(revocation), name=f"revoke {revocation.connection}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let each try that was begun end, and write down how."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The chore.

    async def next_at(self) -> float | None:
        """Return when the next try is due."""
        return await self._revocations.next_at()

    async def claim(self, limit: int) -> Sequence[RevocationRow]:
        """Take revocations that are due."""
        now = self._clock()
        return await self._revocations.claim(limit, now=now, until=now + CLAIM_SECONDS)

    async def do(self, revocation: RevocationRow) -> None:
        """Try once."""
        refused = await self._try(revocation)
        about = {"actor": revocation.actor, "app": revocation.app, "connection": revocation.connection}
        attempts = revocation.attempts + 1
        if refused is None:
            told = self._chronicle.tell("connection.revoked", **about, attempts=attempts)
            await self._revocations.done(revocation.id, told)
            return
        reason = refused.detail
        _log.warning("token.revocation_failed", connection=revocation.connection, app=revocation.app, reason=reason)
        next_try_at = self._after(revocation, attempts)
        given_up = next_try_at is None
        told = ()
        if given_up or attempts == 1:
            kind = "connection.revocation_failed"
            told = self._chronicle.tell(kind, **about, reason=reason, attempts=attempts, given_up=given_up)
        await self._revocations.failed(
            revocation.id, attempts=attempts, next_try_at=next_try_at, last_error=reason, alongside=told
        )

    async def _first_try(self, revocation: RevocationRow) -> None:
        try:
            await self.do(revocation)
        except GatewayError as error:  # what was done is not written down: it is tried again, which harms nobody
            _log.warning("upkeep.failed", chore=self.name, reason=error.refusal.detail)

    def _after(self, revocation: RevocationRow, attempts: int) -> float | None:
        now = self._clock()
        if now - revocation.created_at >= GIVE_UP_SECONDS:
            return None
        return now + PAUSES[min(attempts, len(PAUSES)) - 1] * self._random.uniform(1.0, 1.1)

    async def _try(self, revocation: RevocationRow) -> TokenRefused | None:
        policy = self._policies.get(revocation.app)
        if policy is None:
            return TokenRefused(error="no_policy", detail=f"The policy of the app {revocation.app} is not there.")
        try:
            credentials, fields = self._safe.open_revocation(revocation)
            context = credentials.context(policy, fields, revocation.connection)
            return await self._provider.revoke(revocation.app, policy, context, credentials)
        except KeyringError as error:
            return TokenRefused(error="sealed", detail=f"What is to be revoked can't be opened: {error}.")
        except GatewayError as error:
            return TokenRefused(error=error.refusal.code, detail=error.refusal.detail)
