"""Whoever reads slowly holds the other side back, and nobody waits for ever because of it (http-rules.md 10, 14)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.egress import Egress
from tests.proxy.harness import OK, Caller, Gateway, Service, running, settings

_BIG = 50_000_000


@pytest.fixture
async def narrow(tmp_path: Path, service: Service) -> AsyncIterator[Gateway]:
    """A gateway whose sockets to callers take next to nothing: what a caller doesn't read piles up in the gateway."""
    async with running(settings(tmp_path, timeouts={"idle": "2s"}), service) as one:
        one.connect()
        take_little(one.server._servers[0], socket.SO_SNDBUF)
        yield one


def take_little(server: asyncio.Server, option: int) -> None:
    """Have the sockets that a server accepts hold a few KB only, sent or received."""
    listening = socket.socket(fileno=os.dup(server.sockets[0].fileno()))
    listening.setsockopt(socket.SOL_SOCKET, option, 4096)
    listening.close()


async def slow_reader(gateway: Gateway) -> Caller:
    """A caller that takes a few KB and then nothing until it is read from."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
    return Caller(*await asyncio.open_connection(sock=sock, limit=2048))


def answer(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


async def paused(gateway: Gateway) -> None:
    """Return when the gateway has noticed that its caller doesn't read."""
    async with asyncio.timeout(5):
        while not any(getattr(one, "write_paused", False) for one in gateway.server._listener._open):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_upstream_connection_held_back_at_its_answers_end_serves_the_next(narrow: Gateway) -> None:
    narrow.service.script = [answer(100_000), OK]
    first, second = await slow_reader(narrow), await narrow.open()
    await first.send(narrow.request())
    await paused(narrow)
    async with asyncio.timeout(5):
        assert (await second.ask(narrow.request())).endswith(b"ok")
    assert narrow.service.connections == 1
    await first.close()
    await second.close()


async def test_an_answer_that_waits_behind_an_unread_one_is_held_back_upstream(narrow: Gateway) -> None:
    sent = 0
    moved = asyncio.Event()

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _BIG)
        while sent < _BIG:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
            moved.set()

    narrow.service.script = [answer(100_000), endless]
    caller = await slow_reader(narrow)
    await caller.send(narrow.request() + narrow.request())
    with contextlib.suppress(TimeoutError):
        while True:
            moved.clear()
            await asyncio.wait_for(moved.wait(), 0.5)
    assert sent < _BIG // 2
    caller.writer.transport.abort()


async def test_an_idle_connection_whose_answer_nobody_reads_is_cut_in_the_end(narrow: Gateway) -> None:
    narrow.service.script = [answer(100_000)]
    caller = await slow_reader(narrow)
    await caller.send(narrow.request())
    await paused(narrow)
    async with asyncio.timeout(6):
        while narrow.server._listener._open:  # noqa: ASYNC110 - nothing outside is told
            await asyncio.sleep(0.05)
    caller.writer.transport.abort()


async def test_answers_that_nobody_reads_do_not_pile_up(gateway: Gateway, caller: Caller) -> None:
    """Whoever has no token could else fill the memory with refusals."""
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(100):
        caller.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        await asyncio.sleep(0.005)
    await paused(gateway)
    piled = sum(one._wire.get_write_buffer_size() for one in gateway.server._listener._open)  # type: ignore[attr-defined]
    assert piled < 1_000_000
    caller.writer.transport.abort()


async def test_an_answer_of_another_connection_that_waits_behind_an_unread_one_is_held_back_too(
    narrow: Gateway,
) -> None:
    """The first answer is found unread when the second request is under way already, to a service not yet dialled."""
    sent = 0
    moved = asyncio.Event()

    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _BIG)
        while sent < _BIG:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000
            moved.set()

    fields = b"".join(b"X-%d: %b\r\n" % (number, b"y" * 1000) for number in range(60))
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + fields + b"Content-Length: 16000\r\n\r\n" + b"x" * 16_000
    narrow.service.script = [last, endless]
    caller = await slow_reader(narrow)
    await caller.send(narrow.request() + narrow.request())
    with contextlib.suppress(TimeoutError):
        while True:
            moved.clear()
            await asyncio.wait_for(moved.wait(), 0.5)
    assert sent < _BIG // 2
    caller.writer.transport.abort()


class NarrowEgress(Egress):
    """A way out whose sockets take next to nothing."""

    async def dial(self, host: str, port: int) -> socket.socket:
        await asyncio.sleep(0.05)
        sock = await super().dial(host, port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return sock


async def test_an_upload_is_held_back_where_its_first_piece_is_too_much_already(
    tmp_path: Path, service: Service
) -> None:
    """What came while the service was dialled goes out in one piece; the caller, who waited, must go on waiting."""

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    assert service._server is not None
    take_little(service._server, socket.SO_RCVBUF)
    service.raw = deaf
    sent = 0
    async with running(settings(tmp_path), service, egress=NarrowEgress(allow_networks=["127.0.0.0/8"])) as gateway:
        gateway.connect()
        caller = await gateway.open()
        await caller.send(gateway.request("PUT", headers=b"Content-Length: %d\r\n" % _BIG, content=b"x" * 200_000))
        with contextlib.suppress(TimeoutError):
            while sent < _BIG - 200_000:
                await asyncio.wait_for(caller.send(b"x" * 100_000), 0.5)
                sent += 100_000
        caller.writer.transport.abort()
    assert sent < _BIG // 2
