"""Tunnels: what happens behind a CONNECT's 200, and behind a 101.

Behind a 200 the first byte decides: 0x16 begins a TLS handshake (RFC 8446 §5.1), which the gateway answers with a leaf
of its own; anything else is read as plain HTTP. Behind a 101 both sides are joined and bytes pass as they come.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from gateway.errors import GatewayError, Refusal
from gateway.http.request import RequestHead
from gateway.http.target import TargetInvalid, parse_authority
from gateway.policy.match import Denied
from gateway.proxy.admission import not_permitted
from gateway.proxy.answers import TUNNEL_OPEN
from gateway.proxy.entrances import CONNECT, Tunnel, proxy_tag
from gateway.proxy.services import Services
from gateway.proxy.tls import TlsLayer, Wire
from gateway.proxy.upstream import UpstreamConnection
from gateway.vault import Live

if TYPE_CHECKING:
    from gateway.proxy.caller import CallerConnection
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.server import Listener

PARTING = 1.0
"""Seconds of silence after which a connection that drains is closed: until then a request may be on its way."""
_TLS_HANDSHAKE = 0x16


def open_tunnel(listener: "Listener", caller: "CallerConnection", head: RequestHead, early: bytes) -> None:
    """Decide on a CONNECT. `early` is what came behind it; it is read only if the tunnel opens."""
    tunnel = _read_connect(listener.services, caller, head)
    if isinstance(tunnel, Refusal):
        caller.connect_refused(tunnel)
        return
    live = listener.services.vault.peek(tunnel.tag.connection_id)
    if live is not None:
        _decide(listener, caller, tunnel, live, early)
    else:
        listener.spawn(_load_and_decide(listener, caller, tunnel, early))


def _read_connect(services: Services, caller: "CallerConnection", head: RequestHead) -> Tunnel | Refusal:
    if head.content_length != 0:
        return Refusal(code="request_rejected", detail="A CONNECT has no content (RFC 9110 §9.3.6).")
    if head.via and services.via_name in head.via:
        return Refusal(code="loop_detected", detail="The request has come through this gateway before.")
    tag = proxy_tag(head)
    if isinstance(tag, Refusal):
        return tag
    client = caller.admission.admit(tag, CONNECT)
    if isinstance(client, Refusal):
        return client
    try:
        host, port = parse_authority(head.raw_target.decode("latin-1"))
    except TargetInvalid as reason:
        return Refusal(code="target_invalid", detail=f"The target can't be used: {reason}.")
    return Tunnel(host=host, port=port, tag=tag)


async def _load_and_decide(listener: "Listener", caller: "CallerConnection", tunnel: Tunnel, early: bytes) -> None:
    try:
        live = await listener.services.vault.live(tunnel.tag.connection_id)
    except GatewayError as error:
        caller.connect_refused(error.refusal)
        return
    if live is None:
        caller.connect_refused(not_permitted(tunnel.tag))
    else:
        _decide(listener, caller, tunnel, live, early)


def _decide(listener: "Listener", caller: "CallerConnection", tunnel: Tunnel, live: Live, early: bytes) -> None:
    decision = live.matcher.decide_connect(tunnel.host, tunnel.port)
    if isinstance(decision, Denied):
        caller.connect_refused(Refusal(code="target_not_allowed", detail=decision.reason, hint=decision.hint))
    elif not listener.may_open_tunnel():
        caller.connect_refused(Refusal(code="overloaded", detail="Too many tunnels are open.", retry_after=5))
    elif caller.is_open:
        wire = caller.handed_over()
        wire.write(TUNNEL_OPEN)
        entry = TunnelEntry(listener, tunnel)
        wire.set_protocol(entry)
        entry.connection_made(cast(asyncio.BaseTransport, wire))
        wire.resume_reading()
        if early:
            entry.data_received(early)


class TunnelEntry(asyncio.Protocol):
    """The beginning of a tunnel's inside, until its first byte has said what it carries and TLS, if any, is up."""

    def __init__(self, listener: "Listener", tunnel: Tunnel) -> None:
        self._deadline = listener.services.time() + listener.services.settings.timeouts.request_header
        self._listener = listener
        self._tunnel = tunnel
        self._wire: Wire | None = None
        self._early: list[bytes] = []
        self._minting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the wire."""
        self._wire = cast(Wire, transport)
        self._listener.tunnel_opened()
        self._listener.joined(self)

    def data_received(self, data: bytes) -> None:
        """Look at the first byte, and hand over to what reads the rest."""
        self._early.append(data)
        if self._minting is not None:
            return  # this came before the wire was paused
        if data[0] != _TLS_HANDSHAKE:
            self._read_plain()
        elif context := self._listener.services.certs.cached(self._tunnel.host):
            self._intercept(context)
        else:
            self._require_wire().pause_reading()
            self._minting = self._listener.spawn(self._mint())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Handle a caller that left before it said anything."""
        self._gone()

    def sweep(self, now: float) -> None:
        """Give up on a caller that says nothing, or doesn't finish its handshake."""
        if now >= self._deadline:
            self._require_wire().abort()

    def drain(self) -> None:
        """Let a handshake go on; who has said nothing has a moment for it."""
        if not self._early:
            patience = self._listener.services.settings.timeouts.request_header
            self._deadline = min(self._deadline, self._deadline - patience + PARTING)

    def abort(self) -> None:
        """Cut it."""
        self._require_wire().abort()

    def _read_plain(self) -> None:
        reader = self._listener.caller(tunnel=self._tunnel, secure=False)
        wire = self._require_wire()
        self._listener.left(self)
        wire.set_protocol(reader)
        reader.connection_made(cast(asyncio.BaseTransport, wire))
        reader.data_received(b"".join(self._early))

    async def _mint(self) -> None:
        context = await self._listener.services.certs.context_for(self._tunnel.host)
        wire = self._require_wire()
        if not wire.is_closing():
            self._intercept(context)
            wire.resume_reading()

    def _intercept(self, context: ssl.SSLContext) -> None:
        """Answer the handshake. This entry keeps watch until it is done."""
        reader = self._listener.caller(tunnel=self._tunnel, secure=True)
        layer = TlsLayer(
            context,
            reader,
            server_side=True,
            on_established=lambda: self._listener.left(self),
            on_failure=self._tls_failed,
        )
        wire = self._require_wire()
        wire.set_protocol(layer)
        layer.connection_made(cast(asyncio.BaseTransport, wire))
        layer.data_received(b"".join(self._early))

    def _tls_failed(self, error: Exception) -> None:
        self._listener.tls_failed(self._tunnel, error)
        self._gone()

    def _gone(self) -> None:
        self._listener.left(self)
        self._listener.tunnel_closed()

    def _require_wire(self) -> Wire:
        if self._wire is None:
            raise RuntimeError("used before the connection was made")
        return self._wire


class Joined:
    """Two sides of an upgraded connection: bytes pass both ways, each half closes by itself (http-rules.md 17)."""

    def __init__(
        self, caller: "CallerConnection", upstream: UpstreamConnection, exchange: "Exchange", services: Services
    ) -> None:
        self._caller, self._upstream, self._exchange, self._services = caller, upstream, exchange, services
        self._caller_done = self._upstream_done = False
        self._used_at = services.time()
        upstream.tunnel_to(self)

    def from_caller(self, data: bytes) -> None:
        """Pass bytes to upstream."""
        self._used_at = self._services.time()
        if self._upstream.wire is not None:
            self._upstream.wire.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Pass bytes to the caller."""
        self._used_at = self._services.time()
        self._caller.write(data)

    def caller_ended(self) -> None:
        """Close upstream's half."""
        self._caller_done = True
        if self._upstream_done:
            self._end()
        elif self._upstream.wire is not None:
            self._upstream.wire.write_eof()

    def upstream_ended(self) -> None:
        """Close the caller's half."""
        self._upstream_done = True
        if self._caller_done:
            self._end()
        else:
            self._caller.end_output()

    def caller_lost(self) -> None:
        """End upstream's side too; what it was sent before both had ended still goes out."""
        self._exchange.parted()
        if not (self._caller_done and self._upstream_done):
            self._upstream.close()

    def upstream_lost(self) -> None:
        """End the caller's side too."""
        self._caller.close() if self._upstream_done else self._caller.abort()

    def caller_paused(self) -> None:
        """Let upstream wait."""
        self._upstream.pause_reading()

    def caller_resumed(self) -> None:
        """Let upstream go on."""
        self._upstream.resume_reading()

    def upstream_paused(self) -> None:
        """Let the caller wait."""
        self._caller.pause_reading()

    def upstream_resumed(self) -> None:
        """Let the caller go on."""
        self._caller.resume_reading()

    def sweep(self) -> None:
        """Cut the pipe when it is idle for too long, or when it may not go on."""
        if self._services.time() - self._used_at > self._services.settings.timeouts.idle:
            self._end()
        elif not self._exchange.permitted():
            self._cut()

    def _cut(self) -> None:
        self._upstream.close()
        self._caller.abort()

    def _end(self) -> None:
        self._upstream.finish()
        self._caller.close()
