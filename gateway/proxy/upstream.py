"""Upstream's side: one connection to a service.

A connection is used for one connection id and one origin only (http-rules.md 16), for one exchange at a time. Whatever
comes when no exchange waits for it ends the connection (14).
"""

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from gateway.http.fields import fields_size
from gateway.http.response import ResponseHead, ResponseInvalid, read_response_head
from gateway.http.target import Origin
from gateway.proxy.outbox import Outbox
from gateway.proxy.tls import Wire

if TYPE_CHECKING:
    from gateway.proxy.pool import Pool

_FLUSH = 10.0  # seconds that a service has to take the last of what was sent to it
_LAST_CHUNK = b"0\r\n\r\n"


PoolKey = tuple[str, Origin]
"""Whose connections may be shared: the same connection id's, to the same origin (http-rules.md 16)."""


class Receiver(Protocol):
    """Who is told of an answer as it comes: the exchange that asked."""

    def response_begun(self, head: ResponseHead) -> None:
        """Take the head, final or informational."""

    def response_content(self, data: bytes) -> None:
        """Take a piece of content."""

    def response_ended(self) -> None:
        """Take note that the answer is complete."""

    def response_failed(self, why: str, *, answered: bool) -> None:
        """Take note that no (more of an) answer comes; `answered` is whether any byte of one came."""

    def switched(self, head: ResponseHead, early: bytes) -> None:
        """Take a 101 and the first bytes of what follows."""

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

    def __init__(self, key: PoolKey, pool: "Pool", outbox: Outbox, *, max_head: int) -> None:
        self.key = key
        self.used = False  # it has carried an exchange before this one
        self.idle_since = 0.0
        self.wire: Wire | None = None
        self._pool, self._outbox = pool, outbox
        self._parts: list[bytes] = []  # of a request, until the end of the loop's turn
        self._max_head = max_head
        self._parser = httptools.HttpResponseParser(self)
        self._receiver: Receiver | None = None
        self._method = ""
        self._cookies = False
        self._chunked = False
        self._unsent = False  # more of the request's content is to come
        self._write_paused = False
        self._raw: RawReceiver | None = None  # after a 101
        self._asked = False  # some of the request has been sent
        self._answered = False  # some of an answer has come
        self._reusable = False
        self._reason = b""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._head: ResponseHead | None = None
        self._in_content = False
        self._keep_alive = False
        self._finished = False  # the answer is complete, and the bytes that brought its end are being parsed
        self._surplus = False
        self._head_bytes = 0
        self._fed = 0  # at least as much as any head that ends in what is being parsed

    # What an exchange asks of it.

    def ask(self, receiver: Receiver, *, method: str, head: bytes, content: bool, chunked: bool, cookies: bool) -> None:
        """Send a request's head. Where there is `content`, it follows by `write_content`, in chunks where `chunked`."""
        self._receiver, self._method, self._chunked, self._cookies = receiver, method, chunked, cookies
        self._asked, self._answered, self._unsent = False, False, content
        self._write(head)

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
            self.wire.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def release(self) -> None:
        """End the exchange: back into the pool, or closed.

        Never back with a part of the request unsent: upstream would take the next one's head for it.
        """
        self._receiver = None
        reusable = self._reusable and not (self._unsent or self._parts or self._write_paused)
        if reusable and self.wire is not None and not self.wire.is_closing():
            self.used = True
            self.wire.resume_reading()  # a slow caller may have paused it with the answer's last piece
            self._pool.put(self)
        else:
            self.close()

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
        if self.wire is not None:
            self.wire.pause_reading()

    def resume_reading(self) -> None:
        """Take more of the answer."""
        if self.wire is not None and not self.wire.is_closing():
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
        if self._receiver is None:
            self.close()  # an answer nobody asked for
            return
        if not self._asked:
            self._fail("it spoke before it was asked")  # the request has not left yet
            return
        self._answered = True
        self._head_bytes += len(data)
        self._fed = self._head_bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._finished:
                self._broken(error)
                return
            self._surplus = True
        if self._finished:
            self._complete()
        elif self._head_bytes > self._max_head:
            self._fail("its header fields are over the limit")

    def eof_received(self) -> bool:
        """Upstream has closed its side, cleanly."""
        if self._raw is not None:
            self._raw.upstream_ended()
            return True
        if (
            self._receiver is not None
            and self._in_content
            and self._head is not None
            and self._head.ends_with_connection
        ):
            self._complete()
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

    # What the parser tells it.

    def on_status(self, status: bytes) -> None:
        """Gather the reason phrase."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather a field; trailers are dropped."""
        if not self._in_content:
            self._names.append(name)
            self._values.append(value)

    def on_headers_complete(self) -> None:
        """Read the head and hand it on."""
        parser = self._parser
        receiver = self._receiver
        if receiver is None or self._finished:
            return
        if self._fed > self._max_head and fields_size(self._names, self._values) > self._max_head:
            raise ResponseInvalid("its header fields are over the limit")
        self._head_bytes = 0
        head = read_response_head(
            status=parser.get_status_code(),
            reason=self._reason,
            version=parser.get_http_version(),
            names=self._names,
            values=self._values,
            method=self._method,
            cookies=self._cookies,
        )
        self._head, self._in_content = head, True
        if head.status == 101:  # noqa: PLR2004 - told to the receiver when the parser stops behind it
            return
        if not head.informational:
            self._keep_alive = parser.should_keep_alive() and not head.ends_with_connection
        receiver.response_begun(head)
        if self._method == "HEAD" and not head.informational:
            self._parser = httptools.HttpResponseParser(
                self
            )  # llhttp would wait for the content that HEAD doesn't have
            self._finished = True

    def on_body(self, body: bytes) -> None:
        """Hand on content."""
        self._head_bytes = 0  # counted again from here: trailers have a limit too
        if self._finished or self._head is None or self._head.content_length == 0:
            self._surplus = True
        elif self._receiver is not None:
            self._receiver.response_content(body)

    def on_message_complete(self) -> None:
        """Take note of the end of an answer, or only of its informational beginning."""
        head = self._head
        if head is None or head.status == 101:  # noqa: PLR2004 - as above
            return
        if head.informational:
            self._begin_message()
        else:
            self._finished = True

    def on_message_begin(self) -> None:
        """See to it that bytes behind an answer end the connection (http-rules.md 14)."""
        self._surplus = self._finished

    # Inside.

    def _begin_message(self) -> None:
        self._reason, self._names, self._values, self._head = b"", [], [], None
        self._in_content = False
        self._keep_alive = False
        self._finished = self._surplus = False
        self._head_bytes = 0

    def _complete(self) -> None:
        """End an answer, once all bytes that came with it are parsed: a surplus must not meet the next exchange."""
        self._reusable = self._keep_alive and not self._surplus
        receiver = self._receiver
        self._begin_message()
        if receiver is not None:
            receiver.response_ended()

    def _switch(self, early: bytes) -> None:
        head, receiver = self._head, self._receiver
        if head is None or receiver is None or head.status != 101:  # noqa: PLR2004
            self._fail("it switched protocols unasked")
            return
        receiver.switched(head, early)

    def _broken(self, error: httptools.HttpParserError) -> None:
        if not isinstance(error, httptools.HttpParserCallbackError):
            self._fail("it is malformed")
        elif isinstance(error.__context__, ResponseInvalid):
            self._fail(str(error.__context__))
        else:
            self._fail("the gateway could not handle it")
            raise error  # a fault of ours: the loop's handler logs it

    def _fail(self, why: str) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            receiver.response_failed(why, answered=self._answered)

    def _write(self, data: bytes) -> None:
        if not self._parts:
            self._outbox.add(self)
        self._parts.append(data)
