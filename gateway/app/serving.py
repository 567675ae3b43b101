"""A serving gateway: its listeners, what it does beside, and how it is told to stop.

`running` starts and ends it; `serve` adds the signals. SIGTERM and SIGINT: no new connections, requests under way may
end within `timeouts.shutdown`; a second one ends at once. SIGHUP: policies and trusted authorities are read again.
SIGUSR2: the program is started anew and takes the sockets over; then this one ends as by SIGTERM.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from gateway.app.chores import hear_of_changes, keep_time, store_requests, watch_policies
from gateway.app.compose import Gateway, open_gateway
from gateway.app.handover import hand_over
from gateway.app.loop import settle
from gateway.app.notify import Manager
from gateway.app.process import affordable
from gateway.app.signals import end_by, heeding, read_again
from gateway.app.sockets import Handed, Sockets, copies, place_of, sockets_for
from gateway.app.tallying import store_tallies
from gateway.app.tasks import tasks
from gateway.app.telemetry import tracing
from gateway.app.watching import take_census, watch_itself
from gateway.errors import StartError
from gateway.proxy.access_log import AccessLog
from gateway.proxy.server import ProxyServer
from gateway.settings import Listen, Settings
from gateway.vault import Webhook

if TYPE_CHECKING:
    from gateway.web.server import WebServer

LAST_WORDS = 1.0
"""Seconds that the web listener has at least, when the proxy's requests have used up the time there was."""

log = structlog.get_logger()


class Proxies(Protocol):
    """Who serves the proxy's port: this process, or others."""

    @property
    def why_not_ready(self) -> str:
        """Why it isn't served, empty: it is."""

    def signal(self, number: int) -> None:
        """Pass a signal on to processes of its own."""

    def lend(self, *, lent: bool) -> None:
        """Take note whether a successor has the sockets too."""

    async def drain(self) -> None:
        """Stop accepting; return when what was under way has ended, or `timeouts.shutdown` is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that serves. `web_url` is what a person opens."""

    gateway: Gateway
    proxy: Listen
    web: Listen
    web_url: str
    sockets: Sockets
    proxies: Proxies
    web_server: "WebServer"

    async def drain(self, *, handed_over: bool = False) -> None:
        """Take no more requests, and let those under way end, within `timeouts.shutdown` in all.

        The web listener answers until the last: it says that the gateway isn't ready, and has its counts. Where another
        process has the sockets now, that is for it to say.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self.gateway.settings.timeouts.shutdown
        await self.web_server.drain(accepting=not handed_over)
        self.sockets.close()
        await self.proxies.drain()
        await self.web_server.stop(max(end - loop.time(), LAST_WORDS))


async def serve(settings: Settings, ready: Callable[[Running], None]) -> None:
    """Serve until a signal ends it; `ready` is called once both listeners answer. Raises `StartError`."""
    handed, manager = Handed.taken_from(os.environ), Manager()
    async with running(settings, handed) as now, AsyncExitStack() as stack:
        service = _Service(now, manager)
        await stack.enter_async_context(heeding(service.handlers()))
        await stack.enter_async_context(tasks(manager.keep_assured()))
        settle()
        ready(now)
        manager.ready()
        handed.tell_ready()
        await service.until_told()
        log.info("gateway.stopping", grace=settings.timeouts.shutdown, successor=service.successor)
        if service.successor is None:
            manager.stopping()
        await now.drain(handed_over=service.successor is not None)


class _Service:
    """What the signals of a serving process do."""

    def __init__(self, now: Running, manager: Manager) -> None:
        self.successor: int | None = None
        self._now, self._manager = now, manager
        self._stop = asyncio.Event()
        self._handing_over: asyncio.Task[None] | None = None

    def handlers(self) -> dict[signal.Signals, Callable[[], None]]:
        end = end_by(self._stop, at_once=lambda: self._now.proxies.signal(signal.SIGKILL))
        return {
            signal.SIGTERM: end,
            signal.SIGINT: end,
            signal.SIGHUP: self._read_again,
            signal.SIGUSR2: self._begin_to_hand_over,
        }

    async def until_told(self) -> None:
        """Return when this process is to end."""
        await self._stop.wait()
        if self._handing_over is not None and self.successor is None:
            self._handing_over.cancel()
            await asyncio.gather(self._handing_over, return_exceptions=True)

    def _read_again(self) -> None:
        self._manager.reloading()
        self._now.proxies.signal(signal.SIGHUP)
        read_again(self._now.gateway)
        self._manager.ready()

    def _begin_to_hand_over(self) -> None:
        if self._handing_over is None and not self._stop.is_set():
            self._handing_over = asyncio.create_task(self._hand_over(), name="handover")

    async def _hand_over(self) -> None:
        log.info("handover.begun")
        self._now.proxies.lend(lent=True)
        try:
            pid = await hand_over(self._now.sockets)
        except StartError as error:
            log.error("handover.failed", detail=error.refusal.detail, hint=error.refusal.hint)  # noqa: TRY400 - no fault
            self._now.proxies.lend(lent=False)
            self._handing_over = None
            return
        self.successor = pid
        self._manager.handed_over(pid)
        self._stop.set()


@asynccontextmanager
async def running(settings: Settings, handed: Handed | None = None) -> AsyncIterator[Running]:
    """Start a gateway with both listeners; stop it at the end. Raises `StartError`; nothing was changed then."""
    with sockets_for(settings, handed or Handed()) as sockets:
        webhook = webhook_of(settings, os.environ)
        async with open_gateway(settings) as gateway, AsyncExitStack() as stack:
            upkeep = gateway.vault.upkeep(webhook)  # not in `background`: once for a server, not in each worker
            await stack.enter_async_context(background(gateway))
            await stack.enter_async_context(tasks(upkeep.run(), take_census(gateway)))
            proxies = await stack.enter_async_context(_proxies(gateway, sockets))
            web = await stack.enter_async_context(_web(gateway, sockets, proxies))
            now = Running(
                gateway=gateway,
                proxy=place_of(sockets.proxy, settings.proxy.listen),
                web=place_of(sockets.web, settings.web.listen),
                web_url=web.url,
                sockets=sockets,
                proxies=proxies,
                web_server=web,
            )
            gateway.own_listeners.update(((now.proxy.host, now.proxy.port), (now.web.host, now.web.port)))
            log.info("gateway.ready", proxy=str(now.proxy), web=str(now.web), workers=settings.workers)
            yield now


def webhook_of(settings: Settings, environ: Mapping[str, str]) -> Webhook | None:
    """Return where messages go, None: nowhere. Raises `StartError` where their secret is missing."""
    if not settings.webhook.url:
        return None
    return Webhook(url=settings.webhook.url, secret=settings.webhook.read_secret(environ))


@asynccontextmanager
async def background(gateway: Gateway) -> AsyncIterator[None]:
    """Load who may call, and follow every change of the store and of the policies from there on; store the tallies."""
    after = await gateway.store.changes.latest()
    await gateway.access.load()
    hearing, policies = hear_of_changes(gateway, after=after), watch_policies(gateway)
    beside = (hearing, policies, keep_time(gateway), store_tallies(gateway), watch_itself(gateway))
    async with tasks(*beside):
        yield


@asynccontextmanager
async def proxy_listener(gateway: Gateway, sockets: Sequence[socket.socket]) -> AsyncIterator[ProxyServer]:
    """Listen for proxied requests on these, which are closed with it, and store their log."""
    settings = affordable(gateway.settings)
    requests = AccessLog(json=settings.log.format == "json", tally=gateway.tally)
    async with tracing() as tracer, tasks(store_requests(gateway, requests), gateway.limiter.run()):
        server = ProxyServer(
            vault=gateway.vault,
            access=gateway.access,
            egress=gateway.egress,
            settings=settings,
            metrics=gateway.metrics,
            certs=await gateway.authority(),
            gateway_id=gateway.gateway_id,
            log=requests,
            clock=gateway.clock,
            tracer=tracer,
            limiter=gateway.limiter,
        )
        await server.start(sockets)
        try:
            yield server
        finally:
            await server.stop(settings.timeouts.shutdown)


class _InThisProcess:
    """The proxy's port, served by this process."""

    why_not_ready = ""

    def __init__(self, server: ProxyServer, grace: float) -> None:
        self._server, self._grace = server, grace

    def signal(self, number: int) -> None:
        """Pass it on to nobody: there are no others."""

    def lend(self, *, lent: bool) -> None:
        """Change nothing: this process closes its own and no more."""

    async def drain(self) -> None:
        await self._server.stop(self._grace)


@asynccontextmanager
async def _proxies(gateway: Gateway, sockets: Sockets) -> AsyncIterator[Proxies]:
    """Listen in this process, or in as many as the settings say."""
    settings = gateway.settings
    if settings.workers == 1:
        async with proxy_listener(gateway, copies(sockets.proxy)) as server:
            yield _InThisProcess(server, settings.timeouts.shutdown)
        return
    from gateway.app.workers import workers  # noqa: PLC0415 - one process is the rule

    proxy = settings.proxy.model_copy(update={"listen": place_of(sockets.proxy, settings.proxy.listen)})
    web = settings.web.model_copy(update={"listen": place_of(sockets.web, settings.web.listen)})
    given = settings.model_copy(update={"proxy": proxy, "web": web})
    async with workers(given, sockets.proxy, gateway.metrics, gateway.master) as crew:
        yield crew


@asynccontextmanager
async def _web(gateway: Gateway, sockets: Sockets, proxies: Proxies) -> AsyncIterator["WebServer"]:
    from gateway.web.server import WebServer  # noqa: PLC0415 - aiohttp takes long to import, and the proxy listens by now

    server = WebServer(gateway, why_not_ready=lambda: proxies.why_not_ready)
    await server.start(copies(sockets.web))
    try:
        yield server
    finally:
        await server.stop(gateway.settings.timeouts.shutdown)
