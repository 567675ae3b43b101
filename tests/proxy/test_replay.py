"""A 401, a new token, the same request again (design.md, "Tokens"): nothing of the first attempt reaches the second."""

import asyncio
from dataclasses import replace

import pytest

from gateway.proxy.content import Collector, Content
from tests.proxy.harness import OK, Caller, Gateway, read_message

REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nagain"


async def test_a_connection_whose_request_was_answered_401_before_its_end_is_not_used_again(
    gateway: Gateway, caller: Caller
) -> None:
    """Else upstream would take the replayed head for the rest of the first content, and its tail for a request."""
    live = gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _: replace(live, refreshable=True)
    gateway.vault.hold = asyncio.Event()
    heads: list[bytes] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heads:
            heads.append(await read_message(reader))
            writer.write(OK)
            await writer.drain()
            return
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(REFUSED[:-1])
        begun.set()
        await go_on.wait()
        writer.write(REFUSED[-1:])
        await writer.drain()
        answered.set()
        rest.append(await reader.read())

    rest: list[bytes] = []
    answered = asyncio.Event()
    gateway.service.raw = early
    await caller.send(gateway.request("POST", headers=b"Content-Length: 6\r\n", content=b"abc"))
    await begun.wait()
    while not gateway.vault.refreshes:  # noqa: ASYNC110 - the vault under test has no event for it
        await asyncio.sleep(0.01)
    await caller.send(b"def")
    await asyncio.sleep(0.05)
    go_on.set()
    await answered.wait()
    await asyncio.sleep(0.05)
    gateway.vault.hold.set()
    async with asyncio.timeout(5):
        assert (await caller.receive()).endswith(b"ok")
    assert heads[1].endswith(b"\r\n\r\nabcdef")
    assert gateway.service.connections == 2
    assert not any(b"HTTP/1.1" in piece for piece in rest)


async def test_a_401_that_broke_off_while_it_was_held_is_not_passed_on_as_whole(
    gateway: Gateway, caller: Caller
) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.hold = asyncio.Event()

    async def broken(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REFUSED[:-2])
        await writer.drain()
        writer.close()

    gateway.service.script = [broken, OK]
    await caller.send(gateway.request())
    await gateway.service.closed.wait()
    await asyncio.sleep(0.05)
    gateway.vault.hold.set()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionResetError):
            await caller.rest()


async def test_what_goes_into_the_body_is_rendered_anew_for_the_replay(gateway: Gateway, caller: Caller) -> None:
    policy = gateway.policy(inject='[inject.body]\nkey = "{{ api_key }}"\n')
    gateway.connect(policy, refreshable=True)
    gateway.service.script = [REFUSED, OK]

    def renew(_live: object) -> object:
        return gateway.connect(policy, secret="tok_renewed", refreshable=True)

    gateway.vault.refreshed = renew  # type: ignore[assignment]
    content = b'{"a": 1}'
    headers = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
    assert (await caller.ask(gateway.request("POST", headers=headers, content=content))).endswith(b"ok")
    assert b"tok_abcdefgh" in gateway.service.requests[0]
    assert gateway.service.requests[1].endswith(b'{"a": 1,"key":"tok_renewed"}')


@pytest.mark.parametrize(("refreshable", "replayed"), [(True, True), (False, False)])
async def test_a_large_body_is_kept_where_a_401_may_ask_for_it_again_and_not_elsewhere(
    gateway: Gateway, caller: Caller, *, refreshable: bool, replayed: bool
) -> None:
    live = gateway.connect(refreshable=refreshable)
    gateway.vault.refreshed = lambda _: live
    gateway.service.script = [REFUSED, OK]
    content = bytes(100 * 1024)
    answer = await caller.ask(
        gateway.request("POST", headers=b"Content-Length: %d\r\n" % len(content), content=content)
    )
    assert answer.startswith(b"HTTP/1.1 200" if replayed else b"HTTP/1.1 401")
    assert gateway.vault.refreshes == int(replayed)


def test_what_is_kept_of_a_body_is_forgotten_once_it_is_over_the_limit() -> None:
    content = Content(keep=1_000_000, pause=lambda: None, resume=lambda: None)
    content.keep_at_most(10)
    content.flow_to(Collector(limit=100, done=lambda _: None))
    content.feed(b"x" * 10)
    assert content.replayable
    content.feed(b"x")
    assert not content.replayable
