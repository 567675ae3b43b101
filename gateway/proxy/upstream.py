"""Upstream's side: one connection to a service.

A connection is used for one connection id and one origin only (http-rules.md 16), for one exchange at a time. Whatever
comes when no exchange waits for it ends the connection (14).
"""

import asyncio
from typing import Protocol, cast

from gateway.http.response import ResponseHead, ResponseInvalid
from gateway.http.target import Origin
from gateway.proxy.answer_reader import AnswerReader
from gateway.proxy.outbox import LARGE, Outbox, send
from gateway.proxy.tls import Wire
from gateway.secret import Secret

_FLUSH = 10.0  # seconds that a service has to take the last of what was sent to it
_LAST_CHUNK = b"0\r\n\r\n"


PoolKey = tuple[str, Origin]
"""Whose connections may be shared: the same connection id's, to the same origin (http-rules.md 16)."""


class Keeper(Protocol):
    """Who keeps idle connections: the pool."""

    def put(self, connection: "UpstreamConnection") -> None:
        """Keep one for the next exchange."""

    def gone(self, connection: "UpstreamConnection") -> None:
        """Forget one that is lost."""


class Receiver(Protocol):
    """Who is told of an answer as it comes: the exchange that asked."""

    def response_informed(self, head: ResponseHead) -> None:
        """Take a 1xx that comes before the answer."""

    def response_received(self, head: ResponseHead | None, content: list[bytes], *, ended: bool) -> None:
        """Take what has come of the answer."""

    def response_failed(self, why: str, *, answered: bool) -> None:
        """Take note that no (more of an) answer comes; `answered` is whether any byte of one came."""

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Take a 101 and the first bytes of what follows."""

    def fault(self, error: Exception) -> None:
        """Take note of a fault of the gateway's own, and log it."""

    def upstream_paused(self) -> None:
        """Upstream takes no more content for now."""

    def upstream_resumed(self) -> None:
        """Upstream takes content again."""


class RawReceiver(Protocol):
    """Who takes raw bytes after a 101."""

    def from_upstream(self, data: bytes) -> None:
        """Take bytes."""

    def upstream_ended(self) -> None:
        """Take note that upstream sends no more."""

    def upstream_lost(self) -> None:
        """Take note that the connection is gone."""

    def upstream_paused(self) -> None:
        """Send no more for now."""

    def upstream_resumed(self) -> None:
        """Send again."""


class UpstreamConnection(asyncio.Protocol):
    """One HTTP/1.1 connection to a service, and the sink for a request's content."""

    def __init__(
        self, key: PoolKey, pool: "Keeper", outbox: Outbox, *, max_head: int, certificate: Secret | None = None
    ) -> None:
        self.key = key
        self.certificate = certificate  # what it has shown in TLS
        self.used = False  # it has carried an exchange before this one
        self.idle_since = 0.0
        self.wire: Wire | None = None
        self._pool, self._outbox = pool, outbox
        self._parts: list[bytes] = []  # of a request, until the end of the loop's turn
        self._reader = AnswerReader(max_head=max_head, informed=self._informed)
        self._receiver: Receiver | None = None
        self._raw: RawReceiver | None = None  # after a 101
        self._chunked = False
        self._unsent = False  # more of the request's content is to come
        self._asked = False  # some of the request has been sent
        self._answered = False  # some of an answer has come
        self._reusable = False  # the answer is complete, and another may follow it
        self._write_paused = self._read_paused = False

    # What an exchange asks of it.

    def ask(self, receiver: Receiver, *, method: str, head: bytes, cookies: bool) -> None:
        """Send a request's head."""
        self._receiver = receiver
        self._asked = self._answered = self._reusable = self._unsent = False
        self._reader.begin(method=method, cookies=cookies)
        self._write(head)

    def begin_content(self, *, chunked: bool) -> None:
        """Expect the request's content, which is sent in chunks where `chunked`."""
        self._chunked, self._unsent = chunked, True

    def write_content(self, data: bytes) -> None:
        """Send a piece of the request's content."""
        if self._receiver is not None:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end_content(self) -> None:
        """Close the request's content."""
        self._unsent = False
        if self._chunked and self._receiver is not None:
            self._write(_LAST_CHUNK)

    def flush(self) -> None:
        """Send what was written in this turn of the loop."""
        parts, self._parts = self._parts, []
        self._asked = True
        if parts and self.wire is not None and not self.wire.is_closing():
            send(self.wire, parts)

    def release(self) -> None:
        """End the exchange: back into the pool, or closed.

        Never back with a part of the request unsent: upstream would take the next one's head for it.
        """
        self._receiver = None
        wire = self.wire
        if wire is None or not self._reusable or self._unsent or self._parts or self._write_paused or wire.is_closing():
            self.close()
            return
        self.used = True
        self.resume_reading()  # a slow caller may have paused it with the answer's last piece
        self._pool.put(self)

    def close(self) -> None:
        """Close it, whatever it is doing."""
        self._receiver = None
        self._parts.clear()
        if self.wire is not None:
            self.wire.abort()

    def finish(self) -> None:
        """Close it when what was written has been sent, or after a while."""
        self.flush()
        if self.wire is not None and not self.wire.is_closing():
            self.wire.close()
            asyncio.get_running_loop().call_later(_FLUSH, self.close)

    def pause_reading(self) -> None:
        """Take no more of the answer for now."""
        self._read_paused = True
        if self.wire is not None:
            self.wire.pause_reading()

    def resume_reading(self) -> None:
        """Take more of the answer."""
        if self._read_paused and self.wire is not None and not self.wire.is_closing():
            self._read_paused = False
            self.wire.resume_reading()

    def tunnel_to(self, raw: RawReceiver) -> None:
        """Hand on raw bytes from now on, after a 101."""
        self.flush()
        self._raw, self._receiver = raw, None

    # What the transport tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or the TLS layer once its handshake is done."""
        self.wire = cast(Wire, transport)

    def data_received(self, data: bytes) -> None:
        """Parse an answer."""
        if self._raw is not None:
            self._raw.from_upstream(data)
            return
        receiver = self._receiver
        if receiver is None:
            self.close()  # an answer nobody asked for
            return
        if not self._asked:
            self._fail("it spoke before it was asked")  # the request has not left yet
            return
        self._answered = True
        try:
            self._read(data)
        except Exception as error:  # noqa: BLE001 - a fault of ours, which is logged
            self._fail("the gateway could not handle it")
            receiver.fault(error)

    def eof_received(self) -> bool:
        """Upstream has closed its side, cleanly."""
        if self._raw is not None:
            self._raw.upstream_ended()
            return True
        if self._receiver is not None and self._reader.feed_end():
            self._hand_on()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Handle the end of the connection: whoever still waits is told."""
        self._pool.gone(self)
        if self._raw is not None:
            self._raw.upstream_lost()
        elif self._receiver is not None:
            self._fail("it closed the connection" if self._answered else "it closed the connection without an answer")

    def pause_writing(self) -> None:
        """Pass back-pressure to whoever sends content."""
        self._write_paused = True
        if receiver := self._raw or self._receiver:
            receiver.upstream_paused()

    def resume_writing(self) -> None:
        """Pass it on that there is room again."""
        self._write_paused = False
        if receiver := self._raw or self._receiver:
            receiver.upstream_resumed()

    # Inside.

    def _read(self, data: bytes) -> None:
        try:
            early = self._reader.feed(data)
        except ResponseInvalid as invalid:
            self._hand_on()  # what came before the fault
            self._fail(str(invalid))
        else:
            if early is None:
                self._hand_on()
            else:
                self._switched(early)

    def _hand_on(self) -> None:
        """Tell the exchange all that came at once: nothing that came behind an answer may meet the next exchange."""
        receiver, (head, content, ended) = self._receiver, self._reader.take()
        if ended:
            self._reusable = self._reader.reusable
        if receiver is not None:
            receiver.response_received(head, content, ended=ended)

    def _informed(self, head: ResponseHead) -> None:
        if self._receiver is not None:
            self._receiver.response_informed(head)

    def _switched(self, early: bytes) -> None:
        head, receiver = self._reader.head, self._receiver
        if head is not None and receiver is not None:
            receiver.switched(head, early)

    def _fail(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            receiver.response_failed(why, answered=self._answered)

    def _write(self, data: bytes) -> None:
        if not self._parts:
            self._outbox.add(self)
        self._parts.append(data)
        if len(data) > LARGE:
            self.flush()
