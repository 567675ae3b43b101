"""Rules 7, 10 and 11: interim answers and trailers, who waits for whom, and what is tried a second time."""

import asyncio

import pytest

from tests.proxy.harness import OK, Caller
from tests.rules.entrances import Entrance, assert_ends, problem

CHUNKED = b"Transfer-Encoding: chunked\r\n"


async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def leave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_rule_07_an_expectation_is_passed_on_and_the_content_waits(entrance: Entrance, caller: Caller) -> None:
    async def expecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entrance.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        entrance.requests.append(await reader.readexactly(3))
        writer.write(OK)
        await writer.drain()

    entrance.service.raw = expecting
    await caller.send(entrance.request("POST", fields=b"Expect: 100-Continue\r\nContent-Length: 3\r\n"))
    assert await caller.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await caller.send(b"abc")
    assert (await caller.receive()).endswith(b"ok")
    assert b"\r\nExpect: 100-Continue\r\n" in entrance.requests[0]
    assert entrance.requests[1] == b"abc"


async def test_rule_07_an_expectation_that_is_not_met_is_answered_and_the_connection_ends(
    entrance: Entrance, caller: Caller
) -> None:
    """Else the content that was never sent would be the beginning of the next request."""

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        rest.append(await reader.read())

    rest: list[bytes] = []
    entrance.service.raw = refusing
    await caller.send(entrance.request("POST", fields=b"Expect: 100-continue\r\nContent-Length: 3\r\n"))
    answer = await caller.receive()
    assert answer.startswith(b"HTTP/1.1 417 No\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    await assert_ends(caller)
    await entrance.service.closed.wait()
    assert b"".join(rest) == b""


@pytest.mark.parametrize(
    ("interim", "seen"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (
            b"HTTP/1.1 103 tok_abcdefgh\r\nLink: </?tok_abcdefgh>\r\nSet-Cookie: a=b\r\nProxy-A: b\r\n\r\n",
            b"HTTP/1.1 103 ************\r\nLink: </?************>\r\n\r\n",
        ),
        (b"HTTP/1.1 199 X\r\n\r\n" * 2, b"HTTP/1.1 199 X\r\n\r\n"),
    ],
)
async def test_rule_07_interim_answers_are_relayed(
    entrance: Entrance, caller: Caller, interim: bytes, seen: bytes
) -> None:
    entrance.service.script = [interim + OK, OK]
    await caller.send(entrance.request())
    for _ in range(interim.count(b"HTTP/1.1 ")):
        assert await caller.receive() == seen
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.ask(entrance.request())).endswith(b"ok")
    assert entrance.service.connections == 1


async def test_rule_07_a_caller_of_http_1_0_gets_no_interim_answer(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK]
    await caller.send(entrance.request(version=b"HTTP/1.0"))
    assert (await caller.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("fields", [b"", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
async def test_rule_07_a_101_that_was_not_asked_for_is_no_answer(
    entrance: Entrance, caller: Caller, fields: bytes
) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw"
    entrance.service.script = [switch, OK]
    assert problem(await caller.ask(entrance.request(fields=fields))) == (502, "upstream_protocol")
    another = await entrance.open()
    assert (await another.ask(entrance.request())).endswith(b"\r\n\r\nok")
    assert entrance.service.connections == 2


TRAILERS = b"X-Checksum: 1\r\nAuthorization: mine\r\nHost: evil.test\r\nX_Y: z\r\n"


async def test_rule_07_a_requests_trailers_are_dropped_whole(entrance: Entrance, caller: Caller) -> None:
    content = b"3\r\nabc\r\n0\r\n" + TRAILERS + b"\r\n"
    for _ in range(2):
        answer = await caller.ask(
            entrance.request("POST", fields=CHUNKED + b"Trailer: X-Checksum\r\n", content=content)
        )
        assert answer.endswith(b"ok")
    for request in entrance.requests:
        head, _, received = request.partition(b"\r\n\r\n")
        assert received == b"3\r\nabc\r\n0\r\n\r\n"
        assert b"hecksum" not in head
        assert b"mine" not in head
        assert b"evil" not in head


async def test_rule_07_an_answers_trailers_are_dropped_whole(entrance: Entrance, caller: Caller) -> None:
    trailers = b"X-Checksum: tok_abcdefgh\r\nSet-Cookie: a=b\r\nLocation: //evil.test/\r\n"
    entrance.service.script = [b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n" + trailers + b"\r\n", OK]
    answer = await caller.ask(entrance.request())
    assert answer.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert b"hecksum" not in answer
    assert (await caller.ask(entrance.request())).endswith(b"ok")


async def test_rule_10_pipelined_requests_are_answered_in_their_order(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [OK.replace(b"ok", b"%02d" % number) for number in range(5)]
    post = entrance.request("POST", "/2", fields=b"Content-Length: 3\r\n", content=b"abc")
    parts = [entrance.request(path=f"/{number}") for number in range(5)]
    parts[2] = post
    await caller.send(b"".join(parts))
    answers = [await caller.receive() for _ in range(5)]
    assert [answer[-2:] for answer in answers] == [b"00", b"01", b"02", b"03", b"04"]
    assert [request.split()[1] for request in entrance.requests] == [b"/%d" % number for number in range(5)]
    assert entrance.requests[2].endswith(b"\r\n\r\nabc")


async def test_rule_10_an_early_next_request_waits_its_turn(entrance: Entrance, caller: Caller) -> None:
    go_on = asyncio.Event()

    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(OK)
        await writer.drain()

    entrance.service.script = [slow, OK]
    await caller.send(entrance.request(path="/1") + entrance.request(path="/2"))
    await entrance.service.arrived.wait()
    await (await entrance.open()).ask(entrance.request(path="/another-callers"))
    assert [request.split()[1] for request in entrance.requests] == [b"/1", b"/another-callers"]
    go_on.set()
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).endswith(b"ok")
    assert entrance.requests[2].split()[1] == b"/2"


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("sent", ["a request", "two requests", "half its content", "an upgrade", "an upgrade and more"])
async def test_rule_10_a_caller_that_goes_away_ends_the_upstream_request(
    entrance: Entrance, caller: Caller, sent: str
) -> None:
    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"abc" if "content" in sent else b"\r\n\r\n")
        entrance.service.arrived.set()
        await reader.read()

    entrance.service.raw = listen
    match sent:
        case "a request":
            await caller.send(entrance.request())
        case "two requests":
            await caller.send(entrance.request() + entrance.request(path="/never"))
        case "half its content":
            await caller.send(entrance.request("POST", fields=b"Content-Length: 6\r\n", content=b"abc"))
        case "an upgrade":
            await caller.send(entrance.request(fields=UPGRADE))
        case _:
            await caller.send(entrance.request(fields=UPGRADE) + b"early")
    await entrance.service.arrived.wait()
    await caller.send(b"and more, which nobody reads" if "two" in sent else b"")
    caller.writer.transport.abort()
    async with asyncio.timeout(5):
        await entrance.service.closed.wait()
    assert entrance.service.connections == 1, "and what had waited behind it went nowhere"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n", CHUNKED], ids=["length", "chunks"])
async def test_rule_10_an_early_answer_is_relayed_at_once_and_the_connection_ends(
    entrance: Entrance, caller: Caller, framing: bytes
) -> None:
    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    entrance.service.raw = impatient
    content = b"3\r\nabc\r\n" if framing == CHUNKED else b"abc"
    answer = await caller.ask(entrance.request("POST", fields=framing, content=content))
    assert answer.startswith(b"HTTP/1.1 413 Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    await assert_ends(caller)
    await entrance.service.closed.wait()


REQUESTS = {
    "GET": ("GET", b"", b""),
    "POST": ("POST", b"Content-Length: 3\r\n", b"abc"),
    "chunks": ("PATCH", CHUNKED, b"3\r\nabc\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "fields", "content"), REQUESTS.values(), ids=REQUESTS)
async def test_rule_11_a_connection_that_was_closed_as_it_was_reused_is_replaced_once(
    entrance: Entrance, caller: Caller, method: str, fields: bytes, content: bytes
) -> None:
    entrance.service.script = [OK, leave, OK]
    await caller.ask(entrance.request())
    request = entrance.request(method, "/v1/again", fields=fields, content=content)
    assert (await caller.ask(request)).endswith(b"ok")
    _, first, second = entrance.requests
    assert first == second
    assert entrance.service.connections == 2


async def test_rule_11_it_is_not_tried_a_third_time(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [OK, leave]
    await caller.ask(entrance.request())
    assert problem(await caller.ask(entrance.request())) == (502, "upstream_protocol")
    assert len(entrance.requests) == 3


async def test_rule_11_a_new_connection_that_was_closed_is_not_tried_again(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [leave]
    assert problem(await caller.ask(entrance.request())) == (502, "upstream_protocol")
    assert len(entrance.requests) == 1


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\n\r\n"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_rule_11_what_was_answered_in_part_is_not_tried_again(
    entrance: Entrance, caller: Caller, begun: bytes, method: str
) -> None:
    async def begin(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await writer.drain()
        writer.close()

    entrance.service.script = [OK, begin]
    await caller.ask(entrance.request())
    await caller.send(entrance.request(method))
    if b"103" in begun:
        await caller.receive()
    assert problem(await caller.receive()) == (502, "upstream_protocol")
    assert len(entrance.requests) == 2


async def test_rule_11_content_that_is_no_longer_at_hand_is_not_sent_again(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [OK, leave]
    await caller.ask(entrance.request())
    size = 2_000_000
    request = entrance.request("POST", fields=b"Content-Length: %d\r\n" % size, content=bytes(size))
    assert problem(await caller.ask(request)) == (502, "upstream_protocol")
    assert len(entrance.requests) == 2
