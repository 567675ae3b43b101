"""[limits] and [retry] on real sockets: what reaches the service, and what the caller gets instead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.proxy.harness import OK, Caller, Gateway, Service, read_message

UNWELL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nlate"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
ONE_AT_A_TIME = "[limits]\nwait = 30\n[limits.connection]\nconcurrency = 1\n"
RETRY = "[retry]\nattempts = 3\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def paced(gateway: Gateway, tables: str, **changes: object) -> None:
    gateway.connect(gateway.policy() + tables, **changes)


def in_use(gateway: Gateway) -> int:
    return gateway.limiter._connections["crm-ann"].in_use


async def until_somebody_waits(gateway: Gateway) -> None:
    while not gateway.limiter._connections["crm-ann"]._count:  # noqa: ASYNC110 - the gate has no event for it
        await asyncio.sleep(0)


class Gated:
    """An answer that comes when the test says so."""

    def __init__(self, answer: bytes = OK) -> None:
        self._answer = answer
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun.set()
        await self.go_on.wait()
        writer.write(self._answer)
        await writer.drain()


@contextlib.asynccontextmanager
async def one_under_way(gateway: Gateway) -> AsyncIterator[Gated]:
    """A request that has the only slot for as long as the block lasts."""
    first, other = Gated(), await gateway.open()
    gateway.service.script.insert(0, first)
    await other.send(gateway.request(path="/v1/first"))
    await first.begun.wait()
    yield first
    first.go_on.set()
    assert (await other.receive()).endswith(b"ok")
    await other.close()


# Limits.


async def test_what_is_over_the_rate_is_the_gateway_s_own_429_and_never_reaches_the_service(
    gateway: Gateway, caller: Caller
) -> None:
    paced(gateway, "[limits.connection]\nrequests_per_second = 0.01\nburst = 2\n")
    for _ in range(2):
        assert (await caller.ask(gateway.request())).endswith(b"ok")
    answer = await caller.ask(gateway.request())
    assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b'Proxy-Status: connection-gateway; error=http_request_denied; details="rate_limited"' in answer
    assert b"\r\nRetry-After: 100\r\n" in answer
    assert len(gateway.service.requests) == 2
    assert (dict(gateway.metrics.throttles.items()), in_use(gateway)) == ({("connection",): 1}, 0)


async def test_a_request_waits_for_its_turn_with_its_content_and_all(gateway: Gateway, caller: Caller) -> None:
    """What comes of its content meanwhile goes along."""
    paced(gateway, ONE_AT_A_TIME)
    async with one_under_way(gateway):
        await caller.send(gateway.request("POST", headers=b"Content-Length: 6\r\n", content=b"abc"))
        await until_somebody_waits(gateway)
        await caller.send(b"def")
        assert len(gateway.service.requests) == 1
    assert (await caller.receive()).endswith(b"ok")
    assert gateway.service.requests[1].endswith(b"\r\n\r\nabcdef")


async def test_whoever_lost_its_right_while_it_waited_is_not_let_in(gateway: Gateway, caller: Caller) -> None:
    """Permission is asked again behind every wait, and the slot goes to the next."""
    paced(gateway, ONE_AT_A_TIME)
    async with one_under_way(gateway):
        await caller.send(gateway.request())
        await until_somebody_waits(gateway)
        gateway.access.revoke()
    assert (await caller.receive()).startswith(b"HTTP/1.1 403 ")
    assert len(gateway.service.requests) == 1
    assert in_use(gateway) == 0


async def test_a_token_that_came_while_it_waited_is_used(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, ONE_AT_A_TIME)
    async with one_under_way(gateway):
        await caller.send(gateway.request())
        await until_somebody_waits(gateway)
        paced(gateway, ONE_AT_A_TIME, secret="tok_another1")
    assert (await caller.receive()).endswith(b"ok")
    assert b"Authorization: Bearer tok_another1\r\n" in gateway.service.requests[1]


async def test_a_caller_that_leaves_waits_no_more(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, ONE_AT_A_TIME)
    async with one_under_way(gateway):
        await caller.send(gateway.request())
        await until_somebody_waits(gateway)
        await caller.close()
        while gateway.limiter._connections["crm-ann"]._count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert len(gateway.service.requests) == 1
    assert in_use(gateway) == 0


async def _complete(gateway: Gateway, caller: Caller) -> None:
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def _caller_gone(gateway: Gateway, caller: Caller) -> None:
    answer = Gated()
    gateway.service.script.insert(0, answer)
    await caller.send(gateway.request())
    await answer.begun.wait()
    await caller.close()
    answer.go_on.set()


async def _unreachable(gateway: Gateway, caller: Caller) -> None:
    away = gateway.request().replace(f":{gateway.service.port}".encode(), b":1")
    assert (await caller.ask(away)).startswith(b"HTTP/1.1 502 ")


async def _no_answer(gateway: Gateway, caller: Caller) -> None:
    gateway.service.script.insert(0, b"SMTP\r\n\r\n")
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 502 ")


async def _cut_off(gateway: Gateway, caller: Caller) -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-1])
        await writer.drain()
        writer.close()

    gateway.service.script.insert(0, half)
    await caller.send(gateway.request())
    with pytest.raises(ConnectionResetError):
        await caller.rest()


async def _refreshed(gateway: Gateway, caller: Caller) -> None:
    live = replace(gateway.vault.lives["crm-ann"], refreshable=True)
    gateway.vault.lives["crm-ann"] = live
    gateway.vault.refreshed = lambda _: replace(live, token_version=2)
    gateway.service.script.insert(0, REFUSED)
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def _not_refreshed(gateway: Gateway, caller: Caller) -> None:
    gateway.vault.lives["crm-ann"] = replace(gateway.vault.lives["crm-ann"], refreshable=True)
    gateway.service.script.insert(0, REFUSED)
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 401 ")


async def _upgraded(gateway: Gateway, caller: Caller) -> None:
    """For as long as the socket is open, it is one that is under way."""
    gateway.service.script.insert(0, SWITCH)
    assert (await caller.ask(gateway.request(headers=UPGRADE))).startswith(b"HTTP/1.1 101 ")
    assert in_use(gateway) == 1
    await caller.close()


async def _retried(gateway: Gateway, caller: Caller) -> None:
    gateway.service.script.insert(0, UNWELL)
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def _revoked(gateway: Gateway, caller: Caller) -> None:
    answer = Gated()
    gateway.service.script.insert(0, answer)
    await caller.send(gateway.request())
    await answer.begun.wait()
    clients = dict(gateway.access.clients)
    gateway.access.revoke()
    gateway.server._listener.sweep()
    assert (await caller.receive()).startswith(b"HTTP/1.1 403 ")
    gateway.access.clients.update(clients)
    gateway.access.generation += 1
    answer.go_on.set()


ENDINGS = [
    _complete,
    _caller_gone,
    _unreachable,
    _no_answer,
    _cut_off,
    _refreshed,
    _not_refreshed,
    _upgraded,
    _retried,
    _revoked,
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__.strip("_"))
async def test_however_a_request_ends_its_slot_comes_back(
    gateway: Gateway, caller: Caller, service: Service, ending: object
) -> None:
    retry = RETRY if ending is _retried else ""
    gateway.connect(gateway.policy(urls=f'["{gateway.origin}", "http://127.0.0.1:1"]') + ONE_AT_A_TIME + retry)
    assert callable(ending)
    await ending(gateway, caller)
    other = await gateway.open()
    service.script = [OK]
    assert (await other.ask(gateway.request())).endswith(b"ok")
    assert in_use(gateway) == 0
    await other.close()


async def test_a_replay_behind_a_401_counts_as_one_more_request(gateway: Gateway, caller: Caller) -> None:
    """The service has seen two: where there is no turn for a second one, it isn't sent."""
    paced(gateway, "[limits.connection]\nrequests_per_second = 0.01\nburst = 1\n", refreshable=True)
    live = gateway.vault.lives["crm-ann"]
    gateway.vault.refreshed = lambda _: replace(live, token_version=2)
    gateway.service.script = [REFUSED, OK]
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 429 ")
    assert len(gateway.service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 40\r\nContent-Length: 4\r\n\r\nwait", b"40"),
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n", b"40"),
        (b"HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 40\r\nContent-Length: 0\r\n\r\n", b"40"),
        (b'HTTP/1.1 200 OK\r\nRateLimit: "day";r=0;t=90000\r\nContent-Length: 0\r\n\r\n', b"3600"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n", None),
    ],
)
async def test_a_service_that_wants_to_be_left_alone_is_and_its_answer_goes_through(
    gateway: Gateway, caller: Caller, answer: bytes, waits: bytes | None
) -> None:
    """Also for an empty [limits]; without one, nobody looks."""
    gateway.service.script = [answer, answer, OK]
    via = b"Via: 1.1 gateway-test\r\n"
    assert (await caller.ask(gateway.request())).replace(via, b"") == answer
    paced(gateway, "[limits]\n")
    assert (await caller.ask(gateway.request())).replace(via, b"") == answer
    second = await caller.ask(gateway.request())
    if waits is None:
        assert second.endswith(b"ok")
    else:
        assert second.startswith(b"HTTP/1.1 429 ")
        assert b"Retry-After: %b\r\n" % waits in second
        assert len(gateway.service.requests) == 2


# Retries.


@pytest.mark.parametrize("content", [b"", b"abc", b"x" * 100_000], ids=len)
async def test_what_the_service_could_not_do_is_tried_again(gateway: Gateway, caller: Caller, content: bytes) -> None:
    """The caller sees the answer of the last try alone; each try has the whole request in it."""
    paced(gateway, RETRY)
    gateway.service.script = [UNWELL, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", OK]
    headers = b"Content-Length: %d\r\n" % len(content)
    answer = await caller.ask(gateway.request("PUT", headers=headers, content=content))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert len(set(gateway.service.requests)) == 1
    assert gateway.service.requests[0].endswith(b"\r\n\r\n" + content)
    assert (len(gateway.service.requests), dict(gateway.metrics.retries.items())) == (3, {(): 2})
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def test_who_waits_for_its_next_try_holds_nobody_up(gateway: Gateway, caller: Caller) -> None:
    """Its slot is somebody else's meanwhile; it takes its turn again then."""
    paced(gateway, "[limits.connection]\nconcurrency = 1\n" + RETRY)
    gateway.service.script = [UNWELL.replace(b"\r\n\r\n", b"\r\nRetry-After: 1\r\n\r\n"), OK]
    await caller.send(gateway.request())
    while dict(gateway.metrics.retries.items()) != {(): 1}:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    assert in_use(gateway) == 0
    assert (await caller.receive()).endswith(b"ok")
    assert in_use(gateway) == 0


async def test_an_answer_that_no_try_betters_goes_through(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, RETRY)
    gateway.service.script = [UNWELL]
    assert (await caller.ask(gateway.request())).endswith(b"\r\n\r\nlate")
    assert len(gateway.service.requests) == 3


@pytest.mark.parametrize(
    ("tables", "request_of", "answer"),
    [
        ("", {}, UNWELL),
        (RETRY, {"method": "POST"}, UNWELL),
        (RETRY, {"headers": b"X-HTTP-Method-Override: PATCH\r\n"}, UNWELL),
        (RETRY, {"headers": UPGRADE}, UNWELL),
        (RETRY + 'methods = ["HEAD"]\n', {}, UNWELL),
        (RETRY, {}, b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
        (RETRY, {}, UNWELL.replace(b"\r\n\r\n", b"\r\nRetry-After: 11\r\n\r\n")),
        (RETRY, {}, b"HTTP/1.1 429 Too Many Requests\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: 11\r\n\r\n"),
    ],
    ids=["no retry", "POST", "override", "upgrade", "methods", "status", "Retry-After", "RateLimit"],
)
async def test_nothing_else_is_tried_again(
    gateway: Gateway, caller: Caller, tables: str, request_of: dict[str, bytes], answer: bytes
) -> None:
    """A request that may do something twice, an answer that stands, a wait that is longer than the policy's."""
    paced(gateway, tables)
    gateway.service.script = [answer, OK]
    method = str(request_of.pop("method", "GET"))
    await caller.send(gateway.request(method, **{"headers": b"Content-Length: 0\r\n", **request_of}))
    assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(answer[:12])
    assert len(gateway.service.requests) == 1


async def test_a_request_whose_content_is_no_more_at_hand_is_not_repeated(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, RETRY)
    gateway.service.script = [UNWELL, OK]
    size = 2 * 1024 * 1024
    await caller.send(gateway.request("PUT", headers=b"Content-Length: %d\r\n" % size, content=b"x" * size))
    assert (await caller.receive()).endswith(b"late")
    assert len(gateway.service.requests) == 1


async def test_a_service_that_breaks_off_without_an_answer_is_tried_again(gateway: Gateway, caller: Caller) -> None:
    """Not so where it may have done something."""
    paced(gateway, RETRY)
    answers: list[bytes] = [b"", b"", OK]

    async def flaky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway.service.requests.append(await read_message(reader))
        writer.write(answers.pop(0))
        await writer.drain()

    gateway.service.raw = flaky
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert len(gateway.service.requests) == 3
    answers[:] = [b"", OK]
    answer = await caller.ask(gateway.request("POST", headers=b"Content-Length: 0\r\n"))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert len(gateway.service.requests) == 4


async def test_a_service_that_cannot_be_reached_is_tried_so_often_and_no_more(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(urls='["http://127.0.0.1:1"]') + RETRY)
    answer = await caller.ask(gateway.request().replace(f":{gateway.service.port}".encode(), b":1"))
    assert b'"upstream_connect"' in answer
    assert dict(gateway.metrics.retries.items()) == {(): 2}


async def test_a_try_for_which_there_is_no_turn_is_not_made(gateway: Gateway, caller: Caller) -> None:
    """The caller gets what the service has said, and not that the gateway has no turn."""
    paced(gateway, "[limits.connection]\nrequests_per_second = 0.01\nburst = 2\n" + RETRY)
    gateway.service.script = [UNWELL]
    assert (await caller.ask(gateway.request())).endswith(b"\r\n\r\nlate")
    assert len(gateway.service.requests) == 2
    assert in_use(gateway) == 0


async def test_whoever_lost_its_right_between_two_tries_has_no_second_one(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, RETRY)

    async def last(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway.access.revoke()
        writer.write(UNWELL)
        await writer.drain()

    gateway.service.script = [last, OK]
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 403 ")
    assert len(gateway.service.requests) == 1


async def test_an_answer_is_searched_for_the_secrets_of_every_try(gateway: Gateway, caller: Caller) -> None:
    """The service may echo a token that it was sent two tries ago, and which is another by now."""
    tokens = ["tok_first111", "tok_second22", "tok_third333"]

    def answer(number: int) -> object:
        async def give(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if number < 2:
                paced(gateway, RETRY, secret=tokens[number + 1])
                writer.write(UNWELL)
            else:
                echo = " ".join(tokens).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: 0\r\n\r\n" % echo)
            await writer.drain()

        return give

    paced(gateway, RETRY, secret=tokens[0])
    gateway.service.script = [answer(number) for number in range(3)]  # type: ignore[misc]
    echoed = await caller.ask(gateway.request())
    assert b"X-Echo: ************ ************ ************\r\n" in echoed
    for token, asked in zip(tokens, gateway.service.requests, strict=True):
        assert f"Bearer {token}".encode() in asked


# How the service says it.


async def test_the_caller_reads_in_retry_after_what_the_service_says_in_a_header_of_its_own(
    gateway: Gateway, caller: Caller
) -> None:
    """And the next request is the gateway's own 429: the service asked for none."""
    paced(gateway, '[limits]\nreset = { header = "X-Quota-Reset", format = "milliseconds" }\n')
    gateway.service.script = [b"HTTP/1.1 429 Slow\r\nX_Quota_Reset: 90500\r\nContent-Length: 0\r\n\r\n", OK]
    answer = await caller.ask(gateway.request())
    assert b"\r\nX_Quota_Reset: 90500\r\n" in answer
    assert answer.count(b"\r\nRetry-After: 91\r\n") == 1
    assert b'details="rate_limited"' in await caller.ask(gateway.request())
    assert len(gateway.service.requests) == 1


async def test_retry_after_of_the_service_s_own_is_passed_on_as_it_is(gateway: Gateway, caller: Caller) -> None:
    paced(gateway, '[limits]\nreset = { header = "X-Quota-Reset", format = "seconds" }\n')
    fields = b"X-Quota-Reset: 90\r\nRetry-After: 7\r\n"
    gateway.service.script = [b"HTTP/1.1 503 Away\r\n" + fields + b"Content-Length: 0\r\n\r\n"]
    answer = await caller.ask(gateway.request())
    assert answer.lower().count(b"retry-after") == 1
    assert b"\r\nRetry-After: 7\r\n" in answer
