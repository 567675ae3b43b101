"""What is under way ends when it may not go on: what streams or is being sent, a WebSocket, a request that waits."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.errors import Refusal
from gateway.policy.match import Matcher
from gateway.store.rows import Status
from tests.proxy.harness import Caller, Gateway

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"

NEEDED = Refusal(code="reauthorization_required", detail="The provider no longer takes it.")
TAKEN_AWAY: dict[str, Callable[[Gateway], object]] = {
    "client revoked": lambda gateway: gateway.access.revoke(),
    "connection gone": lambda gateway: gateway.vault.lives.clear(),
    "connection gone, not loaded": lambda gateway: (gateway.vault.unloaded.add("crm-ann"), gateway.vault.lives.clear()),
    "a person is needed": lambda gateway: gateway.connect(status=Status.NEEDS_REAUTHORIZATION, refusal=NEEDED),
    "policy narrower": lambda gateway: gateway.connect(gateway.policy(allow='deny = ["127.0.0.1/v1"]')),
    "policy narrower, not loaded": lambda gateway: (
        gateway.connect(gateway.policy(allow='deny = ["127.0.0.1/v1"]')),
        gateway.vault.unloaded.add("crm-ann"),
    ),
    "method no more": lambda gateway: gateway.connect(gateway.policy(allow='methods = ["PUT"]')),
}


def going_on(first: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    """Answer with `first`, then stay until the gateway goes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await reader.read()

    return answer


@pytest.mark.parametrize("take_away", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
@pytest.mark.parametrize(("headers", "first"), [(b"", STREAM), (UPGRADE, SWITCH)], ids=["answer", "websocket"])
async def test_it_is_cut_at_both_ends(
    gateway: Gateway, caller: Caller, headers: bytes, first: bytes, take_away: Callable[[Gateway], object]
) -> None:
    gateway.service.script = [going_on(first)]
    await caller.send(gateway.request(headers=headers))
    await caller.reader.readuntil(b"\r\n\r\n")
    take_away(gateway)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):
            await caller.rest()
        await gateway.service.closed.wait()


async def test_content_that_is_being_sent_is_refused(gateway: Gateway, caller: Caller) -> None:
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"abc")
        asked.set()
        await reader.read()

    gateway.service.raw = listen
    await caller.send(gateway.request("POST", headers=b"Content-Length: 9\r\n", content=b"abc"))
    await asked.wait()
    gateway.access.revoke()
    assert (await caller.receive()).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("take_away", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
async def test_content_that_is_gathered_goes_nowhere(
    gateway: Gateway, caller: Caller, take_away: Callable[[Gateway], object]
) -> None:
    """A caller sends the last byte when it likes: long after it was decided that the first may come."""
    gateway.connect(gateway.policy(inject='[inject.body]\ntoken = "{{ api_key }}"\n'))
    headers = b"Content-Type: application/json\r\nContent-Length: 7\r\nExpect: 100-continue\r\n"
    await caller.send(gateway.request("POST", headers=headers))
    assert (await caller.receive()).startswith(b"HTTP/1.1 100 ")
    await caller.send(b'{"a"')
    take_away(gateway)
    async with asyncio.timeout(10):
        assert (await caller.receive()).startswith(b"HTTP/1.1 403 ")
    await caller.send(b":1}")
    assert await caller.rest() == b""
    assert gateway.service.requests == []


@pytest.mark.parametrize("take_away", TAKEN_AWAY.values(), ids=TAKEN_AWAY)
async def test_what_waits_for_a_new_token_is_not_sent(
    gateway: Gateway, caller: Caller, take_away: Callable[[Gateway], object]
) -> None:
    gateway.connect(expires_at=1.0)
    gateway.vault.hold = asyncio.Event()
    await caller.send(gateway.request())
    async with asyncio.timeout(10):
        await gateway.vault.asked.wait()
        take_away(gateway)
        assert (await caller.receive()).startswith(b"HTTP/1.1 403 ")
    assert gateway.service.requests == []


@pytest.mark.parametrize("change", ["policy", "token", "token, not loaded"])
async def test_content_that_was_gathered_goes_by_the_policy_and_the_token_of_now(
    gateway: Gateway, caller: Caller, change: str
) -> None:
    inject = '[inject.body]\ntoken = "{{ api_key }}"\n'
    gateway.connect(gateway.policy(inject=inject))
    headers = b"Content-Type: application/json\r\nContent-Length: 7\r\nExpect: 100-continue\r\n"
    await caller.send(gateway.request("POST", headers=headers))
    await caller.receive()
    if change == "policy":
        gateway.connect(gateway.policy(inject=inject, allow='deny = ["127.0.0.1/v1"]'))
    else:
        gateway.connect(gateway.policy(inject=inject), secret="tok_another1")
    if change.endswith("not loaded"):
        gateway.vault.unloaded.add("crm-ann")
    answer = await caller.ask(b'{"a":1}')
    if change == "policy":
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert gateway.service.requests == []
    else:
        assert gateway.service.requests[0].endswith(b'{"a":1,"token":"tok_another1"}')


async def test_a_new_token_comes_with_the_policy_of_now(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(expires_at=1.0)
    gateway.vault.refreshed = lambda live: replace(
        live, token_version=2, expires_at=None, matcher=Matcher((), (), None, None)
    )
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 403 ")
    assert gateway.service.requests == []


@pytest.mark.parametrize(
    "change",
    [
        lambda gateway: gateway.connect(secret="tok_another1"),
        lambda gateway: gateway.connect(gateway.policy(allow='deny = ["127.0.0.1/v2"]')),
        lambda gateway: gateway.vault.unloaded.add("crm-ann"),
    ],
    ids=["new token", "policy that still allows it", "not loaded"],
)
async def test_it_goes_on_where_it_still_may(
    gateway: Gateway, caller: Caller, change: Callable[[Gateway], object]
) -> None:
    go_on = asyncio.Event()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        await go_on.wait()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    gateway.service.script = [answer]
    await caller.send(gateway.request())
    await caller.reader.readuntil(b"ok\r\n")
    change(gateway)
    swept = asyncio.Event()
    looked = gateway.server._listener.sweep
    rounds = 0

    def sweep() -> None:
        nonlocal rounds
        looked()
        rounds += 1
        if rounds == 3:
            swept.set()

    gateway.server._listener.sweep = sweep  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        await swept.wait()
    go_on.set()
    assert await caller.reader.readexactly(5) == b"0\r\n\r\n"
