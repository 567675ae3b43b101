"""WebSockets through the gateway, by clients that know nothing of it but a proxy or a base URL."""

import ssl

import aiohttp
import pytest
import websockets

from tests.e2e.harness.wire import assert_nothing_of_the_gateway, assert_one_credential

LONG = "x" * 300_000


@pytest.fixture
def checked(upstream, provider, tagged):
    """After the test: the handshake that upstream saw carried one credential and nothing of the gateway's."""
    yield
    (handshake,) = upstream.requests
    assert handshake.values("upgrade") == [b"websocket"]
    assert_one_credential(handshake, provider, tagged.application)
    assert_nothing_of_the_gateway(handshake, connection=tagged.connection, token=tagged.token)


async def converse(socket) -> None:
    await socket.send("hello")
    assert await socket.recv() == "hello"
    await socket.send(b"\x00\xff")
    await socket.send(LONG)
    assert await socket.recv() == b"\x00\xff"
    assert await socket.recv() == LONG
    await socket.close()
    assert socket.close_code == 1000


@pytest.mark.usefixtures("checked")
async def test_plain_by_connect(route, tagged, upstream):
    """`websockets` opens a tunnel even for ws://; plain HTTP inside it is intercepted like any other."""
    proxy = route("absolute", tagged).proxy
    async with websockets.connect(upstream.http.replace("http", "ws") + "/v1/ws", proxy=proxy, max_size=None) as socket:
        await converse(socket)


@pytest.mark.usefixtures("checked")
async def test_tls_by_connect(route, tagged, upstream):
    """wss:// through the interception, with the gateway's CA trusted."""
    by_connect = route("connect", tagged)
    trust = ssl.create_default_context(cafile=str(by_connect.ca))
    url = upstream.https.replace("http", "ws") + "/v1/ws"
    async with websockets.connect(url, proxy=by_connect.proxy, ssl=trust, max_size=None) as socket:
        await converse(socket)


@pytest.mark.usefixtures("checked")
async def test_path_style(route, tagged):
    """A WebSocket client that only takes a base URL."""
    by_path = route("path", tagged)
    url = by_path.base.replace("http://", "ws://", 1) + "/v1/ws"
    async with websockets.connect(url, proxy=None, additional_headers=by_path.fields, max_size=None) as socket:
        await converse(socket)


@pytest.mark.usefixtures("checked")
async def test_absolute_form(route, tagged, upstream):
    """Aiohttp sends a ws:// handshake to a proxy in absolute-form."""
    by_proxy = route("absolute", tagged)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(upstream.http + "/v1/ws", proxy=by_proxy.proxy, max_msg_size=0) as socket,
    ):
        await socket.send_str("hello")
        assert (await socket.receive_str()) == "hello"
        await socket.send_bytes(LONG.encode())
        assert (await socket.receive_bytes()) == LONG.encode()
