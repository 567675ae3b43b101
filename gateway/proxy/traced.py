"""The pipeline where somebody follows traces: the same steps, each of them told.

A trace begins once the caller is known, so that no stranger makes work for whoever gathers them. What is told holds no
query string, field or body; names are of few kinds, whatever is asked for.
"""

from typing import TYPE_CHECKING

from gateway.http.request import RequestHead
from gateway.http.response import ResponseHead
from gateway.http.trace_context import TRACEPARENT, TRACESTATE, is_tracestate, read_traceparent
from gateway.proxy.access_log import shown_path
from gateway.proxy.content import Content
from gateway.proxy.entrances import Route
from gateway.proxy.exchange import Exchange
from gateway.proxy.services import Services
from gateway.proxy.tracing import Attributes, Trace
from gateway.proxy.upstream import PoolKey, UpstreamConnection
from gateway.vault import Live

if TYPE_CHECKING:
    from gateway.proxy.caller import CallerConnection

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SERVER_ERROR = 500


class TracedExchange(Exchange):
    """One request and its answer, followed."""

    _trace: Trace | None = None
    _sends = 0  # of which `_tries` counts those that the policy asks for

    def __init__(
        self, services: Services, caller: "CallerConnection", route: Route, head: RequestHead, content: Content | None
    ) -> None:
        value = head.traceparent
        self._parent = read_traceparent(value) if value is not None else None
        self._state = head.tracestate if self._parent is not None else b""
        drop = route.drop | {TRACEPARENT}
        if not self._state or not is_tracestate(self._state):  # §4.3: what can't be read isn't passed on
            self._state, drop = b"", drop | {TRACESTATE}
        followed = Route(route.entrance, route.tag, route.target, route.relative, drop)
        super().__init__(services, caller, followed, head, content)

    def _admitted(self) -> None:
        tracer = self._services.tracer
        if tracer is not None:
            told: Attributes = {
                "http.request.method": _method(self.head.method),
                "network.protocol.version": self.head.version,
                "gateway.request_id": self.request_id,
                "gateway.entrance": self._route.entrance,
                "gateway.connection": self._route.tag.connection_id,
                "gateway.client": self._client,
            }
            age = self._services.time() - self.began
            name = _method(self.head.method)
            self._trace = tracer.begin(self._parent, self._state, name=name, attributes=told, age=age)
        super()._admitted()

    def _is_allowed(self, live: Live) -> bool:
        allowed = super()._is_allowed(live)
        if allowed and self._trace is not None:
            self._trace.event("gateway.decided", {"gateway.app": live.app})
        return allowed

    # What it waits for.

    async def _load(self) -> None:
        if self._trace is None:
            return await super()._load()
        with self._trace.step("load connection"):
            return await super()._load()

    async def _freshen(self, live: Live) -> None:
        if self._trace is None:
            return await super()._freshen(live)
        with self._trace.step("renew token"):
            return await super()._freshen(live)

    async def _refresh_and_replay(self, live: Live) -> None:
        if self._trace is None:
            return await super()._refresh_and_replay(live)
        with self._trace.step("renew token"):
            return await super()._refresh_and_replay(live)

    async def _dial(self, key: PoolKey) -> None:
        if self._trace is None:
            return await super()._dial(key)
        with self._trace.step("connect"):
            return await super()._dial(key)

    # Upstream's side.

    def _send_on(self, connection: UpstreamConnection) -> None:
        trace, live, target = self._trace, self._live, self._target
        if trace is not None and live is not None and target is not None and live.injection is not None:
            origin = target.origin
            told: dict[str, str | int] = {
                "http.request.method": _method(self.head.method),
                "url.full": origin.serialized + shown_path(target.path),
                "server.address": origin.host,
                "server.port": origin.port,
                "network.protocol.version": "1.1",
            }
            if self._sends:
                told["http.request.resend_count"] = self._sends
            self._sends += 1
            line = b"traceparent: %b\r\n" % trace.sent(_method(self.head.method), told)
            self._added = b"" if TRACEPARENT in live.injection.header_names else line
        super()._send_on(connection)

    def _response_begun(self, head: ResponseHead) -> None:
        if self._trace is not None:
            self._trace.answered(head.status)
        super()._response_begun(head)

    def _see_to_token(self, head: ResponseHead, live: Live) -> None:
        if self._trace is not None:
            self._trace.received(error="")
        super()._see_to_token(head, live)

    def response_failed(self, why: str, *, answered: bool) -> None:
        """Handle an upstream that is gone before its answer was complete."""
        if self._trace is not None:
            self._trace.received(error="upstream_protocol")
        super().response_failed(why, answered=answered)

    def _trace_id(self) -> str:
        return self._trace.trace_id if self._trace is not None else super()._trace_id()

    def _log(self, status: int, code: str) -> None:
        trace, live, target = self._trace, self._live, self._target
        if trace is not None:
            told: dict[str, str | int] = {"http.response.status_code": status}
            name = _method(self.head.method)
            if live is not None:
                told["gateway.app"] = live.app
                name += f" {live.app}"
            if target is not None:
                told["url.scheme"], told["server.address"] = target.origin.scheme, target.origin.host
                told["server.port"], told["url.path"] = target.origin.port, shown_path(target.path)
            failed = status >= _SERVER_ERROR or (code != "" and status < 400)  # noqa: PLR2004 - an answer cut off
            trace.ended(told, name=name, error=(code or str(status)) if failed else "")
        super()._log(status, code)


def _method(method: str) -> str:
    """Return a method as spans may be called: a caller can make up as many as it likes."""
    return method if method in _METHODS else "_OTHER"
