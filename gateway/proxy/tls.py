"""TLS between a transport and a protocol, on either side, over memory BIOs (PEP 644's `ssl.SSLObject`).

Ours, because the gateway must read a tunnel's first byte before it knows whether TLS follows, and must tell an answer
that ended (close_notify) from one that was cut off (RFC 8446 §6.1).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

_RECORD = 16 * 1024  # the most that one read yields (RFC 8446 §5.1)


class Wire(Protocol):
    """What a protocol of ours needs of the transport below it: a socket's, or TLS."""

    def write(self, data: bytes) -> None: ...  # noqa: D102 - as asyncio.Transport
    def writelines(self, list_of_data: list[bytes]) -> None: ...  # noqa: D102
    def write_eof(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def abort(self) -> None: ...  # noqa: D102
    def is_closing(self) -> bool: ...  # noqa: D102
    def pause_reading(self) -> None: ...  # noqa: D102
    def resume_reading(self) -> None: ...  # noqa: D102
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...  # noqa: D102
    def get_extra_info(self, name: str) -> Any: ...  # noqa: D102


class TlsLayer(asyncio.Protocol):
    """A protocol to the transport below, a transport to the protocol above.

    `inner.connection_made` is called when the handshake is done, then `on_established`. `on_failure` is told of a
    handshake that failed; the connection is closed then. An end without close_notify reaches `inner` as
    `connection_lost` with an exception.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        inner: asyncio.Protocol,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        on_established: Callable[[], None] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._inner = inner
        self._on_established, self._on_failure = on_established, on_failure
        self._established = False
        self._ended = False  # the inner protocol has been told of the end
        self._heard_goodbye = self._said_goodbye = False  # close_notify, from them and from us
        self._transport: asyncio.Transport | None = None

    # Below: what the transport tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._handshake()

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand up what is there."""
        if self._ended:
            return
        self._incoming.write(data)
        if self._established or self._handshake():
            self._read()

    def eof_received(self) -> bool:
        """Handle the end of the stream below: without a close_notify before it, it is a cut."""
        if self._heard_goodbye and not self._ended:
            return True  # they have only said that they send no more
        self._end(ConnectionResetError("the TLS connection ended without close_notify"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection is gone."""
        self._end(exc)

    def pause_writing(self) -> None:
        """Pass back-pressure up."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass back-pressure up."""
        self._inner.resume_writing()

    # Above: what the protocol asks of us.

    def write(self, data: bytes) -> None:
        """Encrypt and send; behind our own goodbye nothing is sent."""
        if self._ended or self._said_goodbye:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:  # such as a renegotiation that they began: `inner` is told by connection_lost
            self.abort()
        else:
            self._flush()

    def writelines(self, list_of_data: list[bytes]) -> None:
        """Encrypt and send pieces."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Say that no more comes (close_notify); reading goes on."""
        self._shutdown()

    def close(self) -> None:
        """Say goodbye and close."""
        self._shutdown()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection, so that the other side sees no clean end."""
        if self._transport is not None:
            self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the connection is closing or gone."""
        return self._ended or self._transport is None or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Stop reading from below."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to another protocol from now on."""
        self._inner = cast(asyncio.Protocol, protocol)

    def get_extra_info(self, name: str) -> Any:
        """Ask the transport below."""
        return self._transport.get_extra_info(name) if self._transport is not None else None

    # Inside.

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert
            self._fail(error)
            return False
        self._flush()
        self._established = True
        self._inner.connection_made(cast(asyncio.BaseTransport, self))
        if self._on_established is not None:
            self._on_established()
        return True

    def _fail(self, error: Exception) -> None:
        self._ended = True
        if self._on_failure is not None:
            self._on_failure(error)
        if self._transport is not None:
            self._transport.close()

    def _read(self) -> None:
        pieces: list[bytes] = []
        ended = False
        broken: ssl.SSLError | None = None
        try:
            while piece := self._tls.read(_RECORD):
                pieces.append(piece)
            ended = True  # OpenSSL reads nothing behind a close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True  # the same, where our own close_notify went out before
        except ssl.SSLError as error:
            broken = error
        self._flush()  # a key update or a new ticket may be answered
        if pieces and not self._ended:
            self._inner.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended:
            self._close_notify_received()
        elif broken is not None:
            self._end(broken)
            self.abort()

    def _close_notify_received(self) -> None:
        if self._ended or self._heard_goodbye:
            return
        self._heard_goodbye = True
        if not self._inner.eof_received():
            self.close()

    def _end(self, exc: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        if self._established:
            self._inner.connection_lost(exc)
        elif self._on_failure is not None:
            self._on_failure(exc or ConnectionResetError("the connection ended during the TLS handshake"))

    def _shutdown(self) -> None:
        if not self._established or self._ended or self._said_goodbye:
            return
        self._said_goodbye = True
        with contextlib.suppress(ssl.SSLError):  # WANT_READ: ours is written, theirs isn't here yet; or all is broken
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._outgoing.read()):
            self._transport.write(data)
