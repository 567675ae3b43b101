"""Requests that come before their turn: what was said first is answered first, and nothing hangs (http-rules.md 10)."""

import asyncio
from typing import cast

from gateway.proxy.caller import CallerConnection
from tests.proxy.harness import OK, Caller, Gateway
from tests.proxy.test_tunnel import code


async def held(gateway: Gateway) -> asyncio.Event:
    """The service answers its first request when the event is set."""
    go_on = asyncio.Event()

    async def first(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(OK)
        await writer.drain()

    gateway.service.script = [first, OK]
    return go_on


async def test_content_that_is_still_coming_when_its_turn_comes_is_waited_for(gateway: Gateway, caller: Caller) -> None:
    go_on = await held(gateway)
    post = gateway.request("POST", headers=b"Content-Length: 6\r\n", content=b"abc")
    await caller.send(gateway.request() + post)
    await gateway.service.arrived.wait()
    go_on.set()
    assert (await caller.receive()).endswith(b"ok")
    await caller.send(b"def")
    async with asyncio.timeout(5):
        assert (await caller.receive()).endswith(b"ok")
    assert gateway.service.requests[1].endswith(b"\r\n\r\nabcdef")


async def test_behind_a_waiting_request_that_is_refused_the_next_is_read(gateway: Gateway, caller: Caller) -> None:
    go_on = await held(gateway)
    await caller.send(gateway.request() + b"GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n")
    await gateway.service.arrived.wait()
    go_on.set()
    assert (await caller.receive()).endswith(b"ok")
    assert code(await caller.receive()) == "target_invalid"
    async with asyncio.timeout(5):
        assert (await caller.ask(gateway.request())).endswith(b"ok")


async def test_a_waiting_request_whose_content_is_malformed_never_goes_out(gateway: Gateway, caller: Caller) -> None:
    go_on = await held(gateway)
    broken = gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n", content=b"3\r\nabc\r\nzz\r\n")
    await caller.send(gateway.request() + broken)
    await gateway.service.arrived.wait()
    go_on.set()
    assert (await caller.receive()).endswith(b"ok")
    async with asyncio.timeout(5):
        assert code(await caller.receive()) == "request_rejected"
        assert await caller.rest() == b""
    assert len(gateway.service.requests) == 1


async def test_what_comes_behind_a_waiting_offer_waits_outside_whatever_upstream_has_room_for(
    gateway: Gateway, caller: Caller
) -> None:
    """Else it would be gathered without end: nobody knows yet whom it is for."""
    go_on = await held(gateway)
    await caller.send(gateway.request() + gateway.request(headers=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
    await gateway.service.arrived.wait()
    (connection,) = gateway.server._listener._open
    assert isinstance(connection, CallerConnection)
    assert connection._exchange is not None
    connection._exchange.upstream_paused()
    connection._exchange.upstream_resumed()
    assert not cast(asyncio.Transport, connection._wire).is_reading()
    go_on.set()
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).endswith(b"ok")


async def test_many_h2c_offers_in_one_read_are_each_answered(gateway: Gateway, caller: Caller) -> None:
    """The parser stops behind each: going on must not go deeper each time."""
    headers = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
    await caller.send(b"".join(gateway.request(path=f"/{number}", headers=headers) for number in range(60)))
    async with asyncio.timeout(10):
        for _ in range(60):
            assert (await caller.receive()).endswith(b"ok")
    assert [request.split()[1] for request in gateway.service.requests] == [b"/%d" % number for number in range(60)]


async def test_a_caller_that_leaves_while_its_pipelined_request_waits_for_upstream_is_noticed(
    gateway: Gateway, caller: Caller
) -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        second.set()
        await reader.read()
        left.set()

    second = asyncio.Event()
    gateway.service.script = [OK, wait]
    await caller.send(gateway.request() + gateway.request())
    await second.wait()
    await caller.close()
    async with asyncio.timeout(5):
        await left.wait()
