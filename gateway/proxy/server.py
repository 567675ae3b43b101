"""The proxy listener: takes connections in, keeps count of them, and sweeps their deadlines.

One timer looks after all deadlines twice a second; a timer for each request would cost more than it is worth.
"""

import asyncio
import contextlib
import os
import secrets
import select
import socket
from collections.abc import Callable, Coroutine, Iterable
from itertools import count
from random import random
from typing import Any, Protocol

import structlog

from gateway.access import Access
from gateway.attempts import Attempts
from gateway.egress import Egress
from gateway.errors import GatewayError, Refusal, StartError
from gateway.metrics import Metrics
from gateway.proxy.access_log import AccessLog
from gateway.proxy.admission import Admission
from gateway.proxy.caller import CallerConnection
from gateway.proxy.certs import Authority
from gateway.proxy.entrances import Tunnel
from gateway.proxy.limiter import Limiter
from gateway.proxy.outbox import Outbox
from gateway.proxy.pool import Pool
from gateway.proxy.services import Services
from gateway.proxy.tracing import Tracer
from gateway.settings import Settings
from gateway.vault import Vault

_SWEEP_EVERY = 0.5  # seconds
_POOL_IDLE = 60.0  # seconds: most services close an idle connection after this or more
BACKLOG = 4096
"""Connections that wait to be accepted, at most."""
_LAST_ACCEPTS = 0.2  # seconds, where new ones come faster than they are taken
_EIGHT_DIGITS = 0x10000000  # the first number with so many: all ids are of one length
_log = structlog.get_logger("gateway.proxy")


class Swept(Protocol):
    """What has a deadline, and can be asked to leave."""

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed."""

    def drain(self) -> None:
        """Close as soon as it is polite."""

    def abort(self) -> None:
        """Cut it."""


class Listener:
    """What connections share: the services, the count, the sweep."""

    def __init__(self, services: Services, outbox: Outbox) -> None:
        self.services = services
        self.outbox = outbox
        self.draining = False
        self._open: set[Swept] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tunnels = 0
        self._emptied: asyncio.Event | None = None  # while draining

    def caller(self, tunnel: Tunnel | None = None, *, secure: bool = False) -> CallerConnection:
        """Return a new reader, for a connection or for the inside of a tunnel."""
        return CallerConnection(self, tunnel=tunnel, secure=secure)

    def joined(self, one: Swept) -> bool:
        """Take note of a connection. False: there are too many, say so and close it."""
        self._open.add(one)
        self.services.metrics.client_connections.inc()
        if self.draining:
            one.drain()
        return len(self._open) <= self.services.settings.limits.connections

    def left(self, one: Swept) -> None:
        """Forget a connection."""
        if one in self._open:
            self._open.discard(one)
            if not self._open and self._emptied is not None:
                self._emptied.set()
            self.services.metrics.client_connections.dec()

    def may_open_tunnel(self) -> bool:
        """Whether there is room for one more tunnel."""
        return self._tunnels < self.services.settings.limits.tunnels

    def tunnel_opened(self) -> None:
        """Count a tunnel."""
        self._tunnels += 1
        self.services.metrics.tunnels.inc()

    def tunnel_closed(self) -> None:
        """Count it no more."""
        self._tunnels -= 1
        self.services.metrics.tunnels.dec()

    def tls_failed(self, tunnel: Tunnel, error: Exception) -> None:
        """Log a handshake that the caller broke off: most often it doesn't trust our CA."""
        reason = getattr(error, "reason", None) or type(error).__name__
        hint = "does the caller trust `gateway ca export`?"
        _log.info("tunnel.tls_failed", connection=tunnel.tag.connection_id, host=tunnel.host, reason=reason, hint=hint)

    def refused(self, refusal: Refusal, request_id: str, entrance: str, admission: Admission) -> None:
        """Count a refusal that never became an exchange, and log it unless somebody floods us with them."""
        if admission.is_news():
            _log.info(
                "request.refused", request_id=request_id, entrance=entrance, code=refusal.code, status=refusal.status
            )
        self.services.metrics.request(refusal.code, refusal.status, 0.0, entrance)
        self.services.log.tally.turned_away(self.services.clock())

    def spawn(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that must wait; it is kept until it is done."""
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def sweep(self) -> None:
        """Look at every deadline."""
        now = self.services.time()
        for one in list(self._open):
            try:
                one.sweep(now)
            except Exception:  # noqa: BLE001 - the deadlines of all the others still count
                _log.exception("sweep.broken")
        self.services.pool.sweep(now)

    async def drain(self, grace: float) -> None:
        """Let what runs come to its end, for `grace` seconds at most, and cut the rest."""
        self.draining = True
        for one in list(self._open):
            one.drain()
        self.sweep()
        self._emptied = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._open:  # what is handed over, such as a tunnel's beginning, is nobody's for a moment
                    self._emptied.clear()
                    await self._emptied.wait()
        for one in list(self._open):
            one.abort()
        for task in self._tasks:
            task.cancel()
        self.services.pool.close()
        self.services.log.flush()


class ProxyServer:
    """The data plane's listener. `gateway_id` names this gateway (all its replicas) in `Via`."""

    def __init__(
        self,
        *,
        vault: Vault,
        access: Access,
        egress: Egress,
        settings: Settings,
        metrics: Metrics,
        certs: Authority,
        gateway_id: str,
        log: AccessLog,
        clock: Callable[[], float],
        limiter: Limiter,
        tracer: Tracer | None = None,
        chance: Callable[[], float] = random,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._settings = settings
        loop = asyncio.get_running_loop()
        timeouts, limits = settings.timeouts, settings.limits
        metrics.client_connections_limit.value = limits.connections
        name = f"gateway-{gateway_id}".encode("ascii")
        outbox = Outbox(loop.call_soon)
        pool = Pool(
            egress,
            outbox,
            tls_timeout=timeouts.tls,
            idle_timeout=min(timeouts.idle, _POOL_IDLE),
            max_head=limits.header_bytes,
            most=limits.connections,
            count=metrics.upstream_connections.inc,
        )
        self._listener = Listener(
            Services(
                vault=vault,
                access=access,
                pool=pool,
                certs=certs,
                metrics=metrics,
                log=log,
                settings=settings,
                via=b"Via: 1.1 %b\r\n" % name,
                via_name=name,
                clock=clock,
                time=loop.time,
                request_id=_request_ids(),
                background=self._background,
                guesses=Attempts(loop.time),
                strangers=Attempts(loop.time),
                tracer=tracer,
                limiter=limiter,
                chance=chance,
                entropy=entropy,
            ),
            outbox,
        )
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Listen on these, which are bound; they are closed with us. Raises `StartError`: an address can't be had."""
        listen = self._settings.proxy.listen
        loop = asyncio.get_running_loop()
        try:
            for one in sockets:
                self._servers.append(await loop.create_server(self._listener.caller, sock=one, backlog=BACKLOG))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartError(
                Refusal(
                    code="internal",
                    detail=f"The proxy can't listen on {listen.authority}: {reason}.",
                    hint="Choose another address in proxy.listen, or end what uses this one.",
                )
            ) from error
        self._sweep()

    @property
    def certificate_pem(self) -> bytes:
        """The certificate that callers of tunnels are to trust."""
        return self._listener.services.certs.certificate_pem

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens: (address, port) of each socket."""
        return [one.getsockname()[:2] for server in self._servers for one in server.sockets]

    async def stop(self, grace: float) -> None:
        """Stop accepting, let what runs finish within `grace` seconds, close the rest."""
        await self._take_who_waits()
        for server in self._servers:
            server.close()
        await self._listener.drain(grace)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _take_who_waits(self) -> None:
        """Accept whoever is in the queues by now: closing them would reset all of these."""
        queues = select.poll()
        for server in self._servers:
            for one in server.sockets:
                queues.register(one, select.POLLIN)
        end = self._listener.services.time() + _LAST_ACCEPTS
        while queues.poll(0) and self._listener.services.time() < end:  # noqa: ASYNC110 - the loop accepts in its turns
            await asyncio.sleep(0)

    def _background(self, work: Coroutine[Any, Any, Any]) -> None:
        async def guarded() -> None:
            try:
                await work
            except GatewayError as error:
                _log.info("background.failed", code=error.refusal.code, detail=error.refusal.detail)

        self._listener.spawn(guarded())

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_EVERY, self._sweep)
        self._listener.sweep()


def _request_ids() -> Callable[[], str]:
    """Return a source of request ids: cheap, and unique over processes and restarts."""
    prefix = secrets.token_hex(6)
    numbers = count(_EIGHT_DIGITS + secrets.randbelow(1 << 20)).__next__
    return lambda: prefix + hex(numbers())[2:]  # noqa: FURB116 - a third of what a format costs
