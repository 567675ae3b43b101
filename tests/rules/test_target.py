"""Rules 1 and 9: the target is read once, and goes out as it was matched; TRACE never does."""

import pytest

from tests.proxy.harness import Caller
from tests.rules.entrances import (
    ABSOLUTE,
    CREDENTIAL,
    INVALID,
    NOT_ALLOWED,
    PATH,
    REJECTED,
    TLS_TUNNEL,
    TUNNEL,
    VIA,
    Entrance,
    assert_ends,
    problem,
)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/a%2Fb/%c3%A9/%7euser/~user",
        "/v1//a///",
        "/v1/.well-known/..x/.../a..b",
        "/v1/;p=1;q/$&'()*+,=:@!-._",
        '/v1/|"<>{}^`[]',
        "/v1/a?",
        "/v1/a?x=%20&y=+&y=a/../b//c&&z&",
        "/v1/a?url=http://evil.test/%2e%2e/?x=1",
        "/v1/http://evil.test/x",
        "/V1/UsErS",
    ],
)
async def test_rule_01_what_was_matched_is_what_is_sent_byte_for_byte(
    entrance: Entrance, caller: Caller, path: str
) -> None:
    assert (await caller.ask(entrance.request(path=path))).endswith(b"ok")
    (request,) = entrance.requests
    assert request.startswith(b"GET %b HTTP/1.1\r\nHost: ok.test\r\n" % path.encode())


@pytest.mark.parametrize("host", [b"evil.test", b"ok.test:80", b"OK.TEST.", b"ok.test@evil.test", b"", b"a b", b"\xff"])
async def test_rule_01_absolute_form_beats_host_which_is_written_anew(
    entrance: Entrance, caller: Caller, host: bytes
) -> None:
    """A tunnel has an authority of its own, which Host must equal: rule 3."""
    if entrance.in_tunnel:
        host = b"OK.TEST"
    assert (await caller.ask(entrance.request(host=host, fields=b"Accept: */*\r\n"))).endswith(b"ok")
    assert entrance.requests == [
        b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\nAccept: */*\r\n" + CREDENTIAL + VIA + b"\r\n"
    ]


@pytest.mark.parametrize("entrance", [ABSOLUTE, PATH], indirect=True)
async def test_rule_01_a_request_of_http_1_0_without_host_gets_one(entrance: Entrance, caller: Caller) -> None:
    await caller.send(entrance.request(host=None, version=b"HTTP/1.0"))
    assert (await caller.rest()).endswith(b"ok")
    assert entrance.requests == [b"GET /v1/users HTTP/1.1\r\nHost: ok.test\r\n" + CREDENTIAL + VIA + b"\r\n"]


async def test_rule_01_a_request_of_http_1_1_without_host_is_refused(entrance: Entrance, caller: Caller) -> None:
    assert problem(await caller.ask(entrance.request(host=None))) == REJECTED
    await assert_ends(caller)
    assert entrance.requests == []


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1?x", "/v1/a/b"])
async def test_rule_01_a_path_that_is_allowed_is_allowed_up_to_a_segment(
    entrance: Entrance, caller: Caller, path: str
) -> None:
    entrance.connect(urls=("http://ok.test/v1", "https://ok.test/v1"))
    assert (await caller.ask(entrance.request(path=path))).endswith(b"ok")
    assert entrance.requests[0].startswith(b"GET %b HTTP/1.1\r\n" % path.encode())


@pytest.mark.parametrize(
    "path", ["/", "/v1x", "/v2/../v1", "/v1/../v2", "/v1/..", "/V1/users", "/v%31/users", "/v1%2Fusers", "/v1;/users"]
)
async def test_rule_01_a_path_that_only_resembles_an_allowed_one_is_refused(
    entrance: Entrance, caller: Caller, path: str
) -> None:
    entrance.connect(urls=("http://ok.test/v1", "https://ok.test/v1"))
    assert problem(await caller.ask(entrance.request(path=path))) in {NOT_ALLOWED, INVALID}
    assert entrance.service.connections == 0


@pytest.mark.parametrize(
    "path",
    [
        "/v1/admin",
        "/v1/admin/",
        "/v1/Admin/x?y",
        "/v1//admin",
        "/v1/%61dmin",
        "/v1/;/admin",
        "/v1/admin;x",
        "/v1%2fadmin",
        "/v1/admin%3fx",
        "/v1/admin%2523x",
        "/v1/admin.",
        "/v1/admin%20",
        "/v1/admin%2e%20/x",
        "/v1/admin%c0%afx",
        "/v1/adm%u0069n",
        "/v1/%ef%bd%81dmin",
    ],
)
async def test_rule_01_no_spelling_of_a_denied_path_gets_through(entrance: Entrance, caller: Caller, path: str) -> None:
    entrance.connect(allow='deny = ["ok.test/v1/admin"]')
    assert problem(await caller.ask(entrance.request(path=path))) == NOT_ALLOWED
    assert entrance.service.connections == 0


@pytest.mark.parametrize("entrance", [ABSOLUTE, TUNNEL, TLS_TUNNEL], indirect=True)
@pytest.mark.parametrize(
    "target", [b"*", b"ok.test:80", b"v1/users", b"ftp://ok.test/", b"ws://ok.test/", b"http:ok.test"]
)
async def test_rule_01_a_target_of_another_form_is_refused(entrance: Entrance, caller: Caller, target: bytes) -> None:
    answer = await caller.ask(entrance.raw(b"OPTIONS %b HTTP/1.1" % target))
    assert problem(answer) in {INVALID, REJECTED}
    assert entrance.service.connections == 0


@pytest.mark.parametrize("fields", [b"", b"Max-Forwards: 0\r\n", b"Content-Length: 0\r\n"])
async def test_rule_09_trace_is_refused(entrance: Entrance, caller: Caller, fields: bytes) -> None:
    assert problem(await caller.ask(entrance.request("TRACE", fields=fields))) == REJECTED
    assert entrance.service.connections == 0


@pytest.mark.parametrize("method", ["trace", "TRACK", "tRaCe"])
async def test_rule_09_what_a_server_may_take_for_trace_is_no_method_here(
    entrance: Entrance, caller: Caller, method: str
) -> None:
    assert problem(await caller.ask(entrance.request(method))) == REJECTED
    await assert_ends(caller)
    assert entrance.service.connections == 0


@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"x-http-method", b"X-Method-Override"])
async def test_rule_09_trace_is_refused_under_another_name_too(entrance: Entrance, caller: Caller, name: bytes) -> None:
    assert problem(await caller.ask(entrance.request("POST", fields=name + b": trace\r\n"))) == NOT_ALLOWED
    assert entrance.service.connections == 0
