"""A serving gateway: its listeners, what it does beside, and how it is told to stop.

`running` starts and ends it; `serve` adds the signals. SIGTERM and SIGINT: no new connections, requests under way may
end within `timeouts.shutdown`; a second one ends at once. SIGHUP: the policies are read again.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.app.chores import hear_of_changes, keep_time, store_requests, watch_policies
from gateway.app.compose import Gateway, open_gateway
from gateway.app.loop import settle
from gateway.app.process import affordable
from gateway.app.tallying import store_tallies
from gateway.errors import Refusal, StartError
from gateway.proxy.access_log import AccessLog
from gateway.proxy.server import ProxyServer
from gateway.settings import Listen, Settings
from gateway.vault import Webhook

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that serves. `web_url` is what a person opens."""

    gateway: Gateway
    proxy: Listen
    web: Listen
    web_url: str


async def serve(settings: Settings, ready: Callable[[Running], None]) -> None:
    """Serve until a signal ends it; `ready` is called once both listeners answer. Raises `StartError`."""
    stop = asyncio.Event()
    async with running(settings) as now, signals(stop, now.gateway):
        settle()
        ready(now)
        await stop.wait()
        log.info("gateway.stopping", grace=settings.timeouts.shutdown)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Start a gateway with both listeners; stop it at the end. Raises `StartError`; nothing was changed then."""
    require_free({"proxy.listen": settings.proxy.listen, "web.listen": settings.web.listen})
    webhook = webhook_of(settings, os.environ)
    async with open_gateway(settings) as gateway, AsyncExitStack() as stack:
        upkeep = gateway.vault.upkeep(webhook)  # here and not in `background`: once for a server, not in each worker
        await stack.enter_async_context(background(gateway))
        await stack.enter_async_context(tasks(upkeep.run()))
        proxy = await stack.enter_async_context(_proxies(gateway))
        web, web_url = await stack.enter_async_context(_web(gateway))
        gateway.own_listeners.update(((proxy.host, proxy.port), (web.host, web.port)))
        log.info("gateway.ready", proxy=str(proxy), web=str(web), workers=settings.workers)
        yield Running(gateway=gateway, proxy=proxy, web=web, web_url=web_url)


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
    async with tasks(
        hear_of_changes(gateway, after=after), keep_time(gateway), watch_policies(gateway), store_tallies(gateway)
    ):
        yield


@asynccontextmanager
async def proxy_listener(gateway: Gateway) -> AsyncIterator[Listen]:
    """Listen for proxied requests, and store their log."""
    settings = affordable(gateway.settings)
    requests = AccessLog(json=settings.log.format == "json", tally=gateway.tally)
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
    )
    async with tasks(store_requests(gateway, requests)):
        await server.start(reuse_port=settings.workers > 1)
        try:
            yield _first(server.addresses, settings.proxy.listen)
        finally:
            await server.stop(settings.timeouts.shutdown)


@asynccontextmanager
async def _proxies(gateway: Gateway) -> AsyncIterator[Listen]:
    """Listen in this process, or in as many as the settings say."""
    if gateway.settings.workers == 1:
        async with proxy_listener(gateway) as listen:
            yield listen
        return
    from gateway.app.workers import workers  # noqa: PLC0415 - one process is the rule

    async with workers(gateway.settings, gateway.metrics, gateway.master) as listen:
        yield listen


@asynccontextmanager
async def _web(gateway: Gateway) -> AsyncIterator[tuple[Listen, str]]:
    from gateway.web.server import WebServer  # noqa: PLC0415 - aiohttp takes long to import, and the proxy listens by now

    server = WebServer(gateway)
    await server.start()
    try:
        yield _first(server.addresses, gateway.settings.web.listen), server.url
    finally:
        await server.stop(gateway.settings.timeouts.shutdown)


def _first(addresses: Iterable[tuple[str, int]], wanted: Listen) -> Listen:
    """Return the listener as it was asked for, with the port that it really has."""
    return Listen(wanted.host, next((port for _, port in addresses), wanted.port))


@asynccontextmanager
async def tasks(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside; one that fails is logged, for the rest must go on. At the end all of it is cancelled."""
    running_tasks = [asyncio.create_task(one) for one in work]
    for task in running_tasks:
        task.add_done_callback(_tell)
    try:
        yield
    finally:
        for task in running_tasks:
            task.cancel()
        await asyncio.gather(*running_tasks, return_exceptions=True)


def _tell(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("gateway.task_failed", task=task.get_coro(), exc_info=error)


@asynccontextmanager
async def signals(stop: asyncio.Event, gateway: Gateway) -> AsyncIterator[None]:
    """Heed the signals while the body runs."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            os._exit(1)  # asked twice: whoever asks doesn't want to wait
        stop.set()

    def read_again() -> None:
        log.info("policies.reload")
        for app in gateway.catalog.load():
            gateway.vault.forget("policy", app)

    handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: read_again}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def require_free(wanted: Mapping[str, Listen]) -> None:
    """Raise `StartError` where an address can't be had, or two are the same: before anything is made or changed."""
    with ExitStack() as probes:
        for name, listen in wanted.items():
            try:
                _bind(listen, probes)
            except OSError as error:
                detail = f"{name}: {listen} can't be listened on: {error.strerror or error}."
                hint = f"Stop what listens there, or change {name}."
                raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from None


def _bind(listen: Listen, probes: ExitStack) -> None:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        probe = probes.enter_context(socket.socket(family, kind, protocol))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
        probe.listen(1)  # with SO_REUSEADDR, only listening shows that somebody else does
