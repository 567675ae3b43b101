"""A new version takes over: the program is started again, as it stands on the disk now, with the same sockets.

Both accept for a moment, from the same queues, so that nobody is refused. The successor gets the command line and the
environment that this process was started with, its secrets too: nothing of them is in an argument.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from gateway.app.sockets import HANDOVER, Sockets
from gateway.errors import Refusal, StartError

PATIENCE = 120.0
"""Seconds in which the successor has to serve: it may have a schema to bring up."""
_ENDING = 5.0  # seconds that one that failed has to end
_INIT = 1


async def hand_over(sockets: Sockets, environ: Mapping[str, str] = os.environ) -> int:
    """Start the successor and return its pid once it serves. Raises `StartError`: it doesn't, and is gone."""
    if os.getpid() == _INIT:
        detail = "This is the first process of its container, which would end with it."
        raise StartError(Refusal(code="internal", detail=detail, hint="Replace the container instead."))
    reading, writing = os.pipe()
    try:
        process = _start(sockets, writing, environ)
    finally:
        os.close(writing)
    serves = False
    try:
        async with asyncio.timeout(PATIENCE):
            serves = await _has_said_something(reading)
    except TimeoutError:
        raise _failed(f"it did not serve within {PATIENCE:g} s") from None
    finally:
        os.close(reading)
        status = None if serves else await _ended(process)
    if not serves:
        raise _failed(f"it ended with status {status}")
    return process.pid


def _start(sockets: Sockets, ready: int, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    given = [f"ready={ready}", *(f"{name}={one.fileno()}" for name, one in sockets.named())]
    kept = {name: value for name, value in environ.items() if name != "WATCHDOG_PID"}  # for it, the watch holds too
    try:
        return subprocess.Popen(  # noqa: S603 - this very program; and not by the loop, which would end it with us
            [sys.executable, *sys.orig_argv[1:]],
            env=kept | {HANDOVER: " ".join(given)},
            pass_fds=[ready, *(one.fileno() for _, one in sockets.named())],
        )
    except OSError as error:
        raise _failed(f"{sys.executable} can't be run: {error.strerror}") from None


async def _has_said_something(pipe: int) -> bool:
    """Wait until the other end says something (True) or closes (False)."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bool] = loop.create_future()

    def readable() -> None:
        loop.remove_reader(pipe)
        said = bool(os.read(pipe, 16))
        if not heard.done():
            heard.set_result(said)

    loop.add_reader(pipe, readable)
    try:
        return await heard
    finally:
        loop.remove_reader(pipe)


async def _ended(process: "subprocess.Popen[bytes]") -> int:
    """See to it that it ends; return its status."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        return await asyncio.to_thread(process.wait, _ENDING)
    process.kill()
    return await asyncio.to_thread(process.wait)


def _failed(why: str) -> StartError:
    hint = "What it has said itself stands above; this process serves on."
    return StartError(Refusal(code="internal", detail=f"The new version could not take over: {why}.", hint=hint))
