"""Rules 5 and 8: what belongs to one hop ends here, in both directions, and Via says who passed it on."""

import pytest

from tests.proxy.harness import TOKEN, Caller
from tests.rules.entrances import (
    CREDENTIAL,
    PUBLIC,
    REJECTED,
    VIA,
    Entrance,
    assert_ends,
    connect,
    problem,
)

BARE = b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\n" + CREDENTIAL + VIA + b"\r\n"

HOP_BY_HOP = [
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection:",
    b"Connection: ,, \t,",
    b"Keep-Alive: timeout=5",
    b"Close: 1",
    b"TE: trailers, deflate",
    b"Trailer: X-Checksum",
    b"Upgrade: websocket",
    b"HTTP2-Settings: AAMAAABk",
    b"Proxy-Connection: keep-alive",
    b"Proxy-Authenticate: Basic",
    b"Proxy-Authentication-Info: x",
    b"Proxy-Features: x",
    b"Proxy-Instruction: x",
    b"PROXY-ANYTHING: x",
    b"proxy-: x",
    b"X-Connection-Id: crm-ann",
]


@pytest.mark.parametrize("field", HOP_BY_HOP)
async def test_rule_05_a_hop_by_hop_field_ends_here(entrance: Entrance, caller: Caller, field: bytes) -> None:
    assert (await caller.ask(entrance.request(fields=field + b"\r\n"))).endswith(b"ok")
    assert entrance.requests == [BARE]


async def test_rule_05_the_callers_tag_ends_here(entrance: Entrance, caller: Caller) -> None:
    await caller.ask(entrance.request(fields=b"Accept: */*\r\n"))
    (request,) = entrance.requests
    assert request == BARE.replace(CREDENTIAL, b"Accept: */*\r\n" + CREDENTIAL)
    assert TOKEN.encode() not in request


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: X-Mine\r\nX-Mine: 1\r\n",
        b"x-mine: 1\r\nconnection: close, x-MINE\r\n",
        b"Connection: keep-alive\r\nX-Mine: 1\r\nConnection:\tX-Mine\t,\r\nX-Mine: 2\r\n",
        b"Connection: X_Mine\r\nX-Mine: 1\r\n",
        b"Connection: x-mine\r\nX_Mine: 1\r\n",
        b"Connection: cookie,accept , X-Mine\r\nCookie: a\r\nAccept: b\r\nX-Mine: c\r\n",
        b"Connection: x-absent, keep-alive\r\n",
        b"Connection: te, trailer, upgrade, proxy-authorization, x-connection-id\r\nTE: trailers\r\n",
    ],
)
async def test_rule_05_whatever_connection_nominates_ends_here(
    entrance: Entrance, caller: Caller, fields: bytes
) -> None:
    assert (await caller.ask(entrance.request(fields=fields))).endswith(b"ok")
    assert entrance.requests == [BARE]


NOMINATED = [
    b"host",
    b"Host",
    b"HOST",
    b"keep-alive, Host",
    b"close,host,x",
    b"content-length",
    b"Content-Length",
    b"content_length",
    b"transfer-encoding",
    b"Transfer_Encoding",
    b"content-type",
    b"via",
    b"authorization",
    b"Authorization",
    b"keep-alive ,\tAUTHORIZATION\t, x",
    b"x-service-key",
    b"X_Service_Key",
    b"x-Service_key",
]


@pytest.mark.parametrize("nominated", NOMINATED)
@pytest.mark.parametrize("before", [b"", b"Connection: keep-alive\r\n"], ids=["one", "two"])
async def test_rule_05_connection_may_not_nominate_what_frames_routes_or_is_injected(
    entrance: Entrance, caller: Caller, nominated: bytes, before: bytes
) -> None:
    entrance.connect(
        inject='[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\nX-Service-Key = "{{ api_key }}"\n'
    )
    fields = before + b"Connection: %b\r\nContent-Length: 3\r\n" % nominated
    assert problem(await caller.ask(entrance.request("POST", fields=fields, content=b"abc"))) == REJECTED
    assert entrance.service.connections == 0


@pytest.mark.parametrize(
    "name",
    [
        b"Content_Type",
        b"content_encoding",
        b"Proxy_Authorization",
        b"proxy_connection",
        b"PROXY_ANYTHING",
        b"X_Connection_Id",
        b"Con_nection",
        b"Upgrade_",
        b"x_http_method_override",
        b"X_Original-URL",
        b"X-Rewrite_URL",
    ],
)
async def test_rule_05_an_underscore_hides_none_of_them(entrance: Entrance, caller: Caller, name: bytes) -> None:
    """`Con_nection` and `Upgrade_` are names of nothing."""
    answer = await caller.ask(entrance.request(fields=b"%b: x\r\n" % name))
    if name in {b"Con_nection", b"Upgrade_"}:
        assert answer.endswith(b"ok")
        assert b"\r\n%b: x\r\n" % name in entrance.requests[0]
    else:
        assert problem(answer) == REJECTED
        await assert_ends(caller)
        assert entrance.service.connections == 0


@pytest.mark.parametrize("name", [b"X-Original-URL", b"x-rewrite-url"])
async def test_rule_05_what_a_server_may_take_for_the_target_ends_here(
    entrance: Entrance, caller: Caller, name: bytes
) -> None:
    await caller.ask(entrance.request(fields=name + b": /admin\r\n"))
    assert entrance.requests == [BARE]


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: close\r\n",
        b"Connection: X-Theirs\r\nX-Theirs: 1\r\n",
        b"connection: keep-alive, x_theirs\r\nX-Theirs: 1\r\n",
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
        b"Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: x\r\n",
        b"Proxy-Status: connection-gateway; error=proxy_internal_error\r\nProxy_Status: x\r\n",
        b"TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        b'Alt-Svc: h2="evil.test:443"\r\n',
        b"Content_Length: 7\r\nTransfer_Encoding: chunked\r\n",
    ],
)
async def test_rule_05_an_answers_hop_by_hop_fields_end_here_too(
    entrance: Entrance, caller: Caller, fields: bytes
) -> None:
    entrance.service.script = [b"HTTP/1.1 200 OK\r\nX-A: 1\r\n%bContent-Length: 2\r\n\r\nok" % fields]
    answer = await caller.ask(entrance.request())
    assert answer == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n" + VIA + b"\r\nok"


async def test_rule_08_via_is_added_behind_those_that_are_there(entrance: Entrance, caller: Caller) -> None:
    theirs = b"Via: 1.0 theirs, HTTP/1.1 other (comment)\r\n"
    entrance.service.script = [b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % theirs]
    answer = await caller.ask(entrance.request(fields=b"Via: 1.0 mine\r\n"))
    assert entrance.requests == [BARE.replace(CREDENTIAL, b"Via: 1.0 mine\r\n" + CREDENTIAL)]
    assert answer == b"HTTP/1.1 200 OK\r\n" + theirs + b"Content-Length: 2\r\n" + VIA + b"\r\nok"


@pytest.mark.parametrize(
    "via",
    [
        b"Via: 1.1 gateway-test\r\n",
        b"via: HTTP/1.1 gateway-test (a comment)\r\n",
        b"VIA: 1.0 other,1.1 gateway-test,1.1 another\r\n",
        b"Via: 1.1 other\r\nAccept: */*\r\nVia:1.1\tgateway-test\r\n",
    ],
)
async def test_rule_08_a_request_that_came_through_this_gateway_is_a_loop(
    entrance: Entrance, caller: Caller, via: bytes
) -> None:
    assert problem(await caller.ask(entrance.request(fields=via))) == (508, "loop_detected")
    assert entrance.service.connections == 0


async def test_rule_08_what_the_gateway_sends_is_a_loop_when_it_comes_back(entrance: Entrance, caller: Caller) -> None:
    await caller.ask(entrance.request())
    (line,) = [line for line in entrance.requests[0].split(b"\r\n") if line.startswith(b"Via")]
    assert problem(await caller.ask(entrance.request(fields=line + b"\r\n"))) == (508, "loop_detected")
    assert len(entrance.requests) == 1


@pytest.mark.parametrize("answers", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::ffff:127.0.0.1"], ["0.0.0.0"]])
async def test_rule_08_a_target_that_resolves_to_this_gateway_is_a_loop(entrance: Entrance, answers: list[str]) -> None:
    """Its port is written out in the policy: it is the gateway itself all the same."""
    port = entrance.gateway.port
    origin = f"{entrance.scheme}://loop.test:{port}"
    entrance.egress.names["loop.test"] = [answers]
    entrance.connect(urls=(origin,))
    caller = await entrance.outside()
    if entrance.in_tunnel:
        await caller.ask(connect(f"loop.test:{port}"))
        if entrance.scheme == "https":
            await caller.writer.start_tls(entrance.trust(), server_hostname="loop.test")
        request = entrance.request(host=b"loop.test")
    else:
        request = entrance.request().replace(b"http://ok.test", origin.encode())
    assert problem(await caller.ask(request)) == (508, "loop_detected")
    assert entrance.egress.dialled == []
