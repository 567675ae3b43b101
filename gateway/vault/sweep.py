"""The background sweep: tokens are renewed before they expire, and kept alive, for connections that nobody uses too.

`connections.renew_at` says when each is next due; it is reckoned whenever a token is written (`timing`). A policy whose
times are edited makes all of its connections due once; whoever isn't yet under the new times is only put off again.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from gateway.keyring import KeyringError
from gateway.policy.model import Policy
from gateway.store.due import Due
from gateway.store.meta import Meta
from gateway.store.rows import ConnectionRow
from gateway.vault.credentials import Safe
from gateway.vault.renewal import Policies, Renewals, Why
from gateway.vault.timing import renew_at, timing
from gateway.vault.upkeep import LONGEST

CLAIM_SECONDS = 90.0  # longer than a call and its lease; after a server's death its connections are due again then
UNUSABLE_SECONDS = 3600.0  # without a policy, or sealed with another key: somebody has to do something first
TIMINGS = "renewal_timings"


class Apps(Policies, Protocol):
    """The part of `Catalog` that is used here."""

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Every app's policy."""


class Sweep:
    """The chore of renewing. `clock` gives epoch seconds."""

    name = "renewals"
    longest = LONGEST

    def __init__(
        self, *, due: Due, meta: Meta, safe: Safe, policies: Apps, renewals: Renewals, clock: Callable[[], float]
    ) -> None:
        self._due = due
        self._meta = meta
        self._safe = safe
        self._policies = policies
        self._renewals = renewals
        self._clock = clock
        self._heeded: dict[str, str] = {}

    async def next_at(self) -> float | None:
        """Return when the next connection is due."""
        await self._heed(self._policies.policies)
        return await self._due.next_at()

    async def claim(self, limit: int) -> Sequence[ConnectionRow]:
        """Take connections that are due."""
        now = self._clock()
        return await self._due.claim(limit, now=now, until=now + CLAIM_SECONDS)

    async def do(self, row: ConnectionRow) -> None:
        """Renew one, or find that it isn't time."""
        at = self._at(row)
        if at is None or at > self._clock():
            await self._due.put_off(row.id, seen_version=row.token_version, renew_at=at)
            return
        await asyncio.shield(self._renewals.start(row.id, seen=row.token_version, why=Why.SWEPT))

    def _at(self, row: ConnectionRow) -> float | None:
        """Return when it is to be renewed, by its policy as it is now."""
        policy = self._policies.get(row.app)
        if policy is None:
            return self._clock() + UNUSABLE_SECONDS
        try:
            credentials = self._safe.open_credentials(row)
        except KeyringError:
            return self._clock() + UNUSABLE_SECONDS
        at = renew_at(row.id, policy, credentials, expires_at=row.expires_at, updated_at=row.updated_at)
        return None if at is None else max(at, row.retry_at or 0.0)

    async def _heed(self, policies: Mapping[str, Policy]) -> None:
        """See to it that every connection's time was reckoned with its policy's times of now, also after a restart."""
        timings = {app: timing(policy) for app, policy in policies.items()}
        if timings.items() <= self._heeded.items():
            return
        known = json.loads(await self._meta.get(TIMINGS) or b"{}")
        for app in _changed(timings, known):
            await self._due.look_again(app, now=self._clock())
        if _changed(timings, known):
            await self._meta.put(TIMINGS, json.dumps(known | timings).encode())
        self._heeded |= timings


def _changed(timings: Mapping[str, str], known: Mapping[str, str]) -> Iterable[str]:
    return [app for app, times in timings.items() if known.get(app) != times]
