"""Rule 17: after a 101 both sides are one pipe; events and chunks arrive as they come."""

import asyncio

import pytest

from tests.proxy.harness import OK, Caller
from tests.rules.entrances import (
    ABSOLUTE,
    CREDENTIAL,
    PATH,
    REJECTED,
    TLS_TUNNEL,
    TUNNEL,
    VIA,
    Entrance,
    assert_ends,
    problem,
)

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
UPGRADE = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch protocols, speak first, echo until the other half closes, then say goodbye."""
    writer.write(SWITCH + b"\r\nearly")
    while data := await reader.read(1000):
        writer.write(data.upper())
        await writer.drain()
    writer.write(b"bye")
    await writer.drain()


async def test_rule_17_an_upgrade_is_a_pipe_after_a_101(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [echo]
    answer = await caller.ask(entrance.request(fields=UPGRADE))
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert await caller.reader.readexactly(5) == b"early"
    request = entrance.request("POST", "/admin")
    await caller.send(request)
    assert await caller.reader.readexactly(len(request)) == request.upper(), "what looks like a request is bytes now"
    assert entrance.requests == [
        b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\nSec-WebSocket-Key: k\r\n"
        + CREDENTIAL
        + VIA
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ]


async def test_rule_17_each_half_closes_by_itself(entrance: Entrance, caller: Caller) -> None:
    """Within TLS, whose halves asyncio can't close, tests/proxy/test_tls.py shows it of the layer itself."""
    entrance.service.script = [echo]
    await caller.ask(entrance.request(fields=UPGRADE))
    await caller.send(b"abc")
    assert await caller.reader.readexactly(8) == b"earlyABC"
    if entrance.name == TLS_TUNNEL:
        caller.writer.close()
        async with asyncio.timeout(5):
            await entrance.service.closed.wait()
        return
    caller.writer.write_eof()
    assert await caller.rest() == b"bye"


@pytest.mark.parametrize("entrance", [ABSOLUTE, PATH, TUNNEL], indirect=True)
async def test_rule_17_upstreams_half_may_close_first(entrance: Entrance, caller: Caller) -> None:
    heard = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SWITCH + b"\r\nlast words")
        writer.write_eof()
        assert await reader.read() == b"and mine"
        heard.set()

    entrance.service.script = [listen]
    await caller.ask(entrance.request(fields=UPGRADE))
    assert await caller.rest() == b"last words"
    await caller.send(b"and mine")
    caller.writer.write_eof()
    async with asyncio.timeout(5):
        await heard.wait()


async def test_rule_17_what_a_101_says_is_cleaned_as_any_answer(entrance: Entrance, caller: Caller) -> None:
    said = b"Set-Cookie: a=b\r\nProxy-A: b\r\nX-Echo: tok_abcdefgh\r\nContent-Length: 3\r\nKeep-Alive: x\r\n"
    entrance.service.script = [SWITCH + said + b"\r\nraw"]
    assert await caller.ask(entrance.request(fields=UPGRADE)) == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nX-Echo: ************\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert await caller.reader.readexactly(3) == b"raw"


@pytest.mark.parametrize(
    "taken",
    [
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket2\r\n",
        b"Connection: Upgrade\r\nUpgrade: ,\r\n",
        b"Connection: Upgrade\r\n",
        b"Upgrade: websocket\r\n",
        b"",
    ],
)
async def test_rule_17_a_101_that_takes_up_nothing_that_was_offered_opens_no_pipe(
    entrance: Entrance, caller: Caller, taken: bytes
) -> None:
    """Who can make a service answer with a status of their choice would have a way past every decision."""
    entrance.service.script = [b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % taken + OK]
    assert problem(await caller.ask(entrance.request(fields=UPGRADE))) == (502, "upstream_protocol")
    await caller.send(entrance.request("POST", "/admin"))
    await assert_ends(caller)
    assert len(entrance.requests) == 1


async def test_rule_17_what_takes_up_an_offer_may_write_it_in_another_case(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [SWITCH.replace(b"websocket", b"WebSocket") + b"\r\nraw"]
    fields = b"Connection: Upgrade\r\nUpgrade: other/1, websocket\r\n"
    assert (await caller.ask(entrance.request(fields=fields))).endswith(b"\r\nUpgrade: WebSocket\r\n\r\n")


async def test_rule_17_where_answers_are_searched_nothing_is_upgraded(entrance: Entrance, caller: Caller) -> None:
    entrance.connect(allow="scrub_body = true")
    entrance.service.script = [echo]
    assert problem(await caller.ask(entrance.request(fields=UPGRADE))) == REJECTED
    await assert_ends(caller)
    assert entrance.requests == []


async def test_rule_17_bytes_behind_an_upgrade_wait_for_the_101(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [echo]
    await caller.send(entrance.request(fields=UPGRADE) + b"first")
    await caller.receive()
    assert await caller.reader.readexactly(10) == b"earlyFIRST"


async def test_rule_17_an_upgrade_that_upstream_declines_ends_the_connection_behind_its_answer(
    entrance: Entrance, caller: Caller
) -> None:
    """What stands behind it may be of the other protocol: nobody reads it as a request."""
    await caller.send(entrance.request(fields=UPGRADE) + entrance.request("POST", "/admin"))
    assert (await caller.receive()).endswith(b"ok")
    await assert_ends(caller)
    assert len(entrance.requests) == 1


HIDING = [
    *[b"h2c", b"H2C", b"h2", b"HTTP/2.0", b"http/1.1", b"TLS/1.2, HTTP/1.1", b"websocket, h2c", b"h2c,websocket"],
    *[b"http", b"tls", b"SPDY/3.1", b"h3"],
    # No protocol's name, in which some server may find one.
    *[b"websocket h2c", b"websocket;h2c", b'"h2c"', b"\xa0h2c", b"a/h2c/b", b"/h2c"],
]


@pytest.mark.parametrize("protocol", HIDING)
async def test_rule_17_what_would_hide_requests_is_never_offered_upstream(
    entrance: Entrance, caller: Caller, protocol: bytes
) -> None:
    """The request goes on without it, and the next one is decided on as ever."""
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n" % protocol
    await caller.send(entrance.request(fields=fields) + entrance.request(path="/v1/next"))
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).endswith(b"ok")
    assert not any(b"Upgrade" in request or b"HTTP2" in request for request in entrance.requests)


@pytest.mark.parametrize(
    "fields",
    [b"Upgrade: websocket\r\n", b"Connection: keep-alive\r\nUpgrade: websocket\r\n", b"Connection: Upgrade\r\n"],
)
async def test_rule_17_half_an_offer_is_none(entrance: Entrance, caller: Caller, fields: bytes) -> None:
    assert (await caller.ask(entrance.request(fields=fields))).endswith(b"ok")
    assert entrance.requests[0].endswith(CREDENTIAL + VIA + b"\r\n")


async def test_rule_17_http_1_0_offers_no_upgrade(entrance: Entrance, caller: Caller) -> None:
    assert (await caller.ask(entrance.request(fields=UPGRADE, version=b"HTTP/1.0"))).endswith(b"ok")
    assert b"Upgrade" not in entrance.requests[0]


@pytest.mark.parametrize("gone", ["client", "connection"])
async def test_rule_17_a_pipe_is_cut_when_its_caller_may_no_longer(
    entrance: Entrance, caller: Caller, gone: str
) -> None:
    entrance.service.script = [echo]
    await caller.ask(entrance.request(fields=UPGRADE))
    if gone == "client":
        entrance.gateway.access.revoke()
    else:
        entrance.gateway.vault.lives.clear()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        await entrance.service.closed.wait()


EVENTS = [b"data: one\n\n", b"data: two\n\n", b": \n", b"data: three\n\n"]


@pytest.mark.parametrize("scrub", [False, True], ids=["as they are", "searched"])
@pytest.mark.parametrize("framing", ["chunks", "length", "close"])
async def test_rule_17_what_upstream_sends_arrives_as_it_comes(
    entrance: Entrance, caller: Caller, framing: str, *, scrub: bool
) -> None:
    """Each event is sent only when the caller has the one before it."""
    entrance.connect(allow=f"scrub_body = {str(scrub).lower()}")
    seen = asyncio.Semaphore(0)

    async def events(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        if framing == "chunks":
            head += b"Transfer-Encoding: chunked\r\n"
        elif framing == "length":
            head += b"Content-Length: %d\r\n" % sum(map(len, EVENTS))
        writer.write(head + b"\r\n")
        for event in EVENTS:
            await seen.acquire()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event) if framing == "chunks" else event)
            await writer.drain()
        await seen.acquire()
        if framing == "chunks":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        if framing == "close":
            writer.close()

    entrance.service.script = [events, OK]
    await caller.send(entrance.request())
    async with asyncio.timeout(5):
        await caller.reader.readuntil(b"\r\n\r\n")
        for event in EVENTS:
            seen.release()
            await caller.reader.readuntil(event)
        seen.release()
        if framing != "length":
            await caller.reader.readuntil(b"0\r\n\r\n")
    assert (await caller.ask(entrance.request())).endswith(b"ok")


async def test_rule_17_a_long_request_flows_while_it_is_sent(entrance: Entrance, caller: Caller) -> None:
    """Upstream has each chunk before the caller sends the next."""
    got = asyncio.Queue[bytes]()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while (chunk := await reader.readuntil(b"\n\n\r\n")) and not chunk.endswith(b"last\n\n\r\n"):
            got.put_nowait(chunk)
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK)
        await writer.drain()

    entrance.service.raw = listen
    await caller.send(entrance.request("POST", fields=b"Transfer-Encoding: chunked\r\n"))
    async with asyncio.timeout(5):
        for number in range(3):
            await caller.send(b"3\r\n%d\n\n\r\n" % number)
            assert await got.get() == b"3\r\n%d\n\n\r\n" % number
    assert (await caller.ask(b"6\r\nlast\n\n\r\n0\r\n\r\n")).endswith(b"ok")
