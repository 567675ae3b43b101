"""What a server does beside its listeners: hear of changes that other processes made, and store the request log."""

import asyncio
from collections.abc import Iterable

import structlog

from gateway.app.compose import Gateway
from gateway.app.tasks import tasks
from gateway.errors import GatewayError, StoreError
from gateway.proxy.access_log import AccessLog, Entry
from gateway.store.clock import SharedClock
from gateway.store.links import KEPT
from gateway.store.rows import RequestRow

FLUSH_SECONDS = 1.0
"""The dashboard is a second behind; a busy server writes one transaction a second."""
KEEP = 100_000
"""Entries of the request log that the store keeps: some 30 MB."""
PRUNE_SECONDS = 60.0
"""Between prunings: the log is over its bound by a minute's requests at most."""
AWAY_SECONDS = 10.0
"""Between two complaints that the store is away: it is asked several times a second."""

log = structlog.get_logger()


async def hear_of_changes(gateway: Gateway, *, after: int) -> None:
    """Pass every change of the store behind `after` on to who caches it.

    One that can't be taken up is told, and the next is heard all the same: a revocation may be among them.
    """

    async def changed(kind: str, key: str) -> None:
        gateway.vault.forget(kind, key)
        if kind in {"pause", "everything"}:
            gateway.limiter.heard(key)
        try:
            await read_again(kind)
        except StoreError:
            raise  # it is away: the change is told once more when it is back
        except Exception:
            log.exception("change.not_taken_up", kind=kind, key=key)

    async def read_again(kind: str) -> None:
        if kind in {"client", "everything"}:
            await gateway.access.reload()
        if kind in {"key", "everything"}:
            await gateway.store.database.learn()

    told = -AWAY_SECONDS

    def away(error: StoreError) -> None:
        nonlocal told
        now = asyncio.get_running_loop().time()
        if now - told >= AWAY_SECONDS:
            told = now
            log.warning("store.away", detail=error.refusal.detail)

    await gateway.store.changes.watch(changed, after=after, on_error=away)


async def keep_time(gateway: Gateway) -> None:
    """Stay with the time of the store, where that isn't this machine's."""
    if isinstance(gateway.clock, SharedClock):
        await gateway.clock.keep()


async def watch_policies(gateway: Gateway) -> None:
    """Forget what was compiled from a policy when its file changes."""
    await gateway.catalog.watch(lambda app: gateway.vault.forget("policy", app))


async def store_requests(gateway: Gateway, requests: AccessLog) -> None:
    """Move the request log into the store, once a second, until cancelled; then once more. Keep it within its bound."""
    writing = asyncio.Lock()

    async def store() -> None:
        async with writing:
            await flush(gateway, requests.take_recent())

    # Beside: pruning is patient with the store, and the log mustn't wait for it where that hangs.
    async with tasks(_keep_pruned(gateway)):
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await asyncio.shield(store())  # who is cancelled while it writes would have taken these for nothing
        except asyncio.CancelledError:
            await store()
            raise


async def _keep_pruned(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        await _prune(gateway)


async def flush(gateway: Gateway, entries: list[Entry]) -> None:
    """Store the entries, and when each connection was last used. A store that is away costs these entries, no more."""
    if not entries:
        return
    try:
        await gateway.store.requests.add_many([row_of(entry) for entry in entries])
        await gateway.store.connections.touch(_used(entries), now=max(entry.at for entry in entries))
    except GatewayError as error:
        log.warning("requests.not_stored", count=len(entries), detail=error.refusal.detail)


async def _prune(gateway: Gateway) -> None:
    """Remove what nobody needs any more: old log entries, links, logins that nobody came back from, limits."""
    now = gateway.clock()
    try:
        await gateway.store.requests.prune(keep=KEEP)
        await gateway.store.logins.prune(before=now)
        await gateway.store.links.prune(before=now - KEPT)
        await gateway.store.limits.prune(now=now)
    except GatewayError as error:
        log.warning("store.not_pruned", detail=error.refusal.detail)


def _used(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the connections through which something went: not those that a caller only named."""
    return tuple(sorted({entry.connection for entry in entries if entry.connection and not entry.code}))


def row_of(entry: Entry) -> RequestRow:
    """Return a log entry as the store keeps it. The URL has no query: the log never had it."""
    return RequestRow(
        at=entry.at,
        request_id=entry.request_id,
        method=entry.method,
        url=entry.origin + entry.path,
        status=entry.status,
        seconds=entry.seconds,
        entrance=entry.entrance,
        app=entry.app or None,
        connection=entry.connection or None,
        client=entry.client or None,
        code=entry.code or None,
        sent=entry.sent,
        received=entry.received,
        refreshed=entry.refreshed,
    )
