"""Rule 6: what the policy adds wins over every copy of the caller's, and without a credential nothing goes out."""

import json
from dataclasses import replace

import pytest

from gateway.errors import AuthorizationServerError, Refusal
from tests.proxy.harness import TOKEN, Caller
from tests.rules.entrances import ABSOLUTE, CREDENTIAL, PATH, VIA, Entrance, problem

HEADERS = '[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\nX-Service-Key = "{{ api_key }}"\n'
QUERY = '[inject.query]\nservice_key = "{{ api_key }}"\n'
BODY = '[inject.body]\nservice_key = "{{ api_key }}"\n'

COPIES = [
    b"Authorization: Bearer mine\r\n",
    b"authorization: Basic bWluZQ==\r\nAUTHORIZATION: mine\r\nAuthorization:\r\n",
    b"X-Service-Key: mine\r\n",
    b"x-service-key: mine\r\nX-SERVICE-KEY: mine\r\n",
    b"X_Service_Key: mine\r\n",
    b"x-service_key: mine\r\nX_SERVICE-KEY: mine\r\n",
    b"X.Service.Key: mine\r\n",
    b"X-Service~Key: mine\r\nX!Service|Key: mine\r\nX_Service`Key: mine\r\n",
]


@pytest.mark.parametrize("copies", COPIES)
async def test_rule_06_an_injected_header_wins_over_every_copy(
    entrance: Entrance, caller: Caller, copies: bytes
) -> None:
    """A server that makes a variable of a name (RFC 3875 §4.1.18) may take any mark in it for `_`."""
    entrance.connect(inject=HEADERS)
    if entrance.name == PATH and b"uthorization" in copies.lower():
        copies = copies.replace(b"Bearer mine", b"Bearer " + TOKEN.encode()).replace(b"Basic bWluZQ==", b"x")
    assert (await caller.ask(entrance.request(fields=b"Accept: */*\r\n" + copies + b"X-Service-Keys: 1\r\n"))).endswith(
        b"ok"
    )
    ours = b"Accept: */*\r\nX-Service-Keys: 1\r\n" + CREDENTIAL + b"X-Service-Key: tok_abcdefgh\r\n" + VIA
    assert entrance.requests == [b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\n" + ours + b"\r\n"]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("?", ""),
        ("?service_key=mine", ""),
        ("?a=1&service_key=mine&b", "a=1&b&"),
        ("?SERVICE_KEY=mine&Service_Key=mine", ""),
        ("?%73ervice%5Fkey=mine&service%5fke%79=mine", ""),
        ("?service_key[]=mine&service_key%5B0%5D=mine", ""),
        ("?a=1;service_key=mine;b=2", "a=1;b=2&"),
        ("?+service_key=mine&service_key%00=mine&service_key", ""),
        ("?service_keys=1&a=service_key", "service_keys=1&a=service_key&"),
        ("?a=%20&b=+&c=a/../b", "a=%20&b=+&c=a/../b&"),
    ],
)
async def test_rule_06_an_injected_parameter_of_the_query_wins_over_every_copy(
    entrance: Entrance, caller: Caller, query: str, kept: str
) -> None:
    entrance.connect(inject=QUERY)
    assert (await caller.ask(entrance.request(path=f"/v1/a{query}"))).endswith(b"ok")
    assert entrance.requests[0].startswith(b"GET /v1/a?%bservice_key=tok_abcdefgh HTTP/1.1\r\n" % kept.encode())


JSON_COPIES = [
    b"{}",
    b'{"a":1}',
    b'{"service_key":"mine"}',
    b'{"service_key":"mine","a":1,"service_key":"mine"}',
    b'{"SERVICE_KEY":"mine","\\u0073ervice_key":"mine"}',
    b' { "service_key" : {"service_key": ["mine"]} } ',
]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("body", JSON_COPIES)
async def test_rule_06_an_injected_member_of_a_json_body_wins_over_every_copy(
    entrance: Entrance, caller: Caller, body: bytes, *, chunked: bool
) -> None:
    entrance.connect(inject=BODY)
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    fields = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % len(body)
    request = entrance.request("POST", fields=b"Content-Type: application/json\r\n" + fields, content=framed)
    assert (await caller.ask(request)).endswith(b"ok")
    head, _, content = entrance.requests[0].partition(b"\r\n\r\n")
    members = json.loads(content, object_pairs_hook=list)
    assert [value for name, value in members if name.lower() == "service_key"] == ["tok_abcdefgh"]
    assert b"mine" not in content
    assert head.lower().count(b"content-length: %d" % len(content)) == 1
    assert b"ransfer-" not in head


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", None),
        (b"a=1", b"a=1&"),
        (b"service_key=mine", b""),
        (b"a=%20&Service%5Fkey=mine&service_key[]=mine&b", b"a=%20&b&"),
        (b"a=1;service_key=mine", b"a=1&"),
    ],
)
async def test_rule_06_an_injected_parameter_of_a_form_wins_over_every_copy(
    entrance: Entrance, caller: Caller, body: bytes, kept: bytes | None
) -> None:
    entrance.connect(inject=BODY)
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(body)
    assert (await caller.ask(entrance.request("POST", fields=form, content=body))).endswith(b"ok")
    content = entrance.requests[0].partition(b"\r\n\r\n")[2]
    assert content == (b"" if kept is None else kept + b"service_key=tok_abcdefgh")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Type: application/json\r\n", b'{"service_key":"mine"'),
        (b"Content-Type: application/json\r\n", b'{"a":1}{"service_key":"mine"}'),
        (b"Content-Type: application/json; charset=utf-16\r\n", b'{"a":1}'),
        (b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"{}"),
        (b"Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Encoding: identity\r\n", b"{}"),
        (b"Content-Type: text/plain\r\nContent-Type: application/json\r\n", b'{"service_key":"mine"}'),
        (b"Content-Type: text/plain, application/json\r\n", b'{"service_key":"mine"}'),
        (b"Content_Type: application/json\r\n", b'{"service_key":"mine"}'),
    ],
)
async def test_rule_06_a_body_that_may_be_read_in_two_ways_is_refused(
    entrance: Entrance, caller: Caller, fields: bytes, body: bytes
) -> None:
    entrance.connect(inject=BODY)
    fields += b"Content-Length: %d\r\n" % len(body)
    answer = await caller.ask(entrance.request("POST", fields=fields, content=body))
    assert problem(answer) == (400, "request_rejected")
    assert entrance.service.connections == 0


GONE = Refusal(code="reauthorization_required", detail="sign in again")


@pytest.mark.parametrize("inject", [HEADERS, QUERY, BODY], ids=["headers", "query", "body"])
@pytest.mark.parametrize("why", ["nothing to inject", "needs a person", "expired", "gone"])
async def test_rule_06_without_a_credential_nothing_goes_out(
    entrance: Entrance, caller: Caller, inject: str, why: str
) -> None:
    live = entrance.connect(inject=inject)
    lives, vault = entrance.gateway.vault.lives, entrance.gateway.vault
    match why:
        case "nothing to inject":
            lives["crm-ann"], expected = replace(live, injection=None), (403, "connection_not_permitted")
        case "needs a person":
            lives["crm-ann"] = replace(live, injection=None, refusal=GONE)
            expected = (502, "reauthorization_required")
        case "expired":
            lives["crm-ann"] = replace(live, expires_at=1.0, refreshable=True)
            vault.error = AuthorizationServerError(Refusal(code="refresh_failed", detail="no"))
            expected = (502, "refresh_failed")
        case _:
            lives.clear()
            expected = (403, "connection_not_permitted")
    body = b'{"a":1}'
    fields = b"Authorization: mine\r\nContent-Type: application/json\r\nContent-Length: 7\r\n"
    if entrance.name == PATH:
        fields = fields.removeprefix(b"Authorization: mine\r\n")
    answer = await caller.ask(entrance.request("POST", "/v1/a?service_key=mine", fields=fields, content=body))
    assert problem(answer) == expected
    assert entrance.service.connections == 0


@pytest.mark.parametrize("entrance", [ABSOLUTE, PATH], indirect=True)
async def test_rule_06_a_tag_of_the_callers_own_is_no_credential_of_the_services(
    entrance: Entrance, caller: Caller
) -> None:
    """Where the policy adds no header, the client token is not sent in its place."""
    entrance.connect(inject=QUERY)
    await caller.ask(entrance.request())
    assert TOKEN.encode() not in entrance.requests[0]
    assert b"Key: " not in entrance.requests[0]


async def test_rule_06_a_token_that_was_refused_is_not_left_out_of_the_second_try(
    entrance: Entrance, caller: Caller
) -> None:
    """Between the 401 and the replay the connection has lost its credential."""
    live = entrance.connect(refreshable=True)
    entrance.gateway.vault.refreshed = lambda _: replace(live, injection=None, refusal=GONE)
    entrance.service.script = [b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"]
    assert problem(await caller.ask(entrance.request())) == (502, "reauthorization_required")
    assert len(entrance.requests) == 1


DEFAULTS = """[inject.defaults]
Content-Type = "application/json"
X-Version = "2"
"""


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        (b"", b"X-Version: 2\r\n"),
        (b"X-Version: 1\r\n", b""),
        (b"x_version: 1\r\n", b""),
        (b"X-Version:\r\n", b""),
        (b"X-Versions: 1\r\n", b"X-Version: 2\r\n"),
    ],
)
async def test_rule_06_a_default_is_added_where_the_caller_sends_no_such_header(
    entrance: Entrance, caller: Caller, fields: bytes, ours: bytes
) -> None:
    entrance.connect(inject=DEFAULTS)
    assert (await caller.ask(entrance.request(fields=fields))).endswith(b"ok")
    sent = fields.replace(b"X-Version:\r", b"X-Version: \r")
    assert entrance.requests == [b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\n" + sent + ours + VIA + b"\r\n"]


async def test_rule_06_a_header_that_ends_here_is_none_that_the_caller_sends_on(
    entrance: Entrance, caller: Caller
) -> None:
    entrance.connect(inject=DEFAULTS)
    fields = b"Connection: X-Version\r\nX-Version: 1\r\n"
    assert (await caller.ask(entrance.request(fields=fields))).endswith(b"ok")
    assert entrance.requests[0].count(b"X-Version") == 1
    assert b"X-Version: 2\r\n" in entrance.requests[0]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize(
    ("fields", "body", "sent"),
    [
        (b"", b'{"a":1}', b'{"a":1,"service_key":"tok_abcdefgh"}'),
        (b"Content-Type: text/plain\r\n", b'{"a":1}', b'{"a":1}'),
        (b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=1", b"a=1&service_key=tok_abcdefgh"),
    ],
)
async def test_rule_06_content_is_what_the_default_says_where_the_caller_doesn_t(
    entrance: Entrance, caller: Caller, *, fields: bytes, body: bytes, sent: bytes, chunked: bool
) -> None:
    entrance.connect(inject=DEFAULTS + BODY)
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % len(body)
    assert (await caller.ask(entrance.request("POST", fields=fields + length, content=framed))).endswith(b"ok")
    head, _, content = entrance.requests[0].partition(b"\r\n\r\n")
    assert sent in content
    assert head.lower().count(b"content-type:") == 1
    assert (b"Content-Type: application/json" in head) is (not fields)


async def test_rule_06_a_request_without_content_has_no_type_of_it(entrance: Entrance, caller: Caller) -> None:
    entrance.connect(inject=DEFAULTS)
    assert (await caller.ask(entrance.request("POST", fields=b"Content-Length: 0\r\n"))).endswith(b"ok")
    assert b"Content-Type" not in entrance.requests[0]


async def test_rule_06_what_is_left_out_the_caller_doesn_t_add(entrance: Entrance, caller: Caller) -> None:
    """The name is the policy's, whether its field is filled in or not."""
    optional = '[[fields]]\nname = "tenant"\nrequired = false\n[inject.headers]\nX-Tenant = "{{ tenant }}"\n'
    entrance.connect(inject=optional + '[inject.query]\ntenant = "{{ tenant }}"\n')
    request = entrance.request(path="/v1/users?tenant=mine&a=1", fields=b"x_tenant: mine\r\n")
    assert (await caller.ask(request)).endswith(b"ok")
    assert entrance.requests == [b"GET /v1/users?a=1 HTTP/1.1\r\nHost: ok.test\r\n" + VIA + b"\r\n"]
