"""What a server looks up about itself for `/metrics`, beside what it counts.

Each process looks at its own figures and at how late its event loop is; the one with the web listener takes the census
as well. Nobody who asks for `/metrics` waits for any of it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import structlog
from cryptography import x509

from gateway.app.compose import Gateway
from gateway.errors import GatewayError
from gateway.metrics import Census, Metrics
from gateway.metrics.process import figures
from gateway.store import Status
from gateway.store.store import Store

LOOK_SECONDS = 1.0
"""How often a process looks at itself; as often a worker sends what it has counted."""
LATEST = 15
"""Looks whose latest one counts: what was late between two scrapes is seen in the second."""
CENSUS_SECONDS = 15.0
"""With twenty replicas that is a dozen reads a second of a few milliseconds each."""
PATIENCE = 5.0
"""Seconds for the store to answer before it counts as away."""
MARKS = 64

log = structlog.get_logger()


async def watch_itself(
    gateway: Gateway,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    time: Callable[[], float] = time.monotonic,
) -> None:
    """Keep this process's figures up to date, until cancelled. `time` is in seconds, and monotonic."""
    lags = deque([0.0], maxlen=LATEST)
    metrics, changes = gateway.metrics, gateway.store.changes
    while True:
        metrics.figures = {**figures(), "lag": round(max(lags), 4)}
        metrics.feed_seen = changes.seen
        due = time() + LOOK_SECONDS
        await sleep(LOOK_SECONDS)
        lags.append(max(time() - due, 0.0))


class FeedLag:
    """For how long a change has been in the feed without being heard of, by marks that are set now and then."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=MARKS)

    def look(self, now: float, *, newest: int, seen: int) -> float:
        """Return the seconds since the oldest mark that isn't reached; `newest` is the next mark."""
        while self._marks and self._marks[0][1] <= seen:
            self._marks.popleft()
        if newest > seen:
            self._marks.append((now, newest))
        return now - self._marks[0][0] if self._marks else 0.0


async def take_census(gateway: Gateway) -> None:
    """Look at the store, the policies and the keys, now and every few seconds, until cancelled."""
    taking = Taking(gateway)
    while True:
        try:
            await taking.look()
        except Exception:  # whoever stops looking shows yesterday's numbers as today's
            log.exception("census.fault")
        await asyncio.sleep(CENSUS_SECONDS)


class Taking:
    """The census as it is taken."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._census = gateway.metrics.census
        self._lag = FeedLag()

    async def look(self) -> None:
        """Look once. What the store holds stays as it was seen last while it is away."""
        gateway, census = self._gateway, self._census
        census.workers = gateway.settings.workers
        census.policies = len(gateway.catalog.policies)
        census.faulty = len({finding.file for finding in gateway.catalog.findings})
        try:
            async with asyncio.timeout(PATIENCE):
                await self._count(gateway.store, census, gateway.clock())
        except (TimeoutError, GatewayError) as error:
            if census.store_up is not False:
                log.warning("store.not_counted", detail=_why(error))
            census.store_up = False
        else:
            census.store_up = True

    async def _count(self, store: Store, census: Census, now: float) -> None:
        newest = await store.changes.latest()
        counted = await store.census.take()
        apps = {app for app, _ in counted.connections}
        census.connections = {(app, status): 0 for app in apps for status in Status} | dict(counted.connections)
        census.retrying, census.given_up = counted.retrying, counted.given_up
        census.waiting = {"revocations": counted.revocations, "deliveries": counted.deliveries}
        census.data_key_made_at = counted.data_key_made_at
        due = {
            "renewals": await store.due.next_at(),
            "revocations": await store.revocations.next_at(),
            "deliveries": await store.deliveries.next_at(),
        }
        census.overdue = _overdue(due, now)
        census.feed_lag = self._lag.look(now, newest=newest, seen=_seen(self._gateway.metrics))
        if census.ca_expires_at is None:
            authority = await self._gateway.authority()
            certificate = x509.load_pem_x509_certificate(authority.certificate_pem)
            census.ca_expires_at = certificate.not_valid_after_utc.timestamp()


def _seen(metrics: Metrics) -> int:
    """Return the newest change that all processes have taken up."""
    return min(one.feed_seen for _, one in metrics.processes())


def _overdue(due: Mapping[str, float | None], now: float) -> dict[str, float]:
    return {chore: 0.0 if at is None else max(now - at, 0.0) for chore, at in due.items()}


def _why(error: Exception) -> str:
    return error.refusal.detail if isinstance(error, GatewayError) else "The store doesn't answer."
