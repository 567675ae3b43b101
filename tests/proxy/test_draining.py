"""The end of a listener: what is under way ends well, what is idle goes, who has just come is not turned away."""

import asyncio
import socket
import ssl
from contextlib import ExitStack

import pytest

from tests.proxy.harness import OK, Answer, Caller, Gateway
from tests.proxy.test_tunnel import SWITCH, connect, inside, secure, trusting

__all__ = ["secure"]  # a fixture

LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 gateway-test\r\nConnection: close\r\n\r\nok"


def held(asked: asyncio.Event, go_on: asyncio.Event, *, begun: bytes = b"", rest: bytes = OK) -> Answer:
    """An answer of which the rest comes when the test lets it."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        asked.set()
        await go_on.wait()
        writer.write(rest)

    return answer


async def test_what_is_under_way_ends_and_says_that_it_is_the_last_and_what_is_new_is_answered(
    gateway: Gateway, caller: Caller
) -> None:
    """Its head says so. Where that has gone out already, the next answer's does."""
    idle, fresh, early, content = [await gateway.open() for _ in range(4)]
    assert (await idle.ask(gateway.request())).endswith(b"ok")
    asked, go_on = asyncio.Event(), asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"
    begun = held(asked, go_on, begun=head, rest=b"lf")
    gateway.service.script = [begun, begun, held(asked, go_on), OK]
    for one in (early, content):
        await one.send(gateway.request())
        assert b"Connection" not in await one.reader.readuntil(b"ha")
    asked.clear()
    await caller.send(gateway.request() + gateway.request())  # the second is pipelined, and may be sent again
    await asked.wait()
    port = gateway.port
    stopping = asyncio.create_task(gateway.server.stop(20.0))
    while gateway.server.addresses and gateway.server._servers[0].is_serving():  # noqa: ASYNC110 - a turn or two
        await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await fresh.ask(gateway.request()) == LAST
    assert await fresh.rest() == b""
    assert await idle.rest() == b""
    assert not stopping.done()
    go_on.set()
    assert await caller.rest() == LAST
    assert await early.reader.readexactly(2) == b"lf"
    assert await early.ask(gateway.request()) == LAST
    assert await early.rest() == b""
    assert await content.rest() == b"lf"
    for one in (idle, fresh, early, content, caller):
        await one.close()
    await stopping


async def test_a_tunnel_that_is_asked_for_at_the_end_has_its_answer(gateway: Gateway, caller: Caller) -> None:
    """Also where nothing else is open: from hand to hand it is nobody's for a moment."""
    stopping = asyncio.create_task(gateway.server.stop(20.0))
    while not gateway.server._listener.draining:  # noqa: ASYNC110 - a turn or two
        await asyncio.sleep(0)
    assert (await caller.ask(connect(gateway.service.port))).startswith(b"HTTP/1.1 200 ")
    assert await caller.ask(inside(gateway.service.port)) == LAST
    assert await caller.rest() == b""
    await stopping


async def test_a_socket_that_is_upgraded_at_the_end_is_closed_at_once(gateway: Gateway, caller: Caller) -> None:
    """As one is that was upgraded before: it has no end of its own."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    gateway.service.script = [held(asked, go_on, rest=SWITCH)]
    await caller.send(gateway.request(headers=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
    await asked.wait()
    stopping = asyncio.create_task(gateway.server.stop(20.0))
    while not gateway.server._listener.draining:  # noqa: ASYNC110 - a turn or two
        await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(5.0):
        assert (await caller.rest()).startswith(b"HTTP/1.1 101 ")
        await stopping


async def test_what_has_been_silent_for_long_goes_at_once(gateway: Gateway, caller: Caller) -> None:
    await caller.ask(gateway.request())
    (one,) = gateway.server._listener._open
    one.deadline -= 2.0  # type: ignore[attr-defined] - as if its answer had been so long ago
    async with asyncio.timeout(0.4):  # a sweep comes by twice a second: it isn't waited for
        await gateway.server.stop(20.0)
    assert await caller.rest() == b""


async def test_who_waits_to_be_accepted_is_taken_in_first(gateway: Gateway) -> None:
    """They have come before the end, whatever else the loop had to do."""
    with ExitStack() as stack:
        address = ("127.0.0.1", gateway.port)
        callers = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(20)]
        for one in callers:
            one.sendall(gateway.request())
        await gateway.server.stop(20.0)
        assert [one.recv(12) for one in callers] == [b"HTTP/1.1 200"] * 20


async def test_what_does_not_end_in_time_is_cut_and_never_ends_cleanly(gateway: Gateway, caller: Caller) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    gateway.service.script = [held(asked, go_on, begun=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")]
    await caller.send(gateway.request())
    await caller.reader.readuntil(b"ha")
    silent = await gateway.open()
    await silent.ask(connect(gateway.service.port))
    await silent.send(b"\x16")  # a handshake has begun
    await gateway.server.stop(0.1)
    with pytest.raises(ConnectionResetError):
        await caller.rest()
    assert await silent.rest() == b""
    go_on.set()
    await silent.close()


async def test_the_inside_of_a_tunnel_ends_with_its_answer_and_a_goodbye(secure: Gateway) -> None:
    """RFC 8446 §6.1: without close_notify the caller couldn't tell the end from a cut."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    secure.service.script = [OK, held(asked, go_on)]
    port, service = secure.port, secure.service.port
    context = trusting(secure)

    def shaken() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port), 20)
        plain.sendall(connect(service))
        assert plain.recv(100) == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def rest(tunnel: ssl.SSLSocket) -> bytes:
        said = b""
        with tunnel:
            while piece := tunnel.recv(1000):  # raises SSLEOFError where it is cut
                said += piece
        return said

    idle, busy = await asyncio.to_thread(shaken), await asyncio.to_thread(shaken)
    await asyncio.to_thread(idle.sendall, inside(service))
    assert (await asyncio.to_thread(idle.recv, 1000)).endswith(b"ok")
    await asyncio.to_thread(busy.sendall, inside(service))
    await asked.wait()
    stopping = asyncio.create_task(secure.server.stop(20.0))
    assert await asyncio.to_thread(rest, idle) == b""
    go_on.set()
    assert await asyncio.to_thread(rest, busy) == LAST
    await stopping
