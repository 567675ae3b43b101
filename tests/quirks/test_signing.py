"""A signature that the service checks by itself is over what arrives, whatever the caller sends."""

import json
from dataclasses import replace

import pytest

from tests.proxy.harness import OK, Caller, Gateway
from tests.quirks.signing import SECRET, Arrived, OAuth1, aws4, checking, hmac_in_query, hmac_over_all

HMAC = """[sign]
scheme = "hmac"
key = "{{ api_key }}"
text = "{{ request.time }}{{ request.method }}{{ request.path_and_query }}{{ request.body }}"
[inject.headers]
X-Signature = "{{ signature }}"
X-Time = "{{ request.time }}"
"""
PARTS = '[inject.query]\nversion = "2"\n[inject.body]\nnonce = "{{ request.random }}"\n'
IN_QUERY = """[sign]
scheme = "hmac"
algorithm = "sha512"
key = "{{ api_key }}"
text = "{{ request.query }}"
encoding = "base64"
[inject.query]
signature = "{{ signature }}"
timestamp = "{{ request.time_ms }}"
"""
AWS4 = """[sign]
scheme = "aws4"
service = "dynamodb"
region = "eu-west-1"
access_key_id = "AKIDEXAMPLE"
secret_access_key = "{{ api_key }}"
[inject.headers]
X-Amz-Target = "DynamoDB_20120810.ListTables"
[inject.defaults]
Content-Type = "application/x-amz-json-1.0"
"""
OAUTH1 = """[sign]
scheme = "oauth1"
algorithm = "sha256"
consumer_key = "ck"
consumer_secret = "{{ api_key }}"
realm = "things"
[inject.query]
v = "1 2"
"""
JSON = b"Content-Type: application/json\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"
REQUESTS = [
    ("GET", "/v1/users", b"", b""),
    ("GET", "/v1/a%20b/c~d?b=2&a=%2F&a=&flag", b"", b""),
    ("GET", "/v1?filter[x]=1&q=a+b&e=%C3%A9", b"", b""),
    ("POST", "/v1/users?a=1", JSON, b'{"a": 1, "nonce": "mine"}'),
    ("POST", "/v1/users", FORM, b"a=1&b=%20x+y&nonce=mine&v=9"),
    ("PUT", "/v1/users", b"", b"\x00\xff plain \xe9"),
    ("DELETE", "/v1/users", b"X-Amz-Meta-A:  one   two \r\nX-Amz-Meta-A: three\r\n", b""),
]


def sized(content: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(content) if content else b""


@pytest.mark.parametrize("number", range(len(REQUESTS)))
@pytest.mark.parametrize("scheme", ["hmac", "hmac-parts", "query", "aws4", "oauth1"])
async def test_what_arrives_is_signed_as_the_service_checks_it(
    gateway: Gateway, caller: Caller, scheme: str, number: int
) -> None:
    table, check, copies = {
        "hmac": (HMAC, hmac_over_all, b"x_signature: mine\r\n"),
        "hmac-parts": (HMAC + PARTS, hmac_over_all, b"X-Time: mine\r\n"),
        "query": (IN_QUERY, hmac_in_query, b""),
        "aws4": (AWS4, aws4, b"Authorization: mine\r\nX-Amz-Date: mine\r\nX_Amz_Security_Token: mine\r\n"),
        "oauth1": (OAUTH1, OAuth1(gateway.origin), b"Authorization: mine\r\n"),
    }[scheme]
    checking(gateway.service, check)
    gateway.connect(gateway.policy(inject=table))
    method, path, fields, content = REQUESTS[number]
    if scheme == "query":
        path += ("&" if "?" in path else "?") + "Signature=mine"
    answer = await caller.ask(gateway.request(method, path, headers=copies + fields + sized(content), content=content))
    assert answer.endswith(b"ok"), gateway.service.requests
    assert (b"mine" in gateway.service.requests[-1]) == (b"mine" in content and scheme != "hmac-parts")


async def test_content_in_chunks_is_gathered_and_signed_and_leaves_with_its_length(
    gateway: Gateway, caller: Caller
) -> None:
    checking(gateway.service, hmac_over_all)
    gateway.connect(gateway.policy(inject=HMAC))
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    headers = b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
    await caller.send(gateway.request("POST", headers=headers))
    assert await caller.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await caller.ask(chunks)).endswith(b"ok")
    assert gateway.service.requests[0].endswith(b"\r\n\r\nabcde")


async def test_a_signature_without_the_content_in_it_gathers_none(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(inject=HMAC.replace("{{ request.body }}", "")))
    chunks = b"3\r\nabc\r\n0\r\n\r\n"
    assert (
        await caller.ask(gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n", content=chunks))
    ).endswith(b"ok")
    assert gateway.service.requests[0].endswith(chunks)


async def test_content_over_the_limit_is_refused_and_not_sent_unsigned(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(inject=HMAC))
    answer = await caller.ask(gateway.request("POST", headers=b"Content-Length: 9999999\r\n"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"or signs it" in answer
    assert gateway.service.requests == []


async def test_a_replay_and_a_retry_are_signed_anew_with_the_token_of_then(gateway: Gateway, caller: Caller) -> None:
    """What is random is another one each time; the UUID is that of the request."""
    table = HMAC.replace("{{ request.time }}", "{{ request.random }}") + 'Idempotency-Key = "{{ request.uuid }}"\n'
    table = table.replace("{{ api_key }}", "{{ access_token }}").replace("[sign]", "[retry]\nattempts = 2\n[sign]")
    table = '[auth.token]\nurl = "https://id.test/token"\n' + table
    policy = gateway.policy(inject=table).replace('grant = "api_key"', 'grant = "client_credentials"')
    policy = policy.replace("[auth]\n", '[auth]\nclient_id = "c"\nclient_secret = { env = "S" }\n')
    live = gateway.connect(policy, refreshable=True, secret="tok_before")
    gateway.vault.refreshed = lambda _live: replace(
        gateway.connect(policy, refreshable=True, secret=SECRET), token_version=2
    )
    assert live.injection is not None
    gateway.service.script = [
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        OK,
    ]
    answer = await caller.ask(gateway.request("PUT", headers=b"Content-Length: 3\r\n", content=b"abc"))
    assert answer.endswith(b"ok")
    first, second, third = map(Arrived, gateway.service.requests)
    assert not hmac_over_all(first)
    assert hmac_over_all(second)
    assert hmac_over_all(third)
    assert len({one.one("x-time") for one in (first, second, third)}) == 3
    assert len({one.one("idempotency-key") for one in (first, second, third)}) == 1


async def test_a_replay_goes_by_the_policy_of_then_and_the_first_signature_is_not_told_either(
    gateway: Gateway, caller: Caller
) -> None:
    async def echo(_reader: object, writer: object) -> None:
        given = Arrived(gateway.service.requests[0]).one("x-signature").encode()
        writer.write(b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: 0\r\n\r\n" % given)  # type: ignore[attr-defined]

    gateway.service.script = [b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", echo]
    gateway.connect(gateway.policy(inject=HMAC), refreshable=True)
    gateway.vault.refreshed = lambda _live: replace(gateway.connect(), token_version=2)
    answer = await caller.ask(gateway.request())
    assert b"X-Echo: " + b"*" * 64 in answer
    _, second = map(Arrived, gateway.service.requests)
    assert "x-signature" not in second.fields
    assert second.one("authorization") == f"Bearer {SECRET}"


async def test_a_connection_that_was_closed_meanwhile_is_signed_for_anew(gateway: Gateway, caller: Caller) -> None:
    seen = OAuth1(gateway.origin)
    checking(gateway.service, seen)
    gateway.connect(gateway.policy(inject=OAUTH1))
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    (answer,) = gateway.service.script

    async def hang_up(_reader: object, writer: object) -> None:
        writer.close()  # type: ignore[attr-defined]

    gateway.service.script = [hang_up, answer]
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert len(seen.nonces) == 2
    assert len(gateway.service.requests) == 3


async def test_a_signature_that_the_service_repeats_does_not_reach_the_caller(gateway: Gateway, caller: Caller) -> None:
    async def echo(_reader: object, writer: object) -> None:
        given = Arrived(gateway.service.requests[-1]).one("x-signature").encode()
        fields = b"X-Echo: %b\r\nContent-Length: %d\r\n" % (given, len(given) + 3)
        writer.write(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n<" + given + b"!>")  # type: ignore[attr-defined]

    gateway.service.script = [echo]
    gateway.connect(gateway.policy(inject=HMAC, allow="scrub_body = true"))
    answer = await caller.ask(gateway.request())
    given = Arrived(gateway.service.requests[0]).one("x-signature").encode()
    assert given not in answer
    assert answer.endswith(b"\r\n\r\n<" + b"*" * 64 + b"!>")
    assert b"X-Echo: " + b"*" * 64 in answer


@pytest.mark.parametrize(
    ("table", "fields", "content", "why"),
    [
        ('[inject.headers]\nX = "{{ request.body }}"\n', b"", b"a\nb", "control characters"),
        ('[inject.headers]\nX = "{{ request.body | b64encode }}"\n', b"", b"\xff", "no Unicode text"),
        (HMAC + PARTS, JSON, b'{"a":', "is none"),
        (HMAC + PARTS, JSON + b"Content-Encoding: gzip\r\n", b"{}", "compressed"),
    ],
)
async def test_what_can_not_be_made_for_a_request_refuses_it(
    gateway: Gateway, caller: Caller, *, table: str, fields: bytes, content: bytes, why: str
) -> None:
    gateway.connect(gateway.policy(inject=table))
    answer = await caller.ask(gateway.request("POST", headers=fields + sized(content), content=content))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert why in json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
    assert gateway.service.requests == []
