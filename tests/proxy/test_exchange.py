"""The pipeline, as transcripts: what a caller sends, what reaches upstream, what comes back. Rules: tests/rules."""

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.errors import AuthorizationServerError, Refusal
from tests.proxy.harness import OK, TOKEN, Caller, Gateway, make_live


def problem(answer: bytes) -> tuple[int, dict[str, str]]:
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"\r\nProxy-Status: connection-gateway; error=" in head
    return int(head[9:12]), json.loads(content)


async def test_a_tagged_request_arrives_with_its_credential_and_nothing_of_ours(
    gateway: Gateway, caller: Caller
) -> None:
    answer = await caller.ask(
        gateway.request(headers=b"Accept: */*\r\nauthorization: mine\r\nX-Connection-Id: crm-ann\r\n")
    )
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 gateway-test\r\n\r\nok"
    assert gateway.service.requests == [
        b"GET /v1/users HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b"Accept: */*\r\n"
        b"Authorization: Bearer tok_abcdefgh\r\n"
        b"Via: 1.1 gateway-test\r\n\r\n" % gateway.service.port
    ]


async def test_a_caller_and_its_upstream_connection_are_kept_for_the_next_request(
    gateway: Gateway, caller: Caller
) -> None:
    for _ in range(3):
        assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert gateway.service.connections == 1


async def test_content_of_a_known_length_arrives_as_it_was_sent(gateway: Gateway, caller: Caller) -> None:
    content = bytes(range(256)) * 300
    await caller.ask(gateway.request("POST", headers=b"Content-Length: %d\r\n" % len(content), content=content))
    head, _, received = gateway.service.requests[0].partition(b"\r\n\r\n")
    assert received == content
    assert b"\r\nContent-Length: 76800\r\n" in head


async def test_content_that_ends_with_the_connection_is_chunked_for_the_caller(
    gateway: Gateway, caller: Caller
) -> None:
    async def until_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await writer.drain()
        writer.close()

    gateway.service.script = [until_close]
    answer = await caller.ask(gateway.request())
    assert answer.endswith(b"\r\n\r\n9\r\nall of it\r\n0\r\n\r\n")


# Injection


async def test_parameters_go_into_a_json_body_and_its_length_is_written_anew(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(inject='[inject.body]\nversion = "v2"\n'))
    content = b'{"a": 1.50, "version": "mine"}'
    headers = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
    await caller.ask(gateway.request("POST", headers=headers, content=content))
    head, _, received = gateway.service.requests[0].partition(b"\r\n\r\n")
    assert json.loads(received) == {"a": 1.5, "version": "v2"}
    assert b"1.50" in received
    assert b"\r\nContent-Length: %d\r\n" % len(received) in head


async def test_a_chunked_form_that_takes_parameters_gets_a_length(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(inject='[inject.body]\nversion = "v2"\n'))
    headers = (
        b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
    )
    await caller.send(gateway.request("POST", headers=headers))
    assert await caller.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await caller.send(b"3\r\na=b\r\n0\r\n\r\n")
    assert (await caller.receive()).endswith(b"ok")
    head, _, received = gateway.service.requests[0].partition(b"\r\n\r\n")
    assert received == b"a=b&version=v2"
    assert b"\r\nContent-Length: 14\r\n" in head
    assert b"Expect" not in head
    assert b"chunked" not in head


async def test_another_content_type_passes_untouched_and_unlimited(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(inject='[inject.body]\nversion = "v2"\n'))
    content = b"x" * 1_200_000
    headers = b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % len(content)
    assert (await caller.ask(gateway.request("POST", headers=headers, content=content))).endswith(b"ok")
    assert gateway.service.requests[0].partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize("framing", [b"Content-Length: 1048577\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_over_the_limit_is_too_large_and_upstream_sees_nothing(
    gateway: Gateway, caller: Caller, framing: bytes
) -> None:
    gateway.connect(gateway.policy(inject='[inject.body]\nversion = "v2"\n'))
    await caller.send(gateway.request("POST", headers=b"Content-Type: application/json\r\n" + framing))
    if b"chunked" in framing:
        await caller.send(b"100001\r\n" + b" " * 0x100001 + b"\r\n")
    status, body = problem(await caller.receive())
    assert (status, body["code"]) == (413, "request_too_large")
    assert gateway.service.requests == []


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (b"Content-Type: application/json\r\n", b'{"a":'),
        (b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"{}"),
    ],
)
async def test_a_body_that_cannot_take_parameters_is_rejected(
    gateway: Gateway, caller: Caller, headers: bytes, content: bytes
) -> None:
    gateway.connect(gateway.policy(inject='[inject.body]\nversion = "v2"\n'))
    headers += b"Content-Length: %d\r\n" % len(content)
    status, body = problem(await caller.ask(gateway.request("POST", headers=headers, content=content)))
    assert (status, body["code"]) == (400, "request_rejected")
    assert gateway.service.requests == []


# Refusals


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"connection": "crm-bob"}, 403, "connection_not_permitted"),
        ({"connection": "hr-ann"}, 403, "connection_not_permitted"),
        ({"token": "gwc_wrong"}, 407, "proxy_authentication_required"),
        ({"token": ""}, 407, "proxy_authentication_required"),
    ],
)
async def test_who_may_not_is_refused_and_upstream_sees_nothing(
    gateway: Gateway, caller: Caller, change: dict[str, str], status: int, code: str
) -> None:
    answer = await caller.ask(gateway.request(**change))  # type: ignore[arg-type]
    seen, body = problem(answer)
    assert (seen, body["code"]) == (status, code)
    assert (b"\r\nProxy-Authenticate: Basic" in answer) is (status == 407)
    assert gateway.service.requests == []


async def test_an_unknown_connection_and_a_foreign_one_are_told_apart_by_nothing(
    gateway: Gateway, caller: Caller
) -> None:
    gateway.connect(connection_id="hr-ann")
    _, foreign = problem(await caller.ask(gateway.request(connection="hr-ann")))
    _, unknown = problem(await caller.ask(gateway.request(connection="crm-xxx")))
    foreign["detail"] = foreign["detail"].replace("hr-ann", "crm-xxx")
    del foreign["request_id"], unknown["request_id"]
    assert foreign == unknown


async def test_a_request_without_a_tag_is_asked_for_one(gateway: Gateway, caller: Caller) -> None:
    answer = await caller.ask(f"GET {gateway.origin}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    status, body = problem(answer)
    assert (status, body["code"]) == (407, "proxy_authentication_required")
    assert "HTTP_PROXY" in body["hint"]


async def test_a_bearer_token_names_its_connection_in_a_header(gateway: Gateway, caller: Caller) -> None:
    tag = f"Proxy-Authorization: bearer {TOKEN}\r\nX-Connection-Id: crm-ann\r\n"
    request = f"GET {gateway.origin}/ HTTP/1.1\r\nHost: x\r\n{tag}\r\n"
    assert (await caller.ask(request.encode())).endswith(b"ok")
    assert TOKEN.encode() not in gateway.service.requests[0]
    assert b"crm-ann" not in gateway.service.requests[0]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/", "target_not_allowed"),
        ("http://a@127.0.0.1/", "target_invalid"),
        ("http://127.0.0.1/../x", "target_invalid"),
    ],
)
async def test_a_target_that_is_not_allowed_is_refused(gateway: Gateway, caller: Caller, url: str, code: str) -> None:
    request = gateway.request().replace(f"{gateway.origin}/v1/users".encode(), url.encode())
    _, body = problem(await caller.ask(request))
    assert body["code"] == code
    assert gateway.service.requests == []


async def test_the_hint_of_a_refusal_shows_what_would_be_allowed(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(gateway.policy(urls=f'["{gateway.origin}/v1"]'))
    status, body = problem(await caller.ask(gateway.request(path="/v2/users?token=x")))
    assert status == 403
    assert f"{gateway.origin}/v1" in body["hint"]
    assert "token=x" not in json.dumps(body)


async def test_a_name_that_cannot_be_resolved_and_a_port_where_nobody_listens_are_told_apart(
    gateway: Gateway, caller: Caller, unused_tcp_port: int
) -> None:
    gateway.connect(gateway.policy(urls=f'["http://127.0.0.1:{unused_tcp_port}", "http://nowhere.invalid"]'))
    request = gateway.request().replace(f"{gateway.origin}/".encode(), b"http://127.0.0.1:%d/" % unused_tcp_port)
    _, body = problem(await caller.ask(request))
    assert body["code"] == "upstream_connect"


# Tokens


async def test_a_401_is_refreshed_and_replayed_and_the_caller_never_sees_it(gateway: Gateway, caller: Caller) -> None:
    live = gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _: make_live(gateway.policy(), secret="tok_new", token_version=2)
    gateway.service.script = [b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\noops", OK]
    post = gateway.request("POST", headers=b"Content-Length: 3\r\n", content=b"abc")
    assert (await caller.ask(post)).endswith(b"\r\n\r\nok")
    first, second = gateway.service.requests
    assert b"Bearer tok_abcdefgh" in first
    assert b"Bearer tok_new" in second
    assert first.endswith(b"abc")
    assert second.endswith(b"abc")
    assert gateway.service.connections == 1, "the 401 was read to its end, so its connection is used again"
    assert live.token_version == 1


async def test_an_answer_to_the_second_try_echoes_neither_token(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _: make_live(gateway.policy(), secret="tok_new1", token_version=2)
    gateway.service.script = [
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Echo: tok_abcdefgh tok_new1\r\nContent-Length: 0\r\n\r\n",
    ]
    assert b"\r\nX-Echo: ************ ********\r\n" in await caller.ask(gateway.request())


async def test_a_second_401_goes_through(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _: make_live(gateway.policy(), secret="tok_new", refreshable=True)
    gateway.service.script = [b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\noops"]
    assert (await caller.ask(gateway.request())).startswith(b"HTTP/1.1 401 No\r\n")
    assert gateway.vault.refreshes == 1
    assert gateway.vault.refused == ["crm-ann"], "so that the provider isn't asked for a token at every request"
    assert len(gateway.service.requests) == 2


async def test_a_401_with_nothing_to_refresh_with_goes_through_whole(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True)
    gateway.service.script = [b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\noops", OK]
    answer = await caller.ask(gateway.request())
    assert b"\r\nWWW-Authenticate: Bearer\r\n" in answer
    assert answer.endswith(b"\r\n\r\noops")
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def test_a_long_401_is_held_back_with_its_end_still_to_come(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.hold = asyncio.Event()
    content = b"x" * 500_000

    async def slowly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(content))
        writer.write(content[:100])
        await writer.drain()
        assert gateway.vault.hold is not None
        gateway.vault.hold.set()
        writer.write(content[100:])
        await writer.drain()

    gateway.service.script = [slowly]
    answer = await caller.ask(gateway.request())
    assert answer.partition(b"\r\n\r\n")[2] == content


async def test_a_refresh_that_fails_is_the_answer(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.error = AuthorizationServerError(Refusal(code="refresh_failed", detail="no", retry_after=7))
    gateway.service.script = [b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"]
    answer = await caller.ask(gateway.request())
    status, body = problem(answer)
    assert (status, body["code"]) == (502, "refresh_failed")
    assert b"\r\nRetry-After: 7\r\n" in answer


async def test_a_401_to_content_that_is_no_longer_at_hand_goes_through_and_the_token_is_refreshed(
    gateway: Gateway, caller: Caller
) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _: make_live(gateway.policy(), secret="tok_new")
    gateway.service.script = [b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", OK]
    content = b"x" * 1_100_000
    post = gateway.request("POST", headers=b"Content-Length: %d\r\n" % len(content), content=content)
    assert (await caller.ask(post)).startswith(b"HTTP/1.1 401")
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert gateway.vault.refreshes == 1
    assert b"tok_new" in gateway.service.requests[1]
    assert gateway.vault.refused == ["crm-ann"], "else every request like that would cost a token call"


async def test_one_that_was_refused_with_a_token_of_before_costs_no_token_call(
    gateway: Gateway, caller: Caller
) -> None:
    gateway.connect(refreshable=True)

    async def late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gateway.connect(refreshable=True, token_version=2)
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    gateway.service.script = [late]
    content = b"x" * 1_100_000
    post = gateway.request("POST", headers=b"Content-Length: %d\r\n" % len(content), content=content)
    assert (await caller.ask(post)).startswith(b"HTTP/1.1 401")
    assert (gateway.vault.refreshes, gateway.vault.refused) == (0, [])


async def test_an_expired_token_is_never_sent(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True, expires_at=1.0)
    gateway.vault.refreshed = lambda _: make_live(gateway.policy(), secret="tok_new")
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert b"tok_new" in gateway.service.requests[0]


async def test_a_token_near_its_end_is_used_and_renewed_in_the_background(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(refreshable=True, expires_at=4e9, renew_at=1.0)
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert gateway.vault.renewals == ["crm-ann"]


async def test_a_connection_that_is_not_loaded_is_loaded(gateway: Gateway, caller: Caller) -> None:
    gateway.vault.unloaded.add("crm-ann")
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def test_a_connection_that_needs_a_person_says_so(gateway: Gateway, caller: Caller) -> None:
    live = gateway.connect()
    refusal = Refusal(code="reauthorization_required", detail="sign in again", hint="here")
    gateway.vault.lives["crm-ann"] = replace(live, injection=None, refusal=refusal)
    status, body = problem(await caller.ask(gateway.request()))
    assert (status, body["code"]) == (502, "reauthorization_required")


@pytest.mark.parametrize("override", [b"X-HTTP-Method-Override: DELETE\r\n", b"x-method-override: delete\r\n"])
async def test_a_method_that_stands_in_a_header_must_be_allowed_too(
    gateway: Gateway, caller: Caller, override: bytes
) -> None:
    gateway.connect(gateway.policy(allow='methods = ["GET", "POST"]'))
    answer = await caller.ask(gateway.request("POST", headers=override + b"Content-Length: 0\r\n"))
    assert problem(answer)[1]["code"] == "target_not_allowed"
    assert gateway.service.requests == []


async def test_a_fault_of_the_gateways_own_is_an_answer_too(gateway: Gateway, caller: Caller) -> None:
    async def broken(_connection_id: str) -> None:
        raise LookupError

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    gateway.vault.unloaded.add("crm-ann")
    gateway.vault.live = broken  # type: ignore[assignment, method-assign]
    async with asyncio.timeout(5):
        status, _ = problem(await caller.ask(gateway.request()))
    assert status == 500


async def test_a_tag_that_names_two_connections_is_refused(gateway: Gateway, caller: Caller) -> None:
    answer = await caller.ask(gateway.request(headers=b"X-Connection-Id: crm-bob\r\n"))
    assert problem(answer)[1]["code"] == "request_rejected"
    assert gateway.service.requests == []


@pytest.mark.parametrize("name", ["crm\n2026-01-01 200 forged", "crm\x1b[2J", "a" * 65, "crm/ann", "é"])
async def test_what_is_no_connection_id_gets_no_further(gateway: Gateway, caller: Caller, name: str) -> None:
    """Else it would stand in the log, with all that a terminal does with it."""
    status, _ = problem(await caller.ask(gateway.request(connection=name)))
    assert status == 407
    assert gateway.log.take_recent() == []


@pytest.mark.parametrize("secret", ["chunked", "HTTP/1.1", "Content-Length", "Transfer-Encoding", "close"])
async def test_a_secret_that_is_a_word_of_http_leaves_the_framing_alone(
    gateway: Gateway, caller: Caller, secret: str
) -> None:
    gateway.connect(secret=secret)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Echo: %b\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    gateway.service.script = [b"HTTP/1.1 103 Early\r\n\r\n" + chunked % secret.encode(), OK]
    assert await caller.ask(gateway.request()) == b"HTTP/1.1 103 Early\r\n\r\n"
    answer = await caller.receive()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
    assert b"\r\nX-Echo: %b\r\n" % (b"*" * len(secret)) in answer
    assert (await caller.ask(gateway.request())).endswith(b"ok")


async def test_the_log_tells_who_was_refused_and_where_it_wanted_to_go(gateway: Gateway, caller: Caller) -> None:
    await caller.ask(gateway.request(connection="hr-ann", path="/v1/secrets?query=x"))
    await caller.ask(gateway.request(token="gwc_wrong"))
    foreign, unknown = gateway.log.take_recent()
    assert (foreign.client, foreign.connection, foreign.code) == ("runner", "hr-ann", "connection_not_permitted")
    assert foreign.origin + foreign.path == f"{gateway.origin}/v1/secrets"
    assert (unknown.client, unknown.origin, unknown.code) == ("", gateway.origin, "proxy_authentication_required")


async def test_no_caller_decides_how_much_is_recorded_of_its_request(gateway: Gateway, caller: Caller) -> None:
    await caller.ask(gateway.request(path="/v1/" + "a" * 50_000))
    await caller.ask(gateway.request(path="/v1/" + "b" * 50_000, token="gwc_wrong"))
    for entry in gateway.log.take_recent():
        assert len(entry.path) < 1_100
        assert entry.path.endswith("...")
    assert len(gateway.service.requests[0]) > 50_000


@pytest.mark.parametrize("fields", [b"Host: other\r\n", b"X-A : 1\r\n", b"Content-Length: 3\r\nContent-Length: 3\r\n"])
async def test_a_head_that_is_refused_is_answered_without_content(
    gateway: Gateway, caller: Caller, fields: bytes
) -> None:
    """RFC 9110 §9.3.2: what came behind the fields would be no part of the answer."""
    await caller.send(gateway.request("HEAD", headers=fields))
    answer = await caller.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1


async def test_what_is_no_request_behind_a_head_is_answered_with_content(gateway: Gateway, caller: Caller) -> None:
    await caller.send(gateway.request("HEAD") + b"GARBAGE\r\n\r\n")
    await caller.reader.readuntil(b"\r\n\r\n")
    assert b'"code":"request_rejected"' in await caller.rest()
