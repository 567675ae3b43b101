"""The callers: connections that each send one request after another, as fast as the answers come."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Outcome:
    """What came back: seconds of each answer, and how many were no 200."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, request: bytes, outcome: Outcome, closed: asyncio.Future[None]) -> None:
        self._request = request
        self._outcome = outcome
        self._closed = closed
        self._buffer = b""
        self._sent = 0.0
        self.ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        self._outcome.latencies.append(time.perf_counter() - self._sent)
        self._outcome.failures += not head.startswith(b"HTTP/1.1 200 ")
        if self.ending:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._outcome.failures += not self.ending
        if not self._closed.done():
            self._closed.set_result(None)


async def _drive(port: int, request: bytes, connections: int, seconds: float) -> Outcome:
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    closed = [loop.create_future() for _ in range(connections)]
    callers = [
        (await loop.create_connection(lambda end=end: Caller(request, outcome, end), "127.0.0.1", port))[1]
        for end in closed
    ]
    await asyncio.wait(closed, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for caller in callers:
        caller.ending = True
    await asyncio.wait(closed, timeout=10)
    return outcome


def drive(port: int, request: bytes, *, connections: int, seconds: float) -> Outcome:
    """Send the request over and over for so many seconds. A connection that ends early ends it all, as a failure."""
    return uvloop.run(_drive(port, request, connections, seconds))
