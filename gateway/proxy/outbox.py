"""Writes wait for the end of the event loop's turn, and then go out one after another.

A turn brings what many sockets have to say. Were each answered at once, the process at the other end would wake for
every single write and sleep again; written in a row, most of them find it awake, and a head and its content that came
in one turn are one write. Nothing waits longer than the turn lasts: no timer is involved.
"""

from collections.abc import Callable
from typing import Protocol

import structlog

_log = structlog.get_logger("gateway.proxy")


class Writer(Protocol):
    """Who has something to send."""

    def flush(self) -> None:
        """Send it."""


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
