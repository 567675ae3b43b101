"""Rules 2 and 3: which CONNECT opens a tunnel, what is read behind a refusal, and what may be said inside."""

import ssl

import pytest

from tests.proxy.harness import TOKEN, Caller
from tests.rules.entrances import (
    INVALID,
    NOT_ALLOWED,
    REJECTED,
    TLS_TUNNEL,
    VIA,
    Entrance,
    assert_ends,
    connect,
    problem,
    tagged,
)

OPEN = b"HTTP/1.1 200 Connection Established\r\n\r\n"
BEHIND = (
    b"POST http://ok.test/admin HTTP/1.1\r\nHost: ok.test\r\n" + tagged() + b"Content-Length: 0\r\n\r\n",
    b"POST /admin HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)

REFUSED_CONNECTS = {
    "without port": (connect("ok.test"), INVALID),
    "empty port": (connect("ok.test:"), INVALID),
    "port 0": (connect("ok.test:0"), INVALID),
    "port 00443": (connect("ok.test:00443"), INVALID),
    "port 65536": (connect("ok.test:65536"), INVALID),
    "port 4４3": (connect("ok.test:4４3"), REJECTED),  # noqa: RUF001 - the vector
    "port 25": (connect("ok.test:25"), NOT_ALLOWED),
    "port 22": (connect("ok.test:22"), NOT_ALLOWED),
    "port 8443": (connect("ok.test:8443"), NOT_ALLOWED),
    "absolute-form": (connect("https://ok.test:443"), INVALID),
    "origin-form": (connect("/c/crm-ann/ok.test:443"), INVALID),
    "path": (connect("ok.test:443/"), INVALID),
    "userinfo": (connect("ok.test@evil.test:443"), INVALID),
    "another host": (connect("evil.test:443"), NOT_ALLOWED),
    "a longer host": (connect("ok.test.evil:443"), NOT_ALLOWED),
    "a host before it": (connect("notok.test:443"), NOT_ALLOWED),
    "a subdomain": (connect("a.ok.test:443"), NOT_ALLOWED),
    "CL": (connect("ok.test:443", fields=b"Content-Length: 3\r\n") + b"abc", REJECTED),
    "TE": (connect("ok.test:443", fields=b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", REJECTED),
    "CL and TE": (
        connect("ok.test:443", fields=b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        REJECTED,
    ),
    "two Hosts": (connect("ok.test:443", fields=b"Host: ok.test:443\r\n"), REJECTED),
    "HTTP/2.0": (connect("ok.test:443").replace(b"HTTP/1.1", b"HTTP/2.0"), REJECTED),
    "through this gateway": (connect("ok.test:443", fields=VIA), (508, "loop_detected")),
    "an unknown connection": (connect("ok.test:443", connection="crm-bob"), (403, "connection_not_permitted")),
    "a foreign connection": (connect("ok.test:443", connection="hr-ann"), (403, "connection_not_permitted")),
    "two connections": (connect("ok.test:443", fields=b"X-Connection-Id: crm-bob\r\n"), REJECTED),
    "untagged": (
        b"CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\r\n",
        (407, "proxy_authentication_required"),
    ),
    "wrong token": (
        b"CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n" + tagged(token="gwc_wrong") + b"\r\n",
        (407, "proxy_authentication_required"),
    ),
    "the SDK's tag": (
        b"CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\nX-Api-Key: %b\r\n\r\n" % TOKEN.encode(),
        (407, "proxy_authentication_required"),
    ),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED_CONNECTS.values(), ids=REFUSED_CONNECTS)
async def test_rule_02_a_refused_connect_answers_closes_and_reads_nothing_more(
    plain: Entrance, sent: bytes, expected: tuple[int, str]
) -> None:
    for behind in BEHIND:
        caller = await plain.outside()
        await caller.send(sent + behind)
        answer = await caller.receive()
        assert problem(answer) == expected
        assert b"\r\nConnection: close\r\n" in answer
        await caller.send(behind)
        await assert_ends(caller)
    assert plain.service.connections == 0
    assert plain.gateway.log.take_recent() == [], "no request was read"


@pytest.mark.parametrize(
    ("urls", "allow", "opened", "refused"),
    [
        (("https://ok.test",), "", (443, 80), (8443, 25, 1)),
        (("https://ok.test", "https://ok.test:8443/v1"), "", (443, 80, 8443), (25, 8080)),
        (("https://ok.test",), "connect_ports = [8443]", (8443,), (443, 80)),
        (("https://ok.test:8443",), "connect_ports = [443]", (443,), (8443, 80)),
        (("https://ok.test",), "connect_ports = [443, 25]", (443, 25), (80,)),
        (("https://ok.test",), "connect_ports = []", (), (443, 80)),
    ],
    ids=["usual", "written out", "moved", "narrowed", "widened", "none"],
)
async def test_rule_02_which_ports_a_tunnel_may_go_to(
    plain: Entrance, urls: tuple[str, ...], allow: str, opened: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    plain.connect(urls=(*urls, "http://ok.test"), allow=allow)
    for port in opened:
        assert await (await plain.outside()).ask(connect(f"ok.test:{port}")) == OPEN
    for port in refused:
        caller = await plain.outside()
        assert problem(await caller.ask(connect(f"ok.test:{port}"))) == NOT_ALLOWED
        await assert_ends(caller)
    assert plain.service.connections == 0, "a tunnel alone dials nothing"


@pytest.mark.parametrize("authority", ["OK.TEST:443", "ok.test.:443", "Ok.Test.:80"])
async def test_rule_02_a_host_in_any_case_is_the_host(plain: Entrance, authority: str) -> None:
    assert await (await plain.outside()).ask(connect(authority)) == OPEN


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"
REFUSED_UPGRADES = {
    "path": ("/v2/socket", UPGRADE, NOT_ALLOWED),
    "target": ("/v1/../socket", UPGRADE, INVALID),
    "method": ("/v1/socket", UPGRADE + b"X-HTTP-Method-Override: DELETE\r\n", NOT_ALLOWED),
    "nominated": ("/v1/socket", UPGRADE.replace(b"Upgrade\r\n", b"Upgrade, authorization\r\n", 1), REJECTED),
    "content": ("/v1/socket", UPGRADE + b"Content-Length: 3\r\n", REJECTED),
    "chunks": ("/v1/socket", UPGRADE + b"Transfer-Encoding: chunked\r\n", REJECTED),
    "loop": ("/v1/socket", UPGRADE + VIA, (508, "loop_detected")),
    "another connection": ("/v1/socket", UPGRADE + b"X-Connection-Id: crm-bob\r\n", REJECTED),
}


@pytest.mark.parametrize(("path", "fields", "expected"), REFUSED_UPGRADES.values(), ids=REFUSED_UPGRADES)
async def test_rule_02_a_refused_upgrade_answers_closes_and_reads_nothing_more(
    entrance: Entrance, caller: Caller, path: str, fields: bytes, expected: tuple[int, str]
) -> None:
    entrance.connect(urls=("http://ok.test/v1", "https://ok.test/v1"), allow='methods = ["GET", "POST"]')
    behind = entrance.request("POST", "/v1/admin", fields=b"Content-Length: 0\r\n")
    await caller.send(entrance.request(path=path, fields=fields) + behind)
    answer = await caller.receive()
    assert problem(answer) == expected
    assert b"\r\nConnection: close\r\n" in answer
    await assert_ends(caller)
    assert entrance.service.connections == 0
    assert all(entry.method == "GET" for entry in entrance.gateway.log.take_recent())


async def test_rule_02_an_upgrade_of_a_revoked_caller_answers_closes_and_reads_nothing_more(
    entrance: Entrance, caller: Caller
) -> None:
    entrance.gateway.access.revoke()
    await caller.send(entrance.request(fields=UPGRADE) + entrance.request("POST", "/v1/admin"))
    assert problem(await caller.receive())[1] == "proxy_authentication_required"
    await assert_ends(caller)
    assert entrance.service.connections == 0


async def test_rule_02_a_connect_waits_behind_no_other_request(plain: Entrance) -> None:
    caller = await plain.outside()
    await caller.send(plain.request() + connect("ok.test:443") + BEHIND[0])
    assert (await caller.receive()).endswith(b"ok")
    assert problem(await caller.receive()) == REJECTED
    await assert_ends(caller)
    assert len(plain.requests) == 1


HOSTS = [
    b"evil.test",
    b"ok.test.evil",
    b"notok.test",
    b"a.ok.test",
    b"ok.test:8443",
    b"ok.test:0443",
    b"ok.test@evil.test",
    b"evil.test@ok.test",
    b"ok.test, evil.test",
    b"ok.test evil.test",
    b"ok.test/",
    b"ok.test\xff",
    b"ok%2etest",
    b"[ok.test]",
    b"",
]


@pytest.mark.parametrize("host", HOSTS)
async def test_rule_03_host_inside_a_tunnel_must_be_the_tunnels(tunnel: Entrance, host: bytes) -> None:
    caller = await tunnel.open()
    assert problem(await caller.ask(tunnel.request(host=host))) == REJECTED
    assert tunnel.service.connections == 0


async def test_rule_03_a_request_inside_a_tunnel_that_has_no_host_is_refused(tunnel: Entrance) -> None:
    """HTTP/1.0 needs none elsewhere."""
    caller = await tunnel.open()
    assert problem(await caller.ask(tunnel.request(host=None, version=b"HTTP/1.0"))) == REJECTED
    assert tunnel.service.connections == 0


@pytest.mark.parametrize("host", [b"ok.test", b"OK.TEST", b"ok.test.", b"  Ok.Test \t"])
async def test_rule_03_the_tunnels_host_may_be_spelled_in_any_case(tunnel: Entrance, host: bytes) -> None:
    caller = await tunnel.open()
    assert (await caller.ask(tunnel.request(host=host))).endswith(b"ok")
    assert b"\r\nHost: ok.test\r\n" in tunnel.requests[0]


@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.test/",
        b"https://evil.test/",
        b"http://ok.test:8080/",
        b"https://ok.test:8443/",
        b"http://ok.test@evil.test/",
        b"http://a.ok.test/",
        b"//evil.test/x",
        b"evil.test:443",
        b"/c/crm-bob/../x",
    ],
)
async def test_rule_03_a_target_inside_a_tunnel_names_no_other_origin(tunnel: Entrance, target: bytes) -> None:
    caller = await tunnel.open()
    for host in (b"ok.test", b"evil.test"):
        answer = await caller.ask(tunnel.raw(b"GET %b HTTP/1.1" % target, host=host))
        assert problem(answer) in {INVALID, REJECTED}
        if b"\r\nConnection: close\r\n" in answer:
            break
    assert tunnel.service.connections == 0


async def test_rule_03_the_other_scheme_inside_a_tunnel_is_another_origin(tunnel: Entrance) -> None:
    caller = await tunnel.open()
    other = "http" if tunnel.scheme == "https" else "https"
    assert problem(await caller.ask(tunnel.raw(f"GET {other}://ok.test/ HTTP/1.1".encode()))) == INVALID
    assert tunnel.service.connections == 0


async def test_rule_03_absolute_form_of_the_tunnels_own_origin_is_the_same_request(tunnel: Entrance) -> None:
    caller = await tunnel.open()
    answer = await caller.ask(tunnel.raw(f"GET {tunnel.scheme}://OK.TEST/v1/a?b HTTP/1.1".encode()))
    assert answer.endswith(b"ok")
    assert tunnel.requests[0].startswith(b"GET /v1/a?b HTTP/1.1\r\nHost: ok.test\r\n")


async def test_rule_03_the_other_entrances_are_not_open_inside_a_tunnel(tunnel: Entrance) -> None:
    """A path of the service's that looks like path-style stays the service's, and its tag the tunnel's."""
    caller = await tunnel.open()
    await caller.ask(tunnel.request(path="/c/crm-bob/http://evil.test/"))
    (request,) = tunnel.requests
    assert request.startswith(b"GET /c/crm-bob/http://evil.test/ HTTP/1.1\r\nHost: ok.test\r\n")


async def test_rule_03_a_connect_inside_a_tunnel_is_refused(tunnel: Entrance) -> None:
    caller = await tunnel.open()
    await caller.send(connect("ok.test:443") + tunnel.request())
    assert problem(await caller.receive()) == REJECTED
    await assert_ends(caller)
    assert tunnel.service.connections == 0


@pytest.mark.parametrize("tunnel", [TLS_TUNNEL], indirect=True)
@pytest.mark.parametrize("name", ["evil.test", "ok.test.evil.test", "a.ok.test", "notok.test"])
async def test_rule_03_a_server_name_that_is_not_the_tunnels_ends_the_handshake(tunnel: Entrance, name: str) -> None:
    caller = await tunnel.gateway.open()  # the handshake's failure closes it
    assert await caller.ask(connect("ok.test:443")) == OPEN
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await caller.writer.start_tls(tunnel.trust(), server_hostname=name)
    assert tunnel.service.connections == 0


@pytest.mark.parametrize("tunnel", [TLS_TUNNEL], indirect=True)
async def test_rule_03_a_server_name_in_capitals_is_the_tunnels(tunnel: Entrance) -> None:
    caller = await tunnel.outside()
    await caller.ask(connect("ok.test:443"))
    await caller.writer.start_tls(tunnel.trust(), server_hostname="OK.TEST")
    assert (await caller.ask(tunnel.request())).endswith(b"ok")


async def test_rule_03_each_request_inside_a_tunnel_is_decided_anew(tunnel: Entrance) -> None:
    caller = await tunnel.open()
    assert (await caller.ask(tunnel.request())).endswith(b"ok")
    tunnel.connect(urls=("http://ok.test/v2", "https://ok.test/v2"))
    assert problem(await caller.ask(tunnel.request())) == NOT_ALLOWED
    assert (await caller.ask(tunnel.request(path="/v2/a"))).endswith(b"ok")
    tunnel.connect(allow='methods = ["POST"]')
    assert problem(await caller.ask(tunnel.request())) == NOT_ALLOWED
    tunnel.gateway.vault.lives.clear()
    assert problem(await caller.ask(tunnel.request("POST"))) == (403, "connection_not_permitted")
    tunnel.connect()
    tunnel.gateway.access.revoke()
    assert problem(await caller.ask(tunnel.request())) == (407, "proxy_authentication_required")
    assert len(tunnel.requests) == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [(b"X-Connection-Id: crm-bob\r\n", REJECTED), (b"X_Connection_Id: crm-bob\r\n", REJECTED)],
)
async def test_rule_03_a_request_inside_a_tunnel_names_no_other_connection(
    tunnel: Entrance, fields: bytes, expected: tuple[int, str]
) -> None:
    tunnel.connect(connection_id="crm-bob", secret="tok_of_bob")
    caller = await tunnel.open()
    assert problem(await caller.ask(tunnel.request(fields=fields))) == expected
    assert tunnel.service.connections == 0


async def test_rule_03_a_tag_inside_a_tunnel_changes_nothing_and_goes_no_further(tunnel: Entrance) -> None:
    tunnel.connect(connection_id="crm-bob", secret="tok_of_bob")
    caller = await tunnel.open()
    assert (await caller.ask(tunnel.request(fields=tagged("crm-bob")))).endswith(b"ok")
    (request,) = tunnel.requests
    assert b"tok_abcdefgh" in request
    assert b"tok_of_bob" not in request
    assert b"Proxy" not in request
