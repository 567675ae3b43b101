"""Idle upstream connections, and the way to new ones: a checked address, TLS, and no socket left behind."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from gateway.egress import Egress
from gateway.errors import Refusal, UpstreamError
from gateway.http.target import Origin
from gateway.proxy.outbox import Outbox
from gateway.proxy.tls import TlsLayer
from gateway.proxy.upstream import PoolKey, UpstreamConnection
from gateway.secret import Secret

_MAX_IDLE_PER_ORIGIN = 1024  # for one connection id: as many as answer at a time on a busy server, for a minute


class Pool:
    """Idle upstream connections, the newest first, and the way to new ones.

    Of more than `most` connections in all, an idle one makes room for each new one.
    """

    def __init__(
        self,
        egress: Egress,
        outbox: Outbox,
        *,
        tls_timeout: float,
        idle_timeout: float,
        max_head: int,
        most: int,
        count: Callable[[int], None],
    ) -> None:
        self._egress, self._outbox = egress, outbox
        self._tls_timeout, self._idle_timeout, self._max_head = tls_timeout, idle_timeout, max_head
        self._most = most
        self._idle: dict[PoolKey, deque[UpstreamConnection]] = {}
        self._all: set[UpstreamConnection] = set()
        self._count = count
        self._trust_readings = egress.trust_readings
        self._mistrusted: set[UpstreamConnection] = set()
        self._clock = asyncio.get_running_loop().time

    def take(self, key: PoolKey, certificate: Secret | None = None) -> UpstreamConnection | None:
        """Return an idle connection that is still open, or None.

        One that was opened with another certificate is closed: its service takes us for whoever that one names.
        """
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.certificate != certificate:
                connection.close()
            elif connection.wire is not None and not connection.wire.is_closing():
                return connection
        return None

    async def connect(self, key: PoolKey, certificate: Secret | None = None) -> UpstreamConnection:
        """Return a new connection, which shows the certificate in TLS if there is one.

        Raises `UpstreamError` (dns, connect, tls, timeout, address_not_allowed).
        """
        _, origin = key
        context = self._egress.context_for(certificate)
        sock = await self._egress.dial(origin.host, origin.port)
        connection = UpstreamConnection(key, self, self._outbox, max_head=self._max_head, certificate=certificate)
        if origin.scheme == "https":
            await self._secure(origin, connection, sock, context)
        else:
            await self._open(origin, lambda: connection, sock)
        if connection.wire is None or connection.wire.is_closing():
            raise _left_at_once(origin)
        self._all.add(connection)
        self._count(1)
        if len(self._all) > self._most:
            self._make_room()
        return connection

    def put(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next exchange."""
        if self._mistrusted and connection in self._mistrusted:
            connection.close()
            return
        idle = self._idle.get(connection.key)
        if idle is None:
            idle = self._idle[connection.key] = deque()
        if len(idle) >= _MAX_IDLE_PER_ORIGIN:
            idle.popleft().close()
        connection.idle_since = self._clock()
        idle.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is lost."""
        if connection in self._all:
            self._all.discard(connection)
            self._mistrusted.discard(connection)
            self._count(-1)
        idle = self._idle.get(connection.key)
        if idle is not None:
            if connection in idle:
                idle.remove(connection)
            if not idle:
                del self._idle[connection.key]

    def sweep(self, now: float) -> None:
        """Close what has been idle too long, and what was opened under other authorities than are trusted now."""
        if self._trust_readings != self._egress.trust_readings:
            self._trust_readings = self._egress.trust_readings
            self._mistrusted = set(self._all)
            for unused in [connection for idle in self._idle.values() for connection in idle]:
                unused.close()
        for idle in list(self._idle.values()):
            while idle and now - idle[0].idle_since > self._idle_timeout:
                idle.popleft().close()

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._all):
            connection.close()

    def _make_room(self) -> None:
        """Close an idle connection: of a key that has had some for long, the oldest."""
        idle = next(filter(None, self._idle.values()), None)
        if idle is not None:
            idle.popleft().close()

    async def _secure(
        self, origin: Origin, connection: UpstreamConnection, sock: socket.socket, context: ssl.SSLContext
    ) -> None:
        loop = asyncio.get_running_loop()
        established: asyncio.Future[None] = loop.create_future()

        def failed(error: Exception) -> None:
            if not established.done():
                established.set_exception(_tls_error(origin, error))

        first = _Establishing(connection, established)
        layer = TlsLayer(context, first, server_hostname=origin.host, on_failure=failed)
        await self._open(origin, lambda: layer, sock)
        try:
            await asyncio.wait_for(established, self._tls_timeout)
        except TimeoutError:
            detail = f"{origin.host} did not finish the TLS handshake in time."
            raise UpstreamError(Refusal(code="upstream_timeout", detail=detail)) from None
        finally:
            if connection.wire is None:  # also where the caller has left and nobody waits any more
                layer.abort()

    async def _open(self, origin: Origin, protocol: Callable[[], asyncio.Protocol], sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().create_connection(protocol, sock=sock)
        except OSError as error:
            raise _left_at_once(origin) from error


class _Establishing(asyncio.Protocol):
    """Stands in for the connection until TLS is up, then makes room for it."""

    def __init__(self, connection: UpstreamConnection, established: asyncio.Future[None]) -> None:
        self._connection, self._established = connection, established

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        layer = cast(TlsLayer, transport)
        layer.set_protocol(self._connection)
        self._connection.connection_made(transport)
        if not self._established.done():
            self._established.set_result(None)
        else:
            layer.abort()


def _left_at_once(origin: Origin) -> UpstreamError:
    detail = f"{origin.host} port {origin.port} took the connection and closed it at once."
    return UpstreamError(Refusal(code="upstream_connect", detail=detail))


def _tls_error(origin: Origin, error: Exception) -> UpstreamError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why, hint = error.verify_message, "If the service has a private CA, point SSL_CERT_FILE at it and restart."
    else:
        why, hint = getattr(error, "reason", None) or "the handshake was cut off", None
    return UpstreamError(
        Refusal(code="upstream_tls", detail=f"TLS with {origin.host}:{origin.port} failed: {why}.", hint=hint)
    )
