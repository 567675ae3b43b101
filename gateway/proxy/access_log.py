"""What was done: one line for each request on the log, the newest ones kept for the pages and the API, all counted.

Never recorded: query strings, header values, bodies, tokens. Lines are gathered and written a few times a second, since
a write for each request would cost more than the request.
"""

import asyncio
import datetime as dt
import sys
from collections import deque
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import TextIO

import orjson

from gateway.proxy.tally import Tally

_FLUSH_EVERY = 0.25  # seconds
_FLUSH_AT = 32  # lines: more at a time would hold up the request that comes then
_LONGEST_PATH = 1_024  # characters: the store keeps 100,000 entries
_KEPT = 1_000  # newest entries that wait to be stored; the log has them all


def shown_path(path: str) -> str:
    """Return what is recorded of a path: a caller, and be it a stranger, decides on its length."""
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}..."


@dataclass(slots=True)  # not frozen: one is made for each request
class Entry:
    """One request. `at` is epoch seconds, `seconds` how long it took.

    `code` is empty where upstream answered, `trace_id` where the request is no part of a trace.
    """

    at: float
    request_id: str
    entrance: str
    client: str
    connection: str
    app: str
    method: str
    origin: str
    path: str
    status: int
    code: str
    seconds: float
    sent: int
    received: int
    refreshed: bool
    trace_id: str = ""


_AS_LOGGED = tuple(field.name for field in fields(Entry) if field.name != "at")  # that is the timestamp
_logged = attrgetter(*_AS_LOGGED)


class AccessLog:
    """Gathers entries, counts them, writes them as JSON or plain lines, keeps the newest for whoever stores them."""

    def __init__(self, *, json: bool, tally: Tally, stream: TextIO | None = None) -> None:
        self.tally = tally
        self._json = json
        self._stream = stream or sys.stderr
        self._waiting: list[Entry] = []
        self._recent: deque[Entry] = deque(maxlen=_KEPT)
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: Entry) -> None:
        """Record one request."""
        waiting = self._waiting
        waiting.append(entry)
        self._recent.append(entry)
        if len(waiting) >= _FLUSH_AT:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_EVERY, self.flush)

    def take_recent(self) -> list[Entry]:
        """Return the newest entries since the last call, at most 1,000, for the store."""
        entries = list(self._recent)
        self._recent.clear()
        return entries

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self.tally.add(waiting)
        render = _json_line if self._json else _plain_line
        try:
            self._stream.write("".join(map(render, waiting)))
            self._stream.flush()
        except (OSError, ValueError):
            pass  # whoever reads the log has gone; requests go on


def _json_line(entry: Entry) -> str:
    values = dict(zip(_AS_LOGGED, _logged(entry), strict=True))
    values["seconds"] = round(entry.seconds, 6)
    if not entry.trace_id:
        del values["trace_id"]
    record = {"event": "request", "timestamp": _stamp(entry.at), **values}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE).decode()


def _plain_line(entry: Entry) -> str:
    tenths = int(entry.seconds * 10_000)  # of a millisecond
    return (
        f"{_stamp(entry.at)} {entry.status} {entry.code or '-'} {entry.method} {entry.origin}{entry.path}"
        f" connection={entry.connection or '-'} client={entry.client or '-'} via={entry.entrance}"
        f" {tenths // 10}.{tenths % 10}ms {entry.request_id}{' refreshed' if entry.refreshed else ''}"
        f"{f' trace={entry.trace_id}' if entry.trace_id else ''}\n"
    )


def _stamp(at: float) -> str:
    return _millisecond(int(at * 1000))


@lru_cache(maxsize=2)
def _millisecond(at: int) -> str:
    return f"{_second(at // 1000)}.{at % 1000:03d}+00:00"


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds").removesuffix("+00:00")
