"""One worker, as `workers` starts it: `python -m gateway.app.worker DESCRIPTOR…`, each of a listening socket.

Settings and master key come on its standard input. Without a descriptor it binds the sockets itself.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from gateway.app.compose import open_gateway
from gateway.app.loop import run_on_uvloop, settle
from gateway.app.process import conceal
from gateway.app.serving import background, proxy_listener
from gateway.app.signals import heeding, read_again
from gateway.app.sockets import bound, by_number
from gateway.app.tasks import tasks
from gateway.app.workers import ALIVE, OPENED, READY
from gateway.errors import GatewayError
from gateway.log import configure_log
from gateway.metrics import Metrics
from gateway.settings import Settings

SEND_SECONDS = 1.0
"""Prometheus scrapes every 15 seconds or so: a second's delay is not seen."""


def main() -> int:
    """Serve the proxy port; return 1 where that can't be, having said why in one line."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # for the first process alone; a service manager may tell us all
    conceal()
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    master = bytes.fromhex(sys.stdin.buffer.readline().decode())
    configure_log(form=settings.log.format, level=settings.log.level)
    sockets = by_number(sys.argv[1:])
    try:
        run_on_uvloop(work(settings, master, sockets or bound(settings.proxy.listen)))
    except GatewayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


async def work(settings: Settings, master: bytes, sockets: Sequence[socket.socket]) -> None:
    """Serve until told to stop, or until the parent is gone."""
    listen, stop = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _heard, listen, stop)
    async with AsyncExitStack() as telling, open_gateway(settings, create=False, master=master) as gateway:
        # A second SIGTERM is none to end at once: a service manager may send one to all processes, as the parent does.
        handlers = {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: lambda: read_again(gateway)}
        # To the very end, while the last requests and the last refresh come to theirs: else it would seem to hang.
        await telling.enter_async_context(heeding(handlers))
        _say(OPENED)
        await listen.wait()
        async with background(gateway), proxy_listener(gateway, sockets):
            own = settings.proxy.listen, settings.web.listen
            gateway.own_listeners.update((listen.host, listen.port) for listen in own)
            settle()
            _say(READY)
            await telling.enter_async_context(tasks(send_counts(gateway.metrics)))
            await stop.wait()


async def send_counts(metrics: Metrics) -> None:
    """Send the counts to the parent once a second until cancelled, or that they haven't changed: it hears of us.

    A parent that doesn't read costs it the newest counts: nothing piles up, and nothing waits.
    """
    loop, sent = asyncio.get_running_loop(), b""
    pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    while not pipe.is_closing():
        counts = metrics.export()
        if pipe.get_write_buffer_size() == 0:
            pipe.write(ALIVE if counts == sent else counts + b"\n")
            sent = counts
        await asyncio.sleep(SEND_SECONDS)


def _say(word: bytes) -> None:
    sys.stdout.buffer.write(word)
    sys.stdout.buffer.flush()


def _heard(listen: asyncio.Event, stop: asyncio.Event) -> None:
    """Listen when the parent says so, its one word; stop when standard input ends: only the parent's end ends it."""
    with suppress(BlockingIOError):
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop.set()
        listen.set()


if __name__ == "__main__":
    status = main()
    gc.freeze()  # as in `gateway.cli`
    sys.exit(status)
