"""Disconnecting: the local end is immediate; the provider is told in the background, a few times if need be."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.errors import GatewayError
from gateway.oauth.answer import TokenRefused
from gateway.policy.model import Policy
from gateway.store.rows import ConnectionRow
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.provider import Provider

PAUSES = (2.0, 10.0, 60.0, 300.0)  # seconds between one try and the next; after them a person has to do it

Tell = Callable[..., Awaitable[None]]

_log = structlog.get_logger()


class Partings:
    """Revokes tokens at providers, in the background. `tell` records the outcome in the audit trail."""

    def __init__(self, *, safe: Safe, provider: Provider, tell: Tell) -> None:
        self._safe = safe
        self._provider = provider
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def revoke(self, row: ConnectionRow, policy: Policy, credentials: Credentials, *, actor: str) -> None:
        """Begin to revoke the tokens, if the policy says where."""
        if policy.auth.revoke is None or credentials.access_token is None:
            return
        task = asyncio.create_task(self._revoke(row, policy, credentials, actor), name=f"revoke {row.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let each revocation finish the try it is at, and record how it ended."""
        self._closing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _revoke(self, row: ConnectionRow, policy: Policy, credentials: Credentials, actor: str) -> None:
        reason = ""
        for pause in (*PAUSES, None):
            refused = await self._try(row, policy, credentials)
            if refused is None:
                await self._record("connection.revoked", row, actor)
                return
            reason = refused.detail
            _log.warning("token.revocation_failed", connection=row.id, app=row.app, reason=reason)
            if pause is None or await self._closed_within(pause):
                break
        await self._record("connection.revocation_failed", row, actor, reason=reason)

    async def _try(self, row: ConnectionRow, policy: Policy, credentials: Credentials) -> TokenRefused | None:
        try:
            context = credentials.context(policy, self._safe.open_fields(row), row.id)
            return await self._provider.revoke(row.app, policy, context, credentials)
        except GatewayError as error:
            return TokenRefused(error=error.refusal.code, detail=error.refusal.detail)

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _record(self, kind: str, row: ConnectionRow, actor: str, **detail: str) -> None:
        try:
            await self._tell(kind, actor=actor, app=row.app, connection=row.id, **detail)
        except GatewayError as error:
            _log.warning("audit.not_recorded", kind=kind, connection=row.id, reason=error.refusal.detail)
