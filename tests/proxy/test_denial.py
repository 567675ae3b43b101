"""Whoever is slow, endless or many costs no more than its limits say, and the others are served meanwhile."""

import asyncio
import contextlib
import json
import resource
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.cli.programs import serving
from tests.proxy.harness import OK, Caller, Gateway, Service, running, settings

HALF_A_SECOND = {"request_header": "500ms", "response_header": "500ms", "idle": "500ms"}
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def hasty(tmp_path: Path, service: Service) -> AsyncIterator[Gateway]:
    """A gateway that waits for half a second and no longer."""
    async with running(settings(tmp_path, timeouts=HALF_A_SECOND), service) as one:
        one.connect()
        yield one


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a byte at a time, each well within the time that a silence may last, for as long as somebody takes them."""
    with contextlib.suppress(ConnectionError):
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)


def dripping(before: bytes, data: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await drip(writer, data)

    return answer


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


async def in_time(awaitable: Awaitable[bytes]) -> bytes:
    """What comes within a few times of what may be waited."""
    async with asyncio.timeout(5):
        return await awaitable


# Slow callers.


@pytest.mark.parametrize("entrance", ["absolute", "tunnel"])
async def test_a_head_that_comes_byte_by_byte_gets_no_more_time_for_it(hasty: Gateway, entrance: str) -> None:
    caller = await hasty.open()
    head = hasty.request(headers=b"X-Filler: " + b"a" * 500 + b"\r\n")
    if entrance == "tunnel":
        await caller.ask(
            b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % hasty.service.port + hasty.request().split(b"\r\n", 1)[1]
        )
        head = b"GET /v1/users HTTP/1.1\r\nX-Filler: " + b"a" * 500
    sending = asyncio.create_task(drip(caller.writer, head))
    assert code(await in_time(caller.receive())) == "request_timeout"
    await sending
    assert hasty.service.requests == []
    await caller.close()


async def test_a_handshake_that_comes_byte_by_byte_gets_no_more_time_for_it(hasty: Gateway) -> None:
    caller = await hasty.open()
    await caller.ask(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % hasty.service.port + hasty.request().split(b"\r\n", 1)[1])
    sending = asyncio.create_task(drip(caller.writer, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500))
    with contextlib.suppress(ConnectionError):
        assert await in_time(caller.rest()) == b""
    await sending
    await caller.close()


@pytest.mark.parametrize("length", [b"Content-Length: 999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_content_that_is_announced_and_never_comes_is_given_up_and_takes_no_memory(
    hasty: Gateway, length: bytes
) -> None:
    tracemalloc.start()
    callers = [await hasty.open() for _ in range(20)]
    for caller in callers:
        await caller.send(hasty.request("POST", headers=length, content=b"7fffffff\r\nab"))
    for caller in callers:
        assert (await in_time(caller.receive())).startswith(b"HTTP/1.1 408 ")
        await caller.close()
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


# Endless ones.


@pytest.mark.parametrize(
    "piece",
    [b"1;" + b"a" * 1000, b'1;a="' + b"b" * 1000, b"1" + b" " * 1000, b"0" * 1000],
    ids=["extension", "quoted", "blanks", "zeros"],
)
async def test_a_chunks_size_line_without_end_is_refused(gateway: Gateway, caller: Caller, piece: bytes) -> None:
    await caller.send(gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n"))
    sent = 0
    with contextlib.suppress(ConnectionError):
        while not caller.reader._buffer and sent < 1_000_000:  # type: ignore[attr-defined]
            await caller.send(piece if not sent else piece[2:])
            sent += len(piece)
            await asyncio.sleep(0)
    assert sent < 1_000_000
    assert (await in_time(caller.receive()))[9:12] in {b"400", b"431"}


async def test_content_in_the_smallest_pieces_takes_no_more_memory_than_it_is_worth(
    gateway: Gateway, caller: Caller
) -> None:
    """It would be kept for a replay, a megabyte of it, and each piece is worth forty bytes to Python."""
    gateway.connect(refreshable=True)
    arrived = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            data = await reader.read(65536)
            arrived += data.count(b"2\r\n")
            rest = (rest + data)[-5:]
        writer.write(OK)
        await writer.drain()

    gateway.service.raw = count
    await caller.send(gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n"))
    tracemalloc.start()
    for _ in range(100):
        await caller.send(b"2\r\nab\r\n" * 1000)
        await asyncio.sleep(0)
    assert (await caller.ask(b"0\r\n\r\n")).endswith(b"ok")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert arrived > 99_000  # where a piece was cut by a read of ours, it isn't counted


# Slow and endless services.


@pytest.mark.parametrize(
    ("before", "data"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX-Filler: " + b"a" * 500),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n" * 20),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b"a" * 500),
    ],
    ids=["head", "1xx", "field"],
)
async def test_an_answers_head_that_comes_byte_by_byte_gets_no_more_time_for_it(
    hasty: Gateway, before: bytes, data: bytes
) -> None:
    hasty.service.script = [dripping(before, data)]
    caller = await hasty.open()
    await caller.send(hasty.request())
    answer = await in_time(caller.rest())
    assert b"HTTP/1.1 504 " in answer
    await caller.close()


@pytest.mark.parametrize(
    "endless",
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n" * 100),
        (b"HTTP/1.1 200 ", b"reason " * 100),
    ],
    ids=["value", "fields", "reason"],
)
async def test_an_answers_head_without_end_is_an_error(
    gateway: Gateway, caller: Caller, endless: tuple[bytes, bytes]
) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, more = endless
        writer.write(first)
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                writer.write(more)
                await writer.drain()

    gateway.service.script = [answer]
    assert code(await in_time(caller.ask(gateway.request()))) == "upstream_protocol"


@pytest.mark.parametrize("length", [b"999999999999999999", b"9" * 5000])
async def test_an_answer_that_announces_more_than_there_is_costs_nothing(hasty: Gateway, length: bytes) -> None:
    hasty.service.script = [b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nab" % length]
    caller = await hasty.open()
    await caller.send(hasty.request())
    with contextlib.suppress(ConnectionResetError):
        answer = await in_time(caller.rest())
        assert answer.startswith(b"HTTP/1.1 502 ")
    await caller.close()


async def test_an_answer_in_the_smallest_pieces_is_searched_as_if_it_were_in_large_ones(
    gateway: Gateway, caller: Caller
) -> None:
    """To search each of 300,000 pieces by itself would take seconds, in which nobody else is served."""
    gateway.connect(gateway.policy(allow="scrub_body = true"))
    count = 300_000
    gateway.service.script = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count + b"0\r\n\r\n"
    ]
    start = time.process_time()
    assert (await caller.ask(gateway.request())).count(b"x") == count
    assert time.process_time() - start < 2


async def test_an_answer_with_as_many_fields_as_fit_is_relayed_without_delay(gateway: Gateway, caller: Caller) -> None:
    many = b"".join(b"%x: \r\n" % number for number in range(7_000))
    gateway.service.script = [b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 2\r\n\r\nok", OK]
    start = time.process_time()
    for _ in range(5):
        assert (await in_time(caller.ask(gateway.request()))).endswith(b"ok")
    assert time.process_time() - start < 2


# Many.


def test_ten_thousand_idle_callers_leave_the_others_be(tmp_path: Path) -> None:
    """Each has been answered once, and says nothing any more; fewer where there are not so many files for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(10_000, (hard - 400) // 2 if hard != resource.RLIM_INFINITY else 10_000)
    wanted = many + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    request = b"GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n\r\n"
    with serving(tmp_path, {"GATEWAY_LIMITS__CONNECTIONS": str(many)}) as server, contextlib.ExitStack() as stack:
        callers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.proxy), 10)) for _ in range(many - 1)
        ]
        for caller in callers:
            caller.sendall(request)
        for caller in callers:
            assert caller.recv(65536).startswith(b"HTTP/1.1 407 ")
        worst = 0.0
        for _ in range(200):
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.proxy), 10) as another:
                another.sendall(request)
                assert another.recv(65536).startswith(b"HTTP/1.1 407 ")
            worst = max(worst, time.monotonic() - start)
        assert worst < 2
        last = stack.enter_context(socket.create_connection(("127.0.0.1", server.proxy), 10))
        last.sendall(request)
        assert last.recv(65536).startswith(b"HTTP/1.1 407 ")
        with socket.create_connection(("127.0.0.1", server.proxy), 10) as one_too_many:
            assert one_too_many.recv(65536).startswith(b"HTTP/1.1 503 ")
        callers[0].sendall(request)
        assert callers[0].recv(65536).startswith(b"HTTP/1.1 407 ")
