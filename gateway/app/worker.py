"""One worker, as `workers` starts it: `python -m gateway.app.worker`, settings and master key on its standard input."""

import asyncio
import os
import sys
from contextlib import suppress

from gateway.app.compose import open_gateway
from gateway.app.loop import run_on_uvloop, settle
from gateway.app.process import conceal
from gateway.app.serving import background, proxy_listener, signals, tasks
from gateway.app.workers import READY
from gateway.errors import GatewayError
from gateway.log import configure_log
from gateway.metrics import Metrics
from gateway.settings import Settings

SEND_SECONDS = 1.0
"""Prometheus scrapes every 15 seconds or so: a second's delay is not seen."""


def main() -> int:
    """Serve the proxy port; return 1 where that can't be, having said why in one line."""
    conceal()
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    master = bytes.fromhex(sys.stdin.buffer.readline().decode())
    configure_log(form=settings.log.format, level=settings.log.level)
    try:
        run_on_uvloop(work(settings, master))
    except GatewayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


async def work(settings: Settings, master: bytes) -> None:
    """Serve until told to stop, or until the parent is gone."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _heard, stop)
    async with (
        open_gateway(settings, create=False, master=master) as gateway,
        background(gateway),
        proxy_listener(gateway) as listen,
    ):
        web = settings.web.listen
        gateway.own_listeners.update(((listen.host, listen.port), (web.host, web.port)))
        async with signals(stop, gateway):
            settle()
            sys.stdout.buffer.write(READY)
            sys.stdout.buffer.flush()
            async with tasks(send_counts(gateway.metrics)):
                await stop.wait()


async def send_counts(metrics: Metrics) -> None:
    """Send the counts to the parent, once a second where they have changed, until cancelled.

    A parent that doesn't read costs it the newest counts: nothing piles up, and nothing waits.
    """
    loop, sent = asyncio.get_running_loop(), b""
    pipe, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    while not pipe.is_closing():
        counts = metrics.export()
        if counts != sent and pipe.get_write_buffer_size() == 0:
            pipe.write(counts + b"\n")
            sent = counts
        await asyncio.sleep(SEND_SECONDS)


def _heard(stop: asyncio.Event) -> None:
    """Stop when standard input ends: only the parent's end ends it."""
    with suppress(BlockingIOError):
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop.set()


if __name__ == "__main__":
    sys.exit(main())
