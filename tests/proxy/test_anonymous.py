"""`access.anonymous`: a caller on this machine needs no client token; a web page that is read there is no caller."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.proxy.caller import _is_loopback
from tests.proxy.harness import Caller, Gateway, Service, running, settings


@pytest.fixture
async def gateway(tmp_path: Path, service: Service) -> AsyncIterator[Gateway]:
    async with running(settings(tmp_path, access={"anonymous": True}), service) as one:
        one.connect()
        yield one


def path_style(host: str, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST /c/crm-ann/users HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{lines}\r\n".encode()


async def test_a_tag_without_a_token_is_enough_in_every_entrance(gateway: Gateway, caller: Caller) -> None:
    port = gateway.service.port
    tag = base64.b64encode(b"crm-ann:").decode()
    fields = f"Host: 127.0.0.1:{port}\r\n"
    named = f"{fields}X-Connection-Id: crm-ann\r\n\r\n"
    basic = f"{fields}Proxy-Authorization: Basic {tag}\r\n\r\n"
    for entrance in (
        f"GET {gateway.origin}/v1/users HTTP/1.1\r\n{named}",
        f"GET {gateway.origin}/v1/users HTTP/1.1\r\n{basic}",
        path_style(f"127.0.0.1:{gateway.port}").decode(),
    ):
        assert (await caller.ask(entrance.encode())).endswith(b"ok")
    await caller.ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{basic}".encode())
    assert (await caller.ask(f"GET /v1/users HTTP/1.1\r\n{fields}\r\n".encode())).endswith(b"ok")
    assert len(gateway.service.requests) == 4


async def test_a_wrong_token_is_no_token(gateway: Gateway, caller: Caller) -> None:
    assert (await caller.ask(gateway.request(token="gwc_wrong"))).startswith(b"HTTP/1.1 407 ")
    assert gateway.service.requests == []


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("127.0.0.1:8080", ["Origin: https://evil.test"]),
        ("127.0.0.1:8080", ["origin: null"]),
        ("127.0.0.1:8080", ["Origin: http://127.0.0.1:8080"]),
        ("127.0.0.1:8080", ["Sec-Fetch-Site: cross-site"]),
        ("127.0.0.1:8080", ["sec-fetch-site: same-origin"]),
        ("127.0.0.1:8080", ["Sec-Fetch-Site: none"]),
        ("127.0.0.1:8080", ["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"]),
        ("evil.test:8080", []),
        ("127.0.0.1.evil.test", []),
        ("localhost.evil.test", []),
        ("evil.test#localhost", []),
        ("10.0.0.1:8080", []),
        ("", []),
    ],
)
async def test_what_may_come_from_a_web_page_is_refused_path_style(
    gateway: Gateway, caller: Caller, host: str, fields: list[str]
) -> None:
    answer = await caller.ask(path_style(host, *fields))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "proxy_authentication_required"
    assert gateway.service.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "gateway.localhost"])
@pytest.mark.usefixtures("gateway")
async def test_programs_of_this_machine_are_not(caller: Caller, host: str) -> None:
    """Node's own fetch says Sec-Fetch-Mode and no more."""
    assert (await caller.ask(path_style(host, "Sec-Fetch-Mode: cors"))).endswith(b"ok")


@pytest.mark.usefixtures("gateway")
async def test_a_token_speaks_for_whoever_shows_it(caller: Caller) -> None:
    answer = await caller.ask(path_style("evil.test", "Origin: https://app.test", "X-Api-Key: gwc_right"))
    assert answer.endswith(b"ok")


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        (("127.0.0.1", 1), True),
        (("127.9.9.9", 1), True),
        (("::1", 1, 0, 0), True),
        (("192.168.0.7", 1), False),
        (("fe80::1%eth0", 1, 0, 2), False),
        (("::ffff:192.0.2.7", 1, 0, 0), False),
        ("", False),
        (None, False),
    ],
)
def test_only_loopback_is_this_machine(peer: object, *, loopback: bool) -> None:
    assert _is_loopback(peer) is loopback
