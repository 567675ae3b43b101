"""CONNECT and what is inside: interception, plain HTTP, Upgrade. The rules themselves are in tests/rules."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.egress import Egress
from tests.proxy.harness import TOKEN, Caller, Gateway, Service, running, settings

TAG = base64.b64encode(f"crm-ann:{TOKEN}".encode())
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


@pytest.fixture
async def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """A gateway that trusts the CA of a service that speaks TLS."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "upstream-ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "upstream-ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    service = Service()
    await service.start(ssl=context)
    async with running(settings(tmp_path), service, egress=Egress(allow_networks=["127.0.0.0/8"])) as one:
        one.connect(one.policy(urls=f'["https://127.0.0.1:{service.port}"]'))
        yield one
    await service.stop()


def connect(port: int, *, tag: bytes = TAG, host: bytes = b"127.0.0.1", extra: bytes = b"") -> bytes:
    tagged = b"Proxy-Authorization: Basic %b\r\n" % tag if tag else b""
    return b"CONNECT %b:%d HTTP/1.1\r\nHost: %b:%d\r\n%b%b\r\n" % (host, port, host, port, tagged, extra)


def inside(port: int, path: str = "/v1", *, host: str = "127.0.0.1", headers: bytes = b"") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n".encode() + headers + b"\r\n"


def trusting(gateway: Gateway) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=gateway.server.certificate_pem.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def intercepted(gateway: Gateway, *, name: str = "127.0.0.1") -> Caller:
    caller = await gateway.open()
    assert await caller.ask(connect(gateway.service.port)) == b"HTTP/1.1 200 Connection Established\r\n\r\n"
    await caller.writer.start_tls(trusting(gateway), server_hostname=name)
    return caller


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


async def test_requests_inside_an_intercepted_tunnel_get_their_credential(secure: Gateway) -> None:
    caller = await intercepted(secure)
    for path in ("/v1/a", "/v1/b"):
        assert (await caller.ask(inside(secure.service.port, path))).endswith(b"ok")
    assert [request.split()[1] for request in secure.service.requests] == [b"/v1/a", b"/v1/b"]
    assert all(request.count(b"Authorization: Bearer tok_abcdefgh\r\n") == 1 for request in secure.service.requests)
    assert all(b"Proxy" not in request for request in secure.service.requests)
    tls = caller.writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == "http/1.1"
    await caller.close()


async def test_a_tunnel_that_ends_is_forgotten_at_once(secure: Gateway) -> None:
    caller = await intercepted(secure)
    await caller.ask(inside(secure.service.port))
    await caller.close()
    async with asyncio.timeout(0.3):
        await secure.server.stop(5)


async def test_http_written_for_a_url_allowed_as_https_is_upgraded(secure: Gateway) -> None:
    caller = await secure.open()
    assert (await caller.ask(secure.request())).endswith(b"ok")
    assert b"Bearer tok_abcdefgh" in secure.service.requests[0]
    await caller.close()


async def test_plain_http_in_a_tunnel_is_upgraded_too(secure: Gateway) -> None:
    caller = await secure.open()
    await caller.ask(connect(secure.service.port))
    assert (await caller.ask(inside(secure.service.port))).endswith(b"ok")
    await caller.close()


async def test_plain_http_may_follow_the_connect_at_once(secure: Gateway) -> None:
    caller = await secure.open()
    await caller.send(connect(secure.service.port) + inside(secure.service.port))
    assert (await caller.receive()).startswith(b"HTTP/1.1 200 Connection")
    assert (await caller.receive()).endswith(b"ok")
    await caller.close()


async def test_upstreams_certificate_is_verified(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    service = Service()
    await service.start(ssl=context)
    async with running(settings(tmp_path), service) as gateway:
        gateway.connect(gateway.policy(urls=f'["https://127.0.0.1:{service.port}"]'))
        caller = await gateway.open()
        assert code(await caller.ask(gateway.request())) == "upstream_tls"
        await caller.close()
    assert service.requests == []
    await service.stop()


async def test_a_tls_answer_that_ends_without_close_notify_is_a_truncated_one(secure: Gateway) -> None:
    async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
        await writer.drain()
        writer.transport.abort()

    secure.service.script = [cut]
    caller = await secure.open()
    await caller.send(secure.request())
    with pytest.raises(ConnectionResetError):
        await caller.rest()
    await caller.close()


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"


async def test_what_a_caller_says_last_arrives_though_upstream_said_goodbye_before(
    gateway: Gateway, caller: Caller
) -> None:
    size = 4_000_000
    got = 0

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        writer.write(SWITCH)
        writer.write_eof()
        await asyncio.sleep(0.3)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100_000):
                got += len(data)
        heard.set()

    heard = asyncio.Event()
    gateway.service.script = [listen]
    await caller.ask(gateway.request(headers=UPGRADE))
    assert await caller.rest() == b""
    await caller.send(b"x" * size)
    caller.writer.write_eof()
    async with asyncio.timeout(10):
        await heard.wait()
    assert got == size
