"""CONNECT and what is inside: interception, plain HTTP, Upgrade (http-rules.md 2, 3, 17)."""

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


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.2"])
async def test_host_inside_a_tunnel_must_be_the_tunnels(secure: Gateway, host: str) -> None:
    caller = await intercepted(secure)
    assert code(await caller.ask(inside(secure.service.port, host=host))) == "request_rejected"
    assert secure.service.requests == []
    await caller.close()


@pytest.mark.parametrize("target", ["https://evil.test/", "http://127.0.0.1/", "//evil/x", "/../x", "*"])
async def test_a_target_inside_a_tunnel_is_the_tunnels_or_invalid(secure: Gateway, target: str) -> None:
    caller = await intercepted(secure)
    assert code(await caller.ask(inside(secure.service.port, target))) == "target_invalid"
    assert secure.service.requests == []
    await caller.close()


async def test_a_server_name_that_is_not_the_tunnels_ends_the_handshake(secure: Gateway) -> None:
    caller = await secure.open()
    await caller.ask(connect(secure.service.port))
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await caller.writer.start_tls(trusting(secure), server_hostname="evil.test")


async def test_a_connect_inside_a_tunnel_is_refused(secure: Gateway) -> None:
    caller = await intercepted(secure)
    assert code(await caller.ask(connect(secure.service.port))) == "request_rejected"
    assert await caller.rest() == b""
    await caller.close()


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (connect(443, tag=b""), "proxy_authentication_required"),
        (connect(443, tag=base64.b64encode(b"crm-ann:gwc_wrong")), "proxy_authentication_required"),
        (connect(443, tag=base64.b64encode(f"crm-bob:{TOKEN}".encode())), "connection_not_permitted"),
        (connect(22), "target_not_allowed"),
        (connect(443, host=b"evil.test"), "target_not_allowed"),
        (b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %b\r\n\r\n" % TAG, "target_invalid"),
        (connect(0), "target_invalid"),
        (connect(443, extra=b"Content-Length: 3\r\n") + b"abc", "request_rejected"),
        (connect(443, extra=b"Via: 1.1 gateway-test\r\n"), "loop_detected"),
    ],
    ids=["untagged", "wrong token", "foreign", "port", "host", "no port", "port 0", "content", "loop"],
)
async def test_a_refused_connect_answers_and_closes_and_reads_nothing_more(
    gateway: Gateway, caller: Caller, request_bytes: bytes, expected: str
) -> None:
    await caller.send(request_bytes + gateway.request("POST", "/admin"))
    assert code(await caller.receive()) == expected
    assert await caller.rest() == b""
    assert gateway.service.requests == []


async def test_a_revoked_client_is_refused_inside_its_open_tunnel(secure: Gateway) -> None:
    caller = await intercepted(secure)
    await caller.ask(inside(secure.service.port))
    secure.access.revoke()
    assert code(await caller.ask(inside(secure.service.port))) == "proxy_authentication_required"
    assert len(secure.service.requests) == 1
    await caller.close()


async def test_a_connection_that_is_gone_is_refused_inside_an_open_tunnel(secure: Gateway) -> None:
    caller = await intercepted(secure)
    await caller.ask(inside(secure.service.port))
    secure.vault.lives.clear()
    assert code(await caller.ask(inside(secure.service.port))) == "connection_not_permitted"
    assert len(secure.service.requests) == 1
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


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch protocols, echo until the other half closes, then say goodbye."""
    writer.write(SWITCH + b"early")
    while data := await reader.read(1000):
        writer.write(data.upper())
        await writer.drain()
    writer.write(b"bye")
    await writer.drain()


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"


async def test_an_upgrade_is_joined_both_ways_after_a_101_and_each_half_closes_by_itself(
    gateway: Gateway, caller: Caller
) -> None:
    gateway.service.script = [echo]
    answer = await caller.ask(gateway.request(headers=UPGRADE))
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert await caller.reader.readexactly(5) == b"early"
    await caller.send(b"abc")
    assert await caller.reader.readexactly(3) == b"ABC"
    caller.writer.write_eof()
    assert await caller.rest() == b"bye"
    request = gateway.service.requests[0]
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" in request
    assert b"Bearer tok_abcdefgh" in request


async def test_bytes_behind_an_upgrade_wait_for_the_101(gateway: Gateway, caller: Caller) -> None:
    gateway.service.script = [echo]
    await caller.send(gateway.request(headers=UPGRADE) + b"first")
    await caller.receive()
    assert await caller.reader.readexactly(10) == b"earlyFIRST"


async def test_an_upgrade_inside_an_intercepted_tunnel_is_joined(secure: Gateway) -> None:
    secure.service.script = [echo]
    caller = await intercepted(secure)
    assert (await caller.ask(inside(secure.service.port, headers=UPGRADE))).startswith(b"HTTP/1.1 101 ")
    await caller.send(b"abc")
    assert await caller.reader.readexactly(8) == b"earlyABC"
    await caller.close()


async def test_a_refused_upgrade_answers_and_closes_and_reads_nothing_more(gateway: Gateway, caller: Caller) -> None:
    await caller.send(gateway.request(headers=UPGRADE, connection="crm-bob") + gateway.request("POST", "/admin"))
    assert code(await caller.receive()) == "connection_not_permitted"
    assert await caller.rest() == b""
    assert gateway.service.requests == []


async def test_an_upgrade_that_upstream_declines_ends_the_connection_behind_its_answer(
    gateway: Gateway, caller: Caller
) -> None:
    await caller.send(gateway.request(headers=UPGRADE) + gateway.request("POST", "/admin"))
    assert (await caller.receive()).endswith(b"ok")
    assert await caller.rest() == b""
    assert len(gateway.service.requests) == 1


@pytest.mark.parametrize("protocol", [b"h2c", b"HTTP/2.0", b"TLS/1.2, HTTP/1.1", b"websocket, h2c"])
async def test_what_would_hide_requests_is_never_offered_upstream_and_the_request_goes_on_without(
    gateway: Gateway, caller: Caller, protocol: bytes
) -> None:
    headers = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n" % protocol
    await caller.send(gateway.request(headers=headers) + gateway.request())
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).endswith(b"ok")
    assert not any(b"Upgrade" in request or b"HTTP2" in request for request in gateway.service.requests)


async def test_server_sent_events_arrive_before_the_stream_ends(gateway: Gateway, caller: Caller) -> None:
    seen = asyncio.Event()

    async def events(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"b\r\ndata: one\n\n\r\n")
        await writer.drain()
        await seen.wait()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    gateway.service.script = [events]
    await caller.send(gateway.request())
    await caller.reader.readuntil(b"\r\n\r\n")
    assert await caller.reader.readuntil(b"\n\n\r\n") == b"b\r\ndata: one\n\n\r\n"
    seen.set()
    assert await caller.reader.readexactly(5) == b"0\r\n\r\n"


async def test_a_request_inside_a_tunnel_that_names_another_connection_is_refused(secure: Gateway) -> None:
    caller = await intercepted(secure)
    answer = await caller.ask(inside(secure.service.port, headers=b"X-Connection-Id: crm-bob\r\n"))
    assert code(answer) == "request_rejected"
    assert secure.service.requests == []
    await caller.close()


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
