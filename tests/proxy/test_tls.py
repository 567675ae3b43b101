"""The TLS layer between a socket and a protocol, both played by the test: ends, halves and faults (RFC 8446 §6.1)."""

import asyncio
import contextlib
import ssl
from typing import Any

import pytest
import trustme

from gateway.proxy.tls import TlsLayer


class Socket:
    """A transport that remembers what was written and how it ended."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.ended = ""

    def write(self, data: bytes) -> None:
        assert not self.ended, "nothing may be written behind the end"
        self.written += data

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def take(self) -> bytes:
        taken, self.written = bytes(self.written), bytearray()
        return taken


class Inner(asyncio.Protocol):
    """A protocol that remembers what it was told. `stays` at the other's end: it has more to say."""

    def __init__(self, *, stays: bool = False) -> None:
        self.stays = stays
        self.told: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: ARG002 - asyncio.Protocol
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc and type(exc))


class Pair:
    """A layer on the server's side and OpenSSL itself on the client's."""

    def __init__(self, *, stays: bool = False) -> None:
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("ok.test").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        self.failures: list[Exception] = []
        self.inner, self.socket = Inner(stays=stays), Socket()
        self.layer = TlsLayer(server, self.inner, server_side=True, on_failure=self.failures.append)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="ok.test")
        transport: Any = self.socket
        self.layer.connection_made(transport)

    def shake_hands(self) -> None:
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.exchange()

    def exchange(self) -> None:
        if data := self.outgoing.read():
            self.layer.data_received(data)
        self.incoming.write(self.socket.take())

    def say_goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.client.unwrap()
        self.exchange()


@pytest.fixture
def pair() -> Pair:
    one = Pair()
    one.shake_hands()
    return one


def test_a_goodbye_and_then_the_end_of_the_stream_is_one_clean_half_close() -> None:
    """Else the other half of a WebSocket would be cut when a careful peer closes its own."""
    pair = Pair(stays=True)
    pair.shake_hands()
    pair.say_goodbye()
    assert pair.layer.eof_received() is True
    pair.layer.write(b"more")
    pair.exchange()
    assert pair.client.read(100) == b"more"
    assert pair.inner.told == ["made", "eof"]


def test_an_end_without_goodbye_is_a_cut(pair: Pair) -> None:
    assert pair.layer.eof_received() is False
    assert pair.inner.told == ["made", ConnectionResetError]


def test_what_is_written_behind_our_goodbye_goes_nowhere(pair: Pair) -> None:
    pair.layer.write_eof()
    pair.layer.write(b"late")
    pair.exchange()
    assert pair.client.read(100) == b""
    assert not pair.socket.ended


def test_behind_our_goodbye_we_still_read(pair: Pair) -> None:
    pair.layer.write_eof()
    pair.client.write(b"still here")
    pair.exchange()
    assert pair.inner.told == ["made", b"still here"]


def test_what_is_written_while_closing_goes_nowhere(pair: Pair) -> None:
    pair.say_goodbye()
    assert pair.socket.ended == "closed"
    pair.layer.write(b"late")


def test_a_failed_handshake_is_told_of_once() -> None:
    pair = Pair()
    for _ in range(3):
        pair.layer.data_received(b"\x16\x03\x01\x00\x05hello")
    pair.layer.connection_lost(None)
    assert len(pair.failures) == 1
    assert pair.inner.told == []


def test_a_broken_record_ends_the_connection(pair: Pair) -> None:
    pair.layer.data_received(b"\x17\x03\x03\x00\x05hello")
    assert pair.inner.told == ["made", ssl.SSLError]
    assert pair.socket.ended == "aborted"
