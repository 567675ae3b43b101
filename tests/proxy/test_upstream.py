"""One upstream connection, its socket played by the test: when it may carry another exchange, and when it ends."""

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.http.response import ResponseHead
from gateway.http.target import origin_of
from gateway.proxy.outbox import Outbox
from gateway.proxy.tunnel import Joined
from gateway.proxy.upstream import UpstreamConnection
from tests.proxy.harness import OK


class Wire:
    """A transport that remembers what was done with it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.closed_politely = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed_politely = True

    def is_closing(self) -> bool:
        return self.closed or self.closed_politely

    def write_eof(self) -> None:
        """Reading goes on."""

    def resume_reading(self) -> None:
        """Nothing is paused here."""


class KeptInPool:
    """A pool that remembers what was given back."""

    def __init__(self) -> None:
        self.kept: list[UpstreamConnection] = []

    def put(self, connection: UpstreamConnection) -> None:
        self.kept.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """Nothing is counted here."""


class Asker:
    """An exchange that releases its connection when the answer is complete."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.failed: str | None = None

    def response_informed(self, head: ResponseHead) -> None:
        """Not looked at."""

    def response_received(self, head: ResponseHead | None, content: list[bytes], *, ended: bool) -> None:  # noqa: ARG002 - Receiver
        if ended:
            self.connection.release()

    def response_failed(self, why: str, *, answered: bool) -> None:  # noqa: ARG002 - Receiver
        self.failed = why

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Not looked at."""

    def fault(self, error: Exception) -> None:
        raise error

    def upstream_paused(self) -> None:
        """Not looked at."""

    def upstream_resumed(self) -> None:
        """Not looked at."""


class Upstream:
    """A connection with all that stands around it."""

    def __init__(self, *, content: bool = False) -> None:
        self.wire, self.pool = Wire(), KeptInPool()
        pool: Any = self.pool
        wire: Any = self.wire
        outbox = Outbox(lambda _flush: None)  # the test says when a turn of the loop ends
        self.connection = UpstreamConnection(("crm-ann", origin_of("http", "ok.test", 80)), pool, outbox, max_head=1000)
        self.connection.connection_made(wire)
        self.asker = Asker(self.connection)
        self.connection.ask(self.asker, method="GET", head=b"head", cookies=False)
        if content:
            self.connection.begin_content(chunked=False)
        self.connection.flush()

    @property
    def kept(self) -> bool:
        return bool(self.pool.kept) and not self.wire.closed


def test_a_connection_is_kept_when_request_and_answer_are_complete() -> None:
    upstream = Upstream(content=True)
    upstream.connection.write_content(b"all of it")
    upstream.connection.end_content()
    upstream.connection.flush()
    upstream.connection.data_received(OK)
    assert upstream.kept


def test_a_connection_whose_request_is_not_all_sent_is_not_kept() -> None:
    upstream = Upstream(content=True)
    upstream.connection.write_content(b"a part")
    upstream.connection.data_received(OK)
    assert upstream.wire.closed
    assert not upstream.kept


def test_a_connection_that_has_not_taken_its_request_is_not_kept() -> None:
    """It would tell the next exchange nothing of being full, and that one would send without end."""
    upstream = Upstream(content=True)
    upstream.connection.write_content(b"all of it")
    upstream.connection.pause_writing()
    upstream.connection.end_content()
    upstream.connection.data_received(OK)
    assert not upstream.kept


@pytest.mark.parametrize("trailers", [b"X: " + b"x" * 2000, b"X: x\r\n" * 500], ids=["long", "many"])
def test_trailers_without_end_are_a_fault(trailers: bytes) -> None:
    upstream = Upstream()
    upstream.connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    for start in range(0, len(trailers), 100):
        upstream.connection.data_received(trailers[start : start + 100])
    assert upstream.asker.failed == "its header fields are over the limit"
    assert upstream.wire.closed


@pytest.mark.parametrize("order", ["upstream first", "caller first"])
async def test_when_both_halves_of_a_pipe_have_ended_what_was_sent_still_goes_out(order: str) -> None:
    upstream = Upstream()
    services: Any = SimpleNamespace(time=lambda: 0.0)
    caller: Any = SimpleNamespace(end_output=lambda: None, close=lambda: None, write=lambda _: None)
    exchange: Any = SimpleNamespace(parted=lambda: None)
    joined = Joined(caller, upstream.connection, exchange, services)
    joined.from_caller(b"the last of it")
    ends = [joined.upstream_ended, joined.caller_ended]
    for end in ends if order == "upstream first" else reversed(ends):
        end()
    joined.caller_lost()
    assert upstream.wire.closed_politely
    assert not upstream.wire.closed


def test_what_comes_before_the_request_has_left_is_no_answer_to_it() -> None:
    """Bytes that were on their way already must not be taken for what this exchange asked for."""
    upstream = Upstream()
    upstream.connection.data_received(OK)
    assert upstream.kept
    next_one = Asker(upstream.connection)
    upstream.connection.ask(next_one, method="GET", head=b"next", cookies=False)
    upstream.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
    assert next_one.failed == "it spoke before it was asked"
    assert upstream.wire.closed
    upstream.connection.flush()
    assert upstream.wire.written == b"head"
