"""Path-style: /c/<connection>/<url or path>, for an SDK that only takes a base URL."""

import base64
import json

import pytest

from tests.proxy.harness import OK, TOKEN, Caller, Gateway

BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()


def path_style(path: str, headers: bytes = BEARER) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: gateway\r\n".encode() + headers + b"\r\n"


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/c/crm-ann/{origin}/v1/a%2Fb?c=d", b"/v1/a%2Fb?c=d"),
        ("/c/crm-ann/{folded}/v1/users", b"/v1/users"),
        ("/c/crm-ann/{origin}", b"/"),
        ("/c/crm-ann/users?x=1", b"/v1/users?x=1"),
        ("/c/crm-ann/", b"/v1/"),
        ("/c/crm-ann", b"/v1"),
        ("/c/crm-ann//evil/x", b"/v1//evil/x"),
    ],
)
async def test_the_target_is_behind_the_connection(gateway: Gateway, caller: Caller, path: str, sent: bytes) -> None:
    folded = gateway.origin.replace("http://", "http:/")
    assert (await caller.ask(path_style(path.format(origin=gateway.origin, folded=folded)))).endswith(b"ok")
    request = gateway.service.requests[0]
    assert request.split()[1] == sent
    assert b"\r\nHost: 127.0.0.1:%d\r\n" % gateway.service.port in request
    assert request.count(b"uthorization: ") == 1
    assert b"Authorization: Bearer tok_abcdefgh\r\n" in request
    assert TOKEN.encode() not in request


@pytest.mark.parametrize(
    "headers",
    [
        BEARER,
        f"X-Api-Key: {TOKEN}\r\n".encode(),
        f"X-API-KEY: {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n".encode(),
        b"Authorization: Basic " + base64.b64encode(f"any:{TOKEN}".encode()) + b"\r\n",
        b"Authorization: basic " + base64.b64encode(f"{TOKEN}:".encode()) + b"\r\n",
    ],
    ids=["bearer", "key", "both", "password", "user name"],
)
async def test_the_client_token_comes_as_whatever_the_sdk_calls_its_key_and_ends_here(
    gateway: Gateway, caller: Caller, headers: bytes
) -> None:
    gateway.connect(gateway.policy(inject='[inject.query]\nkey = "{{ api_key }}"\n'))
    assert (await caller.ask(path_style("/c/crm-ann/users", headers))).endswith(b"ok")
    request = gateway.service.requests[0]
    assert TOKEN.encode() not in request
    assert b"uthorization" not in request
    assert base64.b64encode(TOKEN.encode())[:-4] not in request


async def test_without_a_token_the_answer_is_401(caller: Caller) -> None:
    answer = await caller.ask(path_style("/c/crm-ann/users", b""))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nWWW-Authenticate: Bearer" in answer
    assert code(answer) == "proxy_authentication_required"
    assert "X-Api-Key" in json.loads(answer.partition(b"\r\n\r\n")[2])["hint"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "target_invalid"),
        ("/healthz", "target_invalid"),
        ("/api/v1/connections", "target_invalid"),
        ("/c/", "target_invalid"),
        ("/c/../x", "target_invalid"),
        ("/c/crm-ann/http://", "target_invalid"),
        ("/c/crm-ann/../../x", "target_invalid"),
        ("/c/crm-ann/http://a@127.0.0.1/", "target_invalid"),
        ("/c/crm-ann/http:////127.0.0.1/", "target_invalid"),
        ("/c/crm-ann/https://evil.test/", "target_not_allowed"),
        ("/c/hr-ann/users", "connection_not_permitted"),
    ],
)
async def test_what_is_no_allowed_target_is_refused(gateway: Gateway, caller: Caller, path: str, expected: str) -> None:
    assert code(await caller.ask(path_style(path))) == expected
    assert gateway.service.requests == []


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("{origin}/v1/next?x=1#frag", "/c/crm-ann/{origin}/v1/next?x=1#frag"),
        ("/other", "/c/crm-ann/{origin}/other"),
        ("next", "/c/crm-ann/{origin}/v1/next"),
        ("?page=2", "/c/crm-ann/{origin}/v1/users?page=2"),
        ("https://elsewhere.test/x", "https://elsewhere.test/x"),
        ("//evil/x", "//evil/x"),
        ("///evil/x", "///evil/x"),
        ("http:///evil/x", "http:///evil/x"),
        ("/\t/\t/evil/x", "/\t/\t/evil/x"),
        ("/a/%2e%2e/b", "/a/%2e%2e/b"),
    ],
)
async def test_a_location_inside_the_allowed_urls_leads_through_the_gateway(
    gateway: Gateway, caller: Caller, location: str, seen: str
) -> None:
    sent = location.format(origin=gateway.origin).encode()
    gateway.service.script = [b"HTTP/1.1 302 Found\r\nlocation: %b\r\nContent-Length: 0\r\n\r\n" % sent, OK]
    answer = await caller.ask(path_style("/c/crm-ann/users"))
    assert b"\r\nlocation: %b\r\n" % seen.format(origin=gateway.origin).encode() in answer


async def test_a_location_is_left_alone_in_absolute_form(gateway: Gateway, caller: Caller) -> None:
    gateway.service.script = [b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"]
    assert b"\r\nLocation: /other\r\n" in await caller.ask(gateway.request())


async def test_whatever_field_carries_the_client_token_ends_here(gateway: Gateway, caller: Caller) -> None:
    """An SDK may send its key twice, under a name of its own too."""
    headers = BEARER + f"api-key: {TOKEN}\r\nCookie: a=b; key={TOKEN}\r\nX-Other: 1\r\n".encode()
    assert (await caller.ask(path_style("/c/crm-ann/users", headers))).endswith(b"ok")
    assert TOKEN.encode() not in gateway.service.requests[0]
    assert b"X-Other: 1\r\n" in gateway.service.requests[0]


@pytest.mark.parametrize("path", ["/c/crm-ann/users?key={token}", "/c/crm-ann/{token}/users"])
async def test_a_client_token_in_the_url_goes_no_further(gateway: Gateway, caller: Caller, path: str) -> None:
    answer = await caller.ask(path_style(path.format(token=TOKEN)))
    assert code(answer) == "request_rejected"
    assert TOKEN.encode() not in answer
    assert gateway.service.requests == []


async def test_a_path_and_a_field_that_name_two_connections_are_refused(gateway: Gateway, caller: Caller) -> None:
    answer = await caller.ask(path_style("/c/crm-ann/users", BEARER + b"X-Connection-Id: crm-bob\r\n"))
    assert code(answer) == "request_rejected"
    assert gateway.service.requests == []


async def test_a_client_token_in_an_upgrade_goes_no_further(gateway: Gateway, caller: Caller) -> None:
    """That field is written anew behind all others, so it isn't dropped with them."""
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket, {TOKEN}\r\n".encode()
    answer = await caller.ask(path_style("/c/crm-ann/users", BEARER + upgrade))
    assert code(answer) == "request_rejected"
    assert TOKEN.encode() not in answer
    assert gateway.service.requests == []


async def test_a_client_token_in_host_is_replaced_with_the_rest_of_it(gateway: Gateway, caller: Caller) -> None:
    request = path_style("/c/crm-ann/users").replace(b"Host: ", f"Host: {TOKEN}.".encode())
    assert TOKEN.encode() in request.partition(b"Authorization")[0]
    await caller.ask(request)
    assert f"\r\nHost: 127.0.0.1:{gateway.service.port}\r\n".encode() in gateway.service.requests[0]
