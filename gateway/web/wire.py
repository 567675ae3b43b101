"""One connection of the web listener: aiohttp reads it, and says in our words what it can't read, within our bounds.

Nothing lasts for ever: not a head that trickles in, not a caller that takes no answer; content is bounded where it is
read (`admin.answers.read_content`). What is malformed is answered like everything else, and none of it is repeated or
logged: it may hold a token.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, cast

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.errors import Refusal
from gateway.web.headers import put_headers
from gateway.web.readiness import Readiness

log = structlog.get_logger("gateway.web")

LINE = 16_384
"""Bytes of the longest request line or header field taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much, and how long in seconds.

    `idle` is for a head to come, from the answer before it or the beginning of the connection on: longer than the 60
    that reverse proxies keep a connection. `content` is for all of a request's content. `stalled` is for an answer that
    the caller doesn't take. `lingering` is for content that nobody reads, so that its sender sees the answer.

    `streams` may be open at once, and `streams_each` of one session: browsers have six connections to a host, and the
    pages need some. The log is looked at every `look` seconds for them, whether their session was signed out at another
    server every `session_check`; one that has nothing to say says so after `heartbeat`.
    """

    connections: int = 1_000
    idle: float = 75.0
    content: float = 30.0
    stalled: float = 30.0
    lingering: float = 2.0
    streams: int = 50
    streams_each: int = 4
    look: float = 1.0
    session_check: float = 5.0
    heartbeat: float = 15.0


BOUNDS = web.AppKey("bounds", Bounds)


class Room:
    """Places: for connections, or whatever else there may be so many of."""

    def __init__(self, places: int) -> None:
        self.left = places


class Connection(web.RequestHandler):
    """aiohttp's protocol with our bounds and our errors."""

    __slots__ = ("_bounds", "_has_place", "_readiness", "_room", "_secure", "_stalled", "_wire")

    def __init__(
        self, manager: web.Server, room: Room, bounds: Bounds, *, readiness: Readiness | None = None, secure: bool
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=cast(Any, None),  # paths hold one-time tokens; what matters is in the audit trail
            auto_decompress=False,  # nobody compresses what is sent here, and a false claim would fill the log
            max_line_size=LINE,
            max_field_size=LINE,
            keepalive_timeout=bounds.idle,
            lingering_time=bounds.lingering,
        )
        self._room, self._bounds, self._secure = room, bounds, secure
        self._readiness = readiness or Readiness()
        self._has_place = False
        self._wire: asyncio.Transport | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place; where there is none, say so and close."""
        self._wire = wire = cast(asyncio.Transport, transport)
        if self._room.left <= 0:
            refusal = Refusal(code="overloaded", detail="Too many connections are open.", retry_after=5)
            wire.write(_bytes_of(self._answer(refusal)))
            wire.close()
            return
        self._room.left -= 1
        self._has_place = True
        wire.set_write_buffer_limits(high=0)  # whatever isn't taken at once starts the clock
        self._readiness.came(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read on; it has spoken."""
        self._readiness.spoke(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        if self._has_place:
            self._has_place = False
            self._room.left += 1
        self._no_longer_stalled()
        self._readiness.spoke(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the time in which the caller has to take what it asked for."""
        super().pause_writing()
        if self._wire is not None and self._stalled is None:
            self._stalled = asyncio.get_running_loop().call_later(self._bounds.stalled, self._wire.abort)

    def resume_writing(self) -> None:
        """Stop that time: all was taken."""
        super().resume_writing()
        self._no_longer_stalled()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words, with the faulty line in them
    ) -> web.StreamResponse:
        """Answer what aiohttp can't read, or a fault of ours outside every handler."""
        if request.writer.output_size > 0:
            raise ConnectionError("An answer has begun already: the connection ends with it.")
        if isinstance(exc, LineTooLong):
            detail = f"The request line or a header field is over {LINE} bytes."
            refusal = Refusal(code="headers_too_large", detail=detail)
        elif status < 500:  # noqa: PLR2004 - the caller's fault
            refusal = Refusal(code="request_rejected", detail="The request is not valid HTTP/1.1.")
        else:
            refusal = Refusal(code="internal", detail="Something went wrong inside the gateway.")
        request_id = secrets.token_hex(8)
        if refusal.code == "internal":
            log.error("web.fault", request_id=request_id, exc_info=exc)
        return self._answer(refusal, request_id)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer. A refusal of aiohttp's own, from before every handler, says what it refuses in our words."""
        if isinstance(resp, web.HTTPException):
            detail = "The request can't be met as it is; its Expect field is no 100-continue."
            resp = self._answer(Refusal(code="request_rejected", status=resp.status, detail=detail))
        return await super().finish_response(request, resp, start_time)

    def _answer(self, refusal: Refusal, request_id: str = "") -> web.Response:
        request_id = request_id or secrets.token_hex(8)
        response = web.Response(
            body=orjson.dumps(refusal.problem(request_id)),
            status=refusal.status,
            content_type="application/problem+json",
        )
        put_headers(response, secure=self._secure)
        response.headers["X-Request-Id"] = request_id
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = str(refusal.retry_after)
        response.force_close()
        return response

    def _no_longer_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


def _bytes_of(response: web.Response) -> bytes:
    """Return an answer to nobody's request in particular, for a connection that is not read."""
    content = cast(bytes, response.body)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in response.headers.items() if name != "Content-Length"]
    return "\r\n".join([*lines, "", ""]).encode() + content
