"""What the service manager is told: sd_notify(3), one datagram to the socket that NOTIFY_SOCKET names.

Where nobody has asked to be told, nothing is sent; nor does anything fail because a manager is away.
"""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

_MICROSECONDS = 1_000_000


class Manager:
    """Whoever started us, as the environment says."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        place = environ.get("NOTIFY_SOCKET", "")
        self._place = f"\0{place[1:]}" if place.startswith("@") else place
        self._watchdog = _watchdog(environ)

    def ready(self) -> None:
        """Say that this process serves; or again, after `reloading`."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `ready` says that it has been."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that it drains."""
        self._tell("STOPPING=1")

    def handed_over(self, pid: int) -> None:
        """Say that another process is the main one from now on."""
        self._tell(f"MAINPID={pid}\nREADY=1")

    async def keep_assured(self) -> None:
        """Say that the loop turns, twice as often as the manager wants to hear it (WATCHDOG_USEC), until cancelled."""
        while self._watchdog:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _tell(self, message: str) -> None:
        if self._place:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(message.encode(), self._place)


def _watchdog(environ: Mapping[str, str]) -> float:
    """Return the seconds in which the manager wants to hear of us; 0: it doesn't."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() and pid == str(os.getpid()) else 0.0
