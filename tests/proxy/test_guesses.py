"""Wrong client tokens: ten from an address, then 429 and the door. A right one is never held up, nor the log filled."""

import asyncio
import base64
import json
from typing import Any

import pytest

from gateway.attempts import BURST, EVERY, Attempts
from gateway.metrics.families import exposition
from tests.proxy.harness import TOKEN, Caller, Gateway

pytestmark = pytest.mark.usefixtures("clock")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(gateway: Gateway) -> Clock:
    clock, services = Clock(), gateway.server._listener.services
    services.guesses, services.strangers = Attempts(clock), Attempts(clock)
    return clock


def absolute(gateway: Gateway, token: str | None = "gwc_wrong") -> bytes:
    return gateway.request(token=token or "")


def bearer(gateway: Gateway, token: str | None = "gwc_wrong") -> bytes:
    shown = f"Proxy-Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"GET {gateway.origin}/v1 HTTP/1.1\r\nHost: 127.0.0.1:{gateway.service.port}\r\n"
        f"X-Connection-Id: crm-ann\r\n{shown}\r\n"
    ).encode()


def path_style(gateway: Gateway, token: str | None = "gwc_wrong") -> bytes:  # noqa: ARG001 - as its neighbours
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET /c/crm-ann/users HTTP/1.1\r\nHost: gateway\r\n{shown}\r\n".encode()


def connect(gateway: Gateway, token: str | None = "gwc_wrong") -> bytes:
    tag = base64.b64encode(f"crm-ann:{token or ''}".encode()).decode()
    to = f"127.0.0.1:{gateway.service.port}"
    return f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic {tag}\r\n\r\n".encode()


ENTRANCES = {"absolute": absolute, "bearer": bearer, "path": path_style, "connect": connect}


async def ask(gateway: Gateway, request: bytes) -> tuple[int, dict[str, Any], bytes]:
    """Ask on a connection of its own; return the status, the problem, and all bytes until it is closed."""
    caller = await gateway.open()
    await caller.send(request)
    answer = await caller.receive()
    await caller.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12]), json.loads(body) if b"problem+json" in head else {}, answer


async def use_up(gateway: Gateway) -> None:
    for number in range(BURST):
        entrance = list(ENTRANCES.values())[number % len(ENTRANCES)]
        status, body, _ = await ask(gateway, entrance(gateway))
        assert (status, body["code"]) == (401 if entrance is path_style else 407, "proxy_authentication_required")


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_a_wrong_token_past_the_limit_is_429_and_the_connection_closed(
    gateway: Gateway, caller: Caller, entrance: str
) -> None:
    await use_up(gateway)
    # What is pipelined behind it is answered by nobody.
    await caller.send(ENTRANCES[entrance](gateway) + absolute(gateway, TOKEN))
    answer = await asyncio.wait_for(caller.rest(), 5.0)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 6\r\n" in head
    assert b"\r\nConnection: close" in head
    assert b"Proxy-Authenticate" not in head
    assert json.loads(body)["code"] == "rate_limited"
    assert gateway.service.requests == []


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_a_right_token_is_never_held_up(gateway: Gateway, entrance: str) -> None:
    await use_up(gateway)
    for _ in range(3):
        assert (await ask(gateway, absolute(gateway)))[0] == 429
        assert (await ask(gateway, ENTRANCES[entrance](gateway, TOKEN)))[0] == 200


async def test_right_tokens_give_nothing_back_and_every_six_seconds_one_more_wrong_one_is_told_so(
    gateway: Gateway, clock: Clock
) -> None:
    await use_up(gateway)
    await ask(gateway, absolute(gateway, TOKEN))
    clock.now += EVERY
    assert [(await ask(gateway, absolute(gateway)))[0] for _ in range(2)] == [407, 429]


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_no_token_is_no_wrong_one(gateway: Gateway, entrance: str) -> None:
    """Programs such as curl send a request without a tag first, get the 407 and come back."""
    for _ in range(BURST * 2):
        assert (await ask(gateway, ENTRANCES[entrance](gateway, None)))[0] in {401, 407}
    untagged = f"GET {gateway.origin}/ HTTP/1.1\r\nHost: 127.0.0.1:{gateway.service.port}\r\n\r\n".encode()
    for _ in range(BURST * 2):
        assert (await ask(gateway, untagged))[0] == 407
    assert (await ask(gateway, absolute(gateway)))[0] == 407, "the first wrong one"


async def test_a_connection_that_isnt_this_clients_is_no_wrong_token(gateway: Gateway) -> None:
    for _ in range(BURST * 2):
        assert (await ask(gateway, gateway.request(connection="hr-ann")))[0] == 403
    assert (await ask(gateway, absolute(gateway)))[0] == 407


async def test_every_refused_try_is_counted_and_few_are_logged(gateway: Gateway, clock: Clock) -> None:
    flood = 40
    for _ in range(flood):
        await ask(gateway, absolute(gateway))
        await ask(gateway, path_style(gateway, None))
    logged = gateway.log.take_recent()
    assert [entry.client for entry in logged] == [""] * BURST
    text = exposition(gateway.server._listener.services.metrics).decode()
    for code, entrance, count in (
        ("proxy_authentication_required", "absolute", BURST),
        ("rate_limited", "absolute", flood - BURST),
        ("proxy_authentication_required", "path", flood),
    ):
        assert f'gateway_requests_total{{code="{code}",entrance="{entrance}",status_class="4xx"}} {count}.0' in text
    clock.now += EVERY
    await ask(gateway, absolute(gateway))
    await ask(gateway, gateway.request(connection="hr-ann"))
    known = gateway.log.take_recent()
    assert [(entry.client, entry.code) for entry in known] == [
        ("", "proxy_authentication_required"),
        ("runner", "connection_not_permitted"),
    ]
