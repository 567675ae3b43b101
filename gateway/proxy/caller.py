"""The caller's side: one connection, cut into requests, each answered in its turn.

The same class reads a plain connection to the proxy port and the inside of a tunnel, with or without TLS: what is below
is a `Wire`, and `tunnel` says what a CONNECT has settled.
"""

import asyncio
import contextlib
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import httptools

from gateway.errors import Refusal
from gateway.http.fields import Fields, fields_size
from gateway.http.request import RequestHead, RequestRejected, read_request_head
from gateway.http.upgrade import may_be_offered
from gateway.proxy.admission import Admission
from gateway.proxy.answers import refusal_bytes
from gateway.proxy.content import Content
from gateway.proxy.entrances import ABSOLUTE, CONNECT, Tunnel, route_request
from gateway.proxy.exchange import Exchange
from gateway.proxy.outbox import LARGE, send
from gateway.proxy.traced import TracedExchange
from gateway.proxy.tunnel import PARTING, Joined, open_tunnel
from gateway.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway.proxy.server import Listener
    from gateway.proxy.tls import Wire

_RESET = struct.pack("ii", 1, 0)  # linger for no time: close(2) resets
_LINGER = 2.0  # seconds that a caller may go on sending what nobody reads, so that it sees the answer and no reset
_PREPARING = 120.0  # seconds for all that comes before a request is sent: a load, a refresh, a new connection
_LEFT: int = getattr(select, "POLLRDHUP", 0)  # Linux's; elsewhere only who is gone both ways is seen at once
_MAX_WAITING = 64  # pipelined requests that wait their turn


class CallerConnection(asyncio.Protocol):
    """One connection from a caller, or the inside of one tunnel."""

    admission: Admission

    def __init__(self, listener: "Listener", *, tunnel: Tunnel | None = None, secure: bool = False) -> None:
        self.services = listener.services
        self.tunnel = tunnel
        self.deadline = 0.0  # monotonic seconds; 0 is none
        self._listener = listener
        self._outbox = listener.outbox
        self._time = listener.services.time
        self._limits = listener.services.settings.limits
        self._timeouts = listener.services.settings.timeouts
        self._inside = tunnel.inside(secure=secure) if tunnel is not None else None
        self._wire: Wire | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._fields: Fields = []
        self._add_field: Callable[[tuple[bytes, bytes]], None] = self._fields.append
        self._header_bytes = 0
        self._fed = 0  # at least as much as any head that ends in what is being parsed
        self._head: RequestHead | None = None
        self._content: Content | None = None
        self._exchange: Exchange | None = None
        self._waiting: deque[tuple[RequestHead, Content | None]] = deque()
        self._fault: Refusal | None = None  # the stream can't be read any further
        self._joined: Joined | None = None  # after a 101
        self._early: list[bytes] | None = None  # what came behind an offered Upgrade, for upstream if it accepts
        self._closing = False
        self._parts: list[bytes] = []  # of an answer, until the end of the loop's turn
        self._halted = False  # nothing that comes is looked at any more
        self.write_paused = False  # the caller reads too slowly
        self._read_paused = False

    # What the transport tells it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, or the TLS layer once its handshake is done."""
        self._wire = cast("Wire", transport)
        peer = transport.get_extra_info("peername")
        self.admission = Admission(self.services, address=_address(peer), is_loopback=_is_loopback(peer))
        self.deadline = self.services.time() + self._timeouts.request_header
        if not self._listener.joined(self):
            self._halt(Refusal(code="overloaded", detail="Too many connections are open.", retry_after=5))

    def data_received(self, data: bytes) -> None:
        """Parse requests out of what came."""
        if self._joined is not None:
            self._joined.from_caller(data)
            return
        if self._halted:
            return
        if self._early is not None:
            self._early.append(data)
            return
        self._header_bytes += len(data)
        self._fed = self._header_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._stopped(data, error)
        if self._header_bytes > self._limits.header_bytes and not self._halted:
            self._halt(_headers_too_large(f"over {self._limits.header_bytes} bytes"))

    def eof_received(self) -> bool:
        """Handle a caller that closed its side. Inside a joined tunnel the other half stays open."""
        if self._joined is not None:
            self._joined.caller_ended()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Handle a caller that is gone: what was under way for it ends."""
        self._halted = True
        self._listener.left(self)
        if self.tunnel is not None:
            self._listener.tunnel_closed()
        self._waiting.clear()
        if self._joined is not None:
            self._joined.caller_lost()
        if self._exchange is not None:
            self._exchange.caller_gone()

    def pause_writing(self) -> None:
        """Let upstream wait: the caller reads too slowly."""
        self.write_paused = True
        if self._joined is not None:
            self._joined.caller_paused()
        elif self._exchange is not None:
            self._exchange.caller_paused()

    def resume_writing(self) -> None:
        """Let upstream go on."""
        self.write_paused = False
        if self._joined is not None:
            self._joined.caller_resumed()
        elif self._exchange is not None:
            self._exchange.caller_resumed()
        elif self._waiting and not self._closing:
            self._next()
        elif self._listener.draining:
            self.drain()

    # What the parser tells it.

    def on_url(self, url: bytes) -> None:
        """Gather the target."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather a field."""
        self._add_field((name, value))

    def on_headers_complete(self) -> None:
        """Read the head and begin an exchange, or let it wait its turn."""
        fields, self._add_field = self._fields, _drop  # trailers are dropped
        if self._halted:
            return
        self._header_bytes = 0
        limits = self._limits
        if (self._fed > limits.header_bytes or len(fields) > limits.header_count) and (
            refusal := self._over_limits(fields)
        ):
            self._halt(refusal)
            return
        parser = self._parser
        try:
            head = read_request_head(
                method=parser.get_method().decode("ascii"),
                raw_target=self._url,
                version=parser.get_http_version(),
                keep_alive=parser.should_keep_alive(),
                fields=fields,
            )
        except RequestRejected as error:
            self._halt(Refusal(code="request_rejected", detail=str(error)))
            return
        if head.content_length != 0 and head.method != "CONNECT" and parser.should_upgrade():
            self._halt(_upgrade_with_content())
            return
        self._head = head
        if head.content_length != 0:
            self._content = Content(
                keep=self._limits.replay_bytes, pause=self.pause_reading, resume=self.resume_reading
            )
        if self._exchange is not None or self._waiting or self.write_paused:
            self._queue(head)
        elif self.tunnel is not None and head.method == "CONNECT":
            self._halt(Refusal(code="request_rejected", detail="There is no tunnel inside a tunnel."))
        else:
            self._begin(head, self._content)

    def on_body(self, body: bytes) -> None:
        """Hand on content."""
        self._header_bytes = 0  # counted again from here: trailers have a limit too
        if self._content is not None and not self._halted:
            self._content.feed(body)
            self._extend(self._timeouts.idle)

    def on_message_complete(self) -> None:
        """Take note that a request is complete."""
        self._header_bytes = 0
        self._url, self._fields = b"", []
        self._add_field = self._fields.append
        if self._content is None:
            return
        content, self._content = self._content, None
        if not self._halted:
            content.end()
            self.awaiting_answer()

    # What an exchange asks of it.

    def write(self, data: bytes) -> None:
        """Send bytes to the caller, if it is still there."""
        self.flush()
        if data and self.is_open and self._wire is not None:
            self._wire.write(data)

    def relay(self, parts: list[bytes], size: int) -> None:
        """Send parts of an answer, together with whatever else comes in this turn of the loop. `size` is theirs."""
        if not self._parts:
            self._outbox.add(self)
        self._parts += parts
        self._extend(self._timeouts.idle)
        if size > LARGE:
            self.flush()

    def flush(self) -> None:
        """Send what was relayed."""
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        if self._wire is not None and not self._wire.is_closing():
            send(self._wire, parts)

    def preparing(self) -> None:
        """Start the time again that an exchange has before its request is sent."""
        self._extend(_PREPARING)

    def awaiting_answer(self) -> None:
        """Start the time that upstream has for its answer's head; while content is to come, the caller's."""
        exchange = self._exchange
        if exchange is not None:
            self._extend(self._timeouts.response_header if exchange.whole else self._timeouts.idle)

    def refuse(self, refusal: Refusal, request_id: str, *, head: RequestHead | None, keep_alive: bool) -> None:
        """Answer with a problem of the gateway's own. `keep_alive` only where all of the request is here."""
        keep = keep_alive and head is not None and self.keeps_alive(head)
        is_head = head.method == "HEAD" if head is not None else self._is_reading_head()
        self.write(refusal_bytes(refusal, request_id=request_id, keep_alive=keep, with_content=not is_head))
        if not keep:
            self._closing = True

    def exchange_ended(self, *, keep_alive: bool) -> None:
        """Go on to the next request, or close. Draining, too: an answer that didn't say that it is the last isn't."""
        exchange, self._exchange = self._exchange, None
        if keep_alive and not self._closing:
            self._next()
            if self._listener.draining:
                self.drain()
        else:
            # Who offered an Upgrade may have sent more behind it, as who still sends content or has pipelined has.
            more = bool(self._waiting) or (
                exchange is not None and (not exchange.whole or exchange.head.upgrade is not None)
            )
            self._close(linger=more)

    def keeps_alive(self, head: RequestHead) -> bool:
        """Whether the connection may be used again after this request."""
        return head.keep_alive and not self._closing and not self._listener.draining

    def upgrade_offered(self, head: RequestHead) -> bool:
        """Whether the caller asks for a protocol that we tunnel: none that would hide HTTP requests from us."""
        upgrade = head.upgrade
        return (
            upgrade is not None and head.version == "1.1" and b"upgrade" in head.nominated and may_be_offered(upgrade)
        )

    def join(self, upstream: UpstreamConnection, early: bytes, exchange: Exchange) -> None:
        """Turn both sides into one pipe, after a 101."""
        self.deadline = 0.0
        self._exchange = None
        self._joined = joined = Joined(self, upstream, exchange, self.services)
        for piece in self._early or ():
            joined.from_caller(piece)
        joined.from_upstream(early)
        self.resume_reading()
        if self._listener.draining:
            self.drain()

    def end_output(self) -> None:
        """Say that no more comes; reading goes on."""
        self.flush()
        if self._wire is not None:
            self._wire.write_eof()

    def abort(self) -> None:
        """Cut the connection with a reset, so that no caller can take what it has for a whole answer."""
        self._halted = True
        self.flush()
        if self._wire is not None:
            with contextlib.suppress(OSError, AttributeError):  # it may be closed already
                self._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._wire.abort()

    def close(self) -> None:
        """Close politely."""
        self._close(linger=False)

    def pause_reading(self) -> None:
        """Take no more from the caller for now."""
        self._read_paused = True
        if self._wire is not None and not self._wire.is_closing():
            self._wire.pause_reading()

    def resume_reading(self) -> None:
        """Take more from the caller."""
        if self._early is not None and self._joined is None:
            return  # what comes behind an offered Upgrade waits for the answer, whatever upstream has room for
        if self._read_paused and not self._halted and self._wire is not None and not self._wire.is_closing():
            self._read_paused = False
            self._wire.resume_reading()

    # What the listener asks of it.

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if self._joined is not None:
            self._joined.sweep()
        elif self._exchange is not None and not self._exchange.permitted():
            self._exchange.withdraw()
            return
        elif self._read_paused and self._exchange is not None and _has_left(self._wire):
            self.abort()  # nothing is read now, so the transport can't have told us
            return
        if not self.deadline or now < self.deadline:
            return
        self.deadline = 0.0
        if self._exchange is not None:
            self._exchange.reject(self._overdue())
        elif self._halted or self.write_paused:
            self.abort()
        elif not self._header_bytes:
            self.close()
        else:
            detail = "The request's head did not arrive in time."
            self._halt(Refusal(code="request_timeout", detail=detail))

    def drain(self) -> None:
        """Close after the exchange that runs. Where none does, after some silence: most often there was enough of it.

        A request may be on its way, on a connection that is new or in use; its answer says that it is the last one.
        """
        if self._joined is not None:
            self.close()  # it has no end of its own
        elif self._is_idle():
            patience = self._timeouts.request_header if self._head is None else self._timeouts.idle
            self.deadline = min(self.deadline, self.deadline - patience + PARTING)

    # Inside.

    def _is_idle(self) -> bool:
        """Whether nothing is under way: no request, no part of one, no answer that is still being taken."""
        under_way = self._exchange is not None or self._waiting or self._header_bytes
        return not (under_way or self.write_paused or self._halted)

    def _begin(self, head: RequestHead, content: Content | None) -> None:
        if head.method == "CONNECT":
            self._halted = True  # http-rules.md 2: what is behind it is read by the tunnel, or by nobody
            return
        route = route_request(head, self._inside, self.admission.tag)
        if isinstance(route, Refusal):
            whole = content is None or content.complete
            self._refuse_early(route, head=head, keep_alive=whole and head.upgrade is None)
            if self._closing:
                self._close(linger=True)
            else:
                self._next()
            return
        if self.services.tracer is None:
            exchange = Exchange(self.services, self, route, head, content)
        else:
            exchange = TracedExchange(self.services, self, route, head, content)
        self._exchange = exchange
        self.deadline = exchange.began + _PREPARING
        exchange.start()

    def _next(self) -> None:
        """Go on: with the request that has waited longest, with the fault behind them all, or reading."""
        self._extend(self._timeouts.idle)
        if self._waiting:
            if self.write_paused:
                return  # the caller reads its answers too slowly for more of them
            head, content = self._waiting.popleft()
            if not self._waiting and self._early is None:
                self.resume_reading()  # to see a caller that leaves, too
            self._begin(head, content)
        elif self._fault is not None:
            self._answer_fault(self._fault)
        else:
            self.resume_reading()

    def _behind_upgrade(self, rest: bytes) -> bytes:
        """Go on where llhttp stops: behind a CONNECT and any Upgrade. Return what is to be parsed as requests."""
        head = self._head
        if head is None or self._closing or self._fault is not None:
            return b""
        if head.method == "CONNECT":
            self.pause_reading()
            open_tunnel(self._listener, self, head, rest)
            return b""
        if self.upgrade_offered(head):
            self.pause_reading()
            self._early = [rest] if rest else []
            return b""
        self._parser = httptools.HttpRequestParser(self)
        return rest

    def connect_refused(self, refusal: Refusal) -> None:
        """Answer a CONNECT with no, and read nothing more."""
        self._refuse_early(refusal, head=None, keep_alive=False, entrance=CONNECT)
        self._close(linger=True)

    @property
    def is_open(self) -> bool:
        """Whether there is a wire that isn't closing."""
        return self._wire is not None and not self._wire.is_closing()

    def handed_over(self) -> "Wire":
        """Give the wire to what reads the inside of the tunnel."""
        self.flush()
        self._listener.left(self)
        if self._wire is None:
            raise RuntimeError("handed over before the connection was made")
        return self._wire

    def _queue(self, head: RequestHead) -> None:
        """http-rules.md 10: an early next request waits its turn, and the caller with it."""
        self.pause_reading()
        if head.method == "CONNECT":
            self._halt(Refusal(code="request_rejected", detail="A CONNECT can't wait behind another request."))
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._content = None
            self._halt(Refusal(code="overloaded", detail="Too many requests are pipelined.", retry_after=1))
            return
        self._waiting.append((head, self._content))

    def _over_limits(self, fields: Fields) -> Refusal | None:
        limit = self._limits.header_bytes
        if self._fed > limit and len(self._url) + fields_size(fields) > limit:
            return _headers_too_large(f"over {limit} bytes")
        if len(fields) > self._limits.header_count:
            return _headers_too_large(f"more than {self._limits.header_count}")
        return None

    def _stopped(self, data: bytes, error: Exception) -> None:
        """Go on where llhttp stops: behind a CONNECT or an Upgrade, or not at all."""
        while isinstance(error, httptools.HttpParserUpgrade):
            data = self._behind_upgrade(data[error.args[0] :])
            if not data or self._halted:
                return
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserUpgrade, httptools.HttpParserError) as another:
                error = another
            else:
                return
        self._unreadable(error)

    def _unreadable(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            exchange = self._exchange
            self.abort()
            if exchange is None:
                raise error  # a fault of ours: the loop's handler logs it
            exchange.fault(error)
        if not self._halted and not self._closing:
            self._halt(Refusal(code="request_rejected", detail=f"The request is malformed: {error}."))

    def _halt(self, refusal: Refusal) -> None:
        """Read nothing more: answer at once, or when the requests before have been answered."""
        self._halted, self._fault = True, refusal
        content, self._content = self._content, None
        if content is not None and self._waiting:
            self._waiting.pop()  # the fault is in its content: it never goes out
        elif content is not None and self._exchange is not None:
            self._exchange.reject(refusal)
            return
        if self._exchange is None and not self._waiting:
            self._answer_fault(refusal)

    def _answer_fault(self, refusal: Refusal) -> None:
        self._refuse_early(refusal, head=None, keep_alive=False)
        self._close(linger=True)

    def _refuse_early(
        self, refusal: Refusal, *, head: RequestHead | None, keep_alive: bool, entrance: str = ABSOLUTE
    ) -> None:
        """Refuse what never became an exchange."""
        request_id = self.services.request_id()
        self.refuse(refusal, request_id, head=head, keep_alive=keep_alive)
        entrance = CONNECT if self.tunnel is not None else entrance
        self._listener.refused(refusal, request_id, entrance, self.admission)

    def _is_reading_head(self) -> bool:
        """Whether the request that can't be read any further is a HEAD: its answer has no content either."""
        return bool(self._url) and self._parser.get_method() == b"HEAD"

    def _overdue(self) -> Refusal:
        exchange = self._exchange
        if exchange is not None and not exchange.whole:
            return Refusal(code="request_timeout", detail="The request's content did not arrive in time.")
        return Refusal(code="upstream_timeout", detail="The target did not answer in time.")

    def _extend(self, seconds: float) -> None:
        self.deadline = self._time() + seconds

    def _close(self, *, linger: bool) -> None:
        """Close; with `linger`, first let the caller finish sending, so that a reset can't overtake the answer."""
        self._closing = self._halted = True
        self.flush()
        if self._wire is None or self._wire.is_closing():
            return
        self._extend(_LINGER if linger and not self.write_paused else self._timeouts.idle)  # then it is cut
        if linger:
            self._wire.resume_reading()
            self._wire.write_eof()
        else:
            self._wire.close()


def _drop(_field: tuple[bytes, bytes]) -> None:
    """Take no note of a trailer."""


def _address(peer: object) -> str:
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def _has_left(wire: "Wire | None") -> bool:
    """Whether the other side has closed its end of the socket, which may stand behind bytes that are still unread."""
    if wire is None:
        return False
    ends = select.poll()
    try:
        ends.register(wire.get_extra_info("socket"), _LEFT)
        return bool(ends.poll(0))
    except (OSError, ValueError):  # it is closed on our side already
        return False


def _is_loopback(peer: object) -> bool:
    return isinstance(peer, tuple) and bool(peer) and ip_address(peer[0].partition("%")[0]).is_loopback


def _upgrade_with_content() -> Refusal:
    """Refuse it: llhttp ends it at its head, and the service would take the next request for its content."""
    detail = "A request that offers an Upgrade has no content here."
    return Refusal(code="request_rejected", detail=detail, hint="Send it without Upgrade; HTTP/1.1 is spoken here.")


def _headers_too_large(how: str) -> Refusal:
    hint = "limits.header_bytes and limits.header_count in the configuration set this."
    return Refusal(code="headers_too_large", detail=f"The header fields are {how}.", hint=hint)
