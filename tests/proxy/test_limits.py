"""Limits of size, count and time: reached, each is said, and nothing else suffers."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from tests.proxy.harness import Gateway, Service, running, settings


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


@pytest.mark.parametrize(
    "headers",
    [b"X-A: " + b"a" * 70_000 + b"\r\n", b"".join(b"X-%d: 1\r\n" % number for number in range(200))],
    ids=["bytes", "count"],
)
async def test_header_fields_over_a_limit_are_too_large(gateway: Gateway, headers: bytes) -> None:
    caller = await gateway.open()
    answer = await caller.ask(gateway.request(headers=headers))
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert code(answer) == "headers_too_large"
    assert await caller.rest() == b""
    await caller.close()


async def test_a_head_without_end_is_cut_off_at_the_limit(gateway: Gateway) -> None:
    caller = await gateway.open()
    await caller.send(b"GET http://ok.test/ HTTP/1.1\r\nX-A: " + b"a" * 70_000)
    assert (await caller.receive()).startswith(b"HTTP/1.1 431 ")
    await caller.close()


async def test_a_url_without_end_is_cut_off_at_the_limit(gateway: Gateway) -> None:
    caller = await gateway.open()
    await caller.send(b"GET http://ok.test/" + b"a" * 70_000)
    assert (await caller.receive()).startswith(b"HTTP/1.1 431 ")
    await caller.close()


async def test_a_connection_over_the_limit_is_told_so(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, limits={"connections": 1}), service) as gateway:
        gateway.connect()
        first = await gateway.open()
        await first.ask(gateway.request())
        second = await gateway.open()
        answer = await second.receive()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert code(answer) == "overloaded"
        assert (await first.ask(gateway.request())).endswith(b"ok")
        await first.close()
        await second.close()


async def test_a_tunnel_over_the_limit_is_refused(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, limits={"tunnels": 1}), service) as gateway:
        gateway.connect()
        connect = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % service.port + gateway.request().split(b"\r\n", 1)[1]
        first, second = await gateway.open(), await gateway.open()
        assert (await first.ask(connect)).startswith(b"HTTP/1.1 200 ")
        assert code(await second.ask(connect)) == "overloaded"
        await first.close()
        await second.close()


async def test_a_head_that_does_not_come_in_time_is_answered_408(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, timeouts={"request_header": "100ms"}), service) as gateway:
        caller = await gateway.open()
        await caller.send(b"GET http://ok.test/ HT")
        assert (await caller.receive()).startswith(b"HTTP/1.1 408 ")
        assert await caller.rest() == b""
        await caller.close()


async def test_a_connection_that_says_nothing_is_closed_without_a_word(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, timeouts={"request_header": "100ms"}), service) as gateway:
        caller = await gateway.open()
        assert await caller.rest() == b""
        await caller.close()


async def test_an_idle_connection_is_closed(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, timeouts={"idle": "100ms"}), service) as gateway:
        gateway.connect()
        caller = await gateway.open()
        await caller.ask(gateway.request())
        assert await caller.rest() == b""
        await caller.close()


async def test_content_that_stalls_is_given_up(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, timeouts={"idle": "100ms"}), service) as gateway:
        gateway.connect()
        caller = await gateway.open()
        answer = await caller.ask(gateway.request("POST", headers=b"Content-Length: 10\r\n", content=b"abc"))
        assert answer.startswith(b"HTTP/1.1 408 ")
        await caller.close()


async def test_an_upstream_that_does_not_answer_is_504(tmp_path: Path, service: Service) -> None:
    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    service.script = [never]
    async with running(settings(tmp_path, timeouts={"response_header": "100ms"}), service) as gateway:
        gateway.connect()
        caller = await gateway.open()
        answer = await caller.ask(gateway.request())
        assert answer.startswith(b"HTTP/1.1 504 ")
        assert code(answer) == "upstream_timeout"
        await caller.close()


async def test_an_answer_that_stalls_is_cut(tmp_path: Path, service: Service) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        await reader.read()

    service.script = [stall]
    async with running(settings(tmp_path, timeouts={"idle": "100ms"}), service) as gateway:
        gateway.connect()
        caller = await gateway.open()
        await caller.send(gateway.request())
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        await caller.close()


async def test_a_slow_reader_holds_upstream_back(gateway: Gateway) -> None:
    sent = 0

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
            moved.set()

    moved = asyncio.Event()
    gateway.service.script = [endless]
    caller = await gateway.open()
    await caller.send(gateway.request())
    await caller.reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(TimeoutError):
        while True:
            moved.clear()
            await asyncio.wait_for(moved.wait(), 0.3)
    assert sent < 20_000_000, "no more than what the sockets' buffers hold was taken from upstream"
    await caller.close()


async def test_a_slow_upstream_holds_the_caller_back(gateway: Gateway) -> None:
    async def deaf(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await forever.wait()

    forever = asyncio.Event()
    gateway.service.raw = deaf
    caller = await gateway.open()
    await caller.send(gateway.request("POST", headers=b"Content-Length: 100000000\r\n"))
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 100_000_000:
            caller.writer.write(b"x" * 100_000)
            await asyncio.wait_for(caller.writer.drain(), 0.5)
            sent += 100_000
    assert sent < 20_000_000
    caller.writer.transport.abort()
    forever.set()


async def test_stopping_lets_what_runs_come_to_its_end(gateway: Gateway) -> None:
    go_on = asyncio.Event()

    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    gateway.service.script = [slow]
    busy, idle = await gateway.open(), await gateway.open()
    await busy.send(gateway.request())
    await gateway.service.arrived.wait()
    stopping = asyncio.create_task(gateway.server.stop(5))
    assert await idle.rest() == b""
    go_on.set()
    answer = await busy.receive()
    assert answer.endswith(b"ok")
    assert b"\r\nConnection: close\r\n" in answer
    await stopping
    await busy.close()
    await idle.close()


async def test_content_of_which_no_byte_comes_is_given_up(tmp_path: Path, service: Service) -> None:
    async with running(settings(tmp_path, timeouts={"idle": "100ms"}), service) as gateway:
        gateway.connect()
        caller = await gateway.open()
        async with asyncio.timeout(5):
            answer = await caller.ask(gateway.request("POST", headers=b"Content-Length: 10\r\n"))
        assert answer.startswith(b"HTTP/1.1 408 ")
        await caller.close()


@pytest.mark.parametrize("trailers", [b"X: " + b"x" * 70_000, b"X: xxxxxx\r\n" * 7_000], ids=["long", "many"])
async def test_trailers_without_end_are_too_large(gateway: Gateway, trailers: bytes) -> None:
    caller = await gateway.open()
    start = gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n", content=b"1\r\nx\r\n0\r\n")
    await caller.send(start)
    for at in range(0, len(trailers), 1000):
        await caller.send(trailers[at : at + 1000])
        await asyncio.sleep(0)
    assert code(await caller.receive()) == "headers_too_large"
    await caller.close()


async def test_a_fault_in_one_deadline_leaves_the_others_to_be_looked_at(tmp_path: Path, service: Service) -> None:
    class Broken:
        def sweep(self, now: float) -> None:
            raise LookupError(now)

        def drain(self) -> None:
            """Nothing is open here."""

    async with running(settings(tmp_path, timeouts={"request_header": "700ms"}), service) as gateway:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        broken = Broken()
        gateway.server._listener.joined(broken)
        caller = await gateway.open()
        async with asyncio.timeout(5):
            assert await caller.rest() == b""
        gateway.server._listener.left(broken)
        await caller.close()
