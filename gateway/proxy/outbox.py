"""Writes wait for the end of the event loop's turn, and then go out one after another.

A turn brings what many sockets have to say. Were each answered at once, the process at the other end would wake for
every single write and sleep again; written in a row, most of them find it awake, and a head and its content that came
in one turn are one write. Nothing waits longer than the turn lasts: no timer is involved. What is large doesn't wait at
all: the next connection's would drive it out of the processor's cache, and all of a turn's together would take memory.
"""

from collections.abc import Callable
from typing import Protocol

import structlog

LARGE = 16 * 1024
"""Bytes that are sent at once."""
_log = structlog.get_logger("gateway.proxy")


class Writer(Protocol):
    """Who has something to send."""

    def flush(self) -> None:
        """Send it."""


class Sends(Protocol):
    """What sends: a transport, or TLS."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def writelines(self, list_of_data: list[bytes]) -> None:
        """Send pieces, in a row."""


def send(wire: Sends, parts: list[bytes]) -> None:
    """Send pieces as one write: what is large isn't copied for that."""
    if len(parts) > 1 and len(parts[-1]) > LARGE:
        wire.writelines(parts)
    elif data := b"".join(parts):
        wire.write(data)


class Outbox:
    """Who has something to send in this turn. `call_soon` is the loop's."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._writers: list[Writer] = []

    def add(self, writer: Writer) -> None:
        """Have `flush` called at the end of this turn."""
        if not self._writers:
            self._call_soon(self._flush)
        self._writers.append(writer)

    def _flush(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            try:
                writer.flush()
            except Exception:  # noqa: BLE001 - the others' bytes still go out
                _log.exception("write.broken")
