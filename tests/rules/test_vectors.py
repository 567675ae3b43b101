"""http-rules.md, "Vectors to start from": each in every entrance that can say it.

The host of a URL is said in the request line, behind `/c/<connection>/` and in a CONNECT, and inside a tunnel in the
request line and as Host. Those that are about fields stand with their rules: `Content_Length` in test_framing.py,
`Connection: authorization` in test_fields.py, what is pipelined behind a refusal in test_tunnels.py.
"""

import base64

import pytest

from gateway.policy.inject import InjectionInvalid
from tests.proxy.harness import TOKEN, Caller
from tests.rules.entrances import (
    ABSOLUTE,
    INVALID,
    NOT_ALLOWED,
    PATH,
    PUBLIC,
    REJECTED,
    Entrance,
    assert_ends,
    connect,
    problem,
    tagged,
)

WITH_SUBDOMAINS = ("http://ok.test", "https://ok.test", "http://*.ok.test", "https://*.ok.test")
ADDRESS = (403, "address_not_allowed")

HOSTS = [
    "ok.test@evil",
    "ok.test:80@evil",
    "evil\\@ok.test",
    "evil#@ok.test",
    "evil?@ok.test",
    "evil/@ok.test",
    "ok.test%2eevil",
    "ok.test%2Eevil",
    "evil%23.ok.test",
    "evil%2f.ok.test",
    "evil%00.ok.test",
    "evil;ok.test",
    "evil,ok.test",
    "evil|.ok.test",
    "ok.test\t.evil",
    "ok.test .evil",
    "[ok.test]",
    "[ok.test",
    "ok.test]",
    "ｏｋ.test",  # noqa: RUF001 - the vector
    "ok。test",
    "ok｡test",
    "ok․test",  # noqa: RUF001 - the vector
    "faß.de",
    "ok.test\u00ad",
    "notok.test",
    "ok.test.evil",
    "ok.test-evil",
    "ok-test",
    "ok.tes",
    "k.test",
    "ok.test..",
    ".ok.test",
    "a..ok.test",
    "*.ok.test",
    "-.ok.test",
    "",
    "@",
    "@ok.test",
    ":@ok.test",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "127.0.0.01",
    "①②⑦.⓪.⓪.①",
    "0",
    "0x",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[2002:a00:1::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::]",
    "[::1]",
    "localhost",
]


def shown(text: str) -> str:
    """How a case is called."""
    return ascii(text)


@pytest.mark.parametrize("host", HOSTS, ids=shown)
async def test_vectors_a_host_that_is_not_the_allowed_one_in_any_reading_is_refused(
    entrance: Entrance, host: str
) -> None:
    entrance.connect(urls=WITH_SUBDOMAINS)
    assert problem(await entrance.fetch(host)) in {INVALID, NOT_ALLOWED, REJECTED}
    assert entrance.egress.dialled == []


@pytest.mark.parametrize("host", HOSTS, ids=shown)
async def test_vectors_such_a_host_is_refused_inside_a_tunnel_too(tunnel: Entrance, host: str) -> None:
    tunnel.connect(urls=WITH_SUBDOMAINS)
    line = f"GET {tunnel.scheme}://{host}/ HTTP/1.1".encode()
    for request in (tunnel.raw(line), tunnel.raw(line, host=host.encode()), tunnel.request(host=host.encode())):
        caller = await tunnel.open()
        assert problem(await caller.ask(request)) in {INVALID, REJECTED}
    assert tunnel.egress.dialled == []


@pytest.mark.parametrize(
    "port",
    ["0", "00443", "080", "４４３", "+80", "-80", "80x", " 80", "65536", "4294967376", "0x50"],  # noqa: RUF001 - the vector
)
async def test_vectors_a_port_that_is_no_plain_number_is_refused(entrance: Entrance, port: str) -> None:
    assert problem(await entrance.fetch("ok.test", port=port)) in {INVALID, REJECTED}
    assert entrance.egress.dialled == []


PATHS = [
    "/a/%2e%2e/b",
    "/a/%2E%2e/b",
    "/a/.%2e/b",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/a/..;/b",
    "/a/..;x=y/b",
    "/a/%2e%2e;/b",
    "/a%2f..%2fb",
    "/a%2F%2e%2e%2Fb",
    "/a/..%2fb",
    "/a/..%5cb",
    "/a/..\\b",
    "/a%5c..%5cb",
    "/a/%252e%252e/b",
    "/a%252f..%252fb",
    "/a/..%3fb",
    "/a/..%23b",
    "/a/..%253fb",
    "/a/..%20/b",
    "/a/.%09/b",
    "/a/%c0%ae%c0%ae/b",
    "/a%c0%af..%c0%afb",
    "/a/%e0%80%ae%e0%80%ae/b",
    "/a/%f0%80%80%ae./b",
    "/a/..%c1%9cb",
    "/a/%u002e%u002E/b",
    "/a/%25u002e./b",
    "/a/%ef%bc%8e%ef%bc%8e/b",
    "/a/%uff0e./b",
    "/a/%e2%80%a5/b",
    "//evil/x",
    "//evil@ok.test/x",
    "/a#b",
    "/a\tb",
    "/a b",
    "/ä",
    "/a%00b",
    "/a\x00b",
    "/a\x7fb",
]


@pytest.mark.parametrize("path", PATHS, ids=shown)
async def test_vectors_a_path_that_climbs_in_any_reading_is_refused(
    entrance: Entrance, caller: Caller, path: str
) -> None:
    assert problem(await caller.ask(entrance.request(path=path))) in {INVALID, REJECTED}
    assert entrance.egress.dialled == []


@pytest.mark.parametrize("entrance", [PATH], indirect=True)
@pytest.mark.parametrize(
    "path",
    [
        "/c/crm-ann/@evil/",
        "/c/crm-ann/.evil/",
        "/c/crm-ann/:80@evil/",
        "/c/crm-ann/%2e%2e/x",
        "/c/crm-ann/../x",
        "/c/crm-ann/a/..;/b",
        "/c/crm-ann/https:/ok.test@evil/",
        "/c/crm-ann/https:evil/",
        "/c/crm-ann/http:///evil/",
        "/c/crm-ann/HTTP://evil/",
        "/c/crm-ann/%68ttp://evil/",
        "/c/crm-ann?@evil",
        "/c/crm-ann#@evil",
        "/c/crm-ann@evil/",
        "/c/crm%2dann/x",
        "/c//crm-ann/x",
        "/c/./crm-ann/x",
        "/C/crm-ann/x",
        "//c/crm-ann/x",
        "/c/crm-ann\\x",
    ],
)
async def test_vectors_what_stands_behind_the_connection_leads_nowhere_else(
    entrance: Entrance, caller: Caller, path: str
) -> None:
    """Relative to the base URL it is a path on that host; else it is refused."""
    answer = await caller.ask(entrance.raw(f"GET {path} HTTP/1.1".encode()))
    if answer.endswith(b"\r\n\r\nok"):
        assert entrance.egress.dialled == [f"{PUBLIC} 80"]
        assert b"\r\nHost: ok.test\r\n" in entrance.requests[0]
        assert entrance.requests[0].startswith(b"GET /v1" + path.removeprefix("/c/crm-ann").encode() + b" HTTP")
    else:
        assert problem(answer) in {INVALID, NOT_ALLOWED, REJECTED}
        assert entrance.egress.dialled == []


@pytest.mark.parametrize(
    "host",
    [
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::1]",
        "[::127.0.0.1]",
        "[fe80::1]",
        "[fec0::1]",
        "[::1]",
        "[fd00:ec2::254]",
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.254",
        "169.254.169.254",
        "168.63.129.16",
        "224.0.0.1",
        "0.0.0.0",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
    ],
)
async def test_vectors_an_address_that_leads_inside_is_refused_though_the_policy_allows_it(
    entrance: Entrance, host: str
) -> None:
    name = host.lower().removesuffix(".")
    entrance.connect(urls=(f"http://{name}", f"https://{name}"))
    entrance.egress.names["metadata.google.internal"] = [[PUBLIC]]
    assert problem(await entrance.fetch(host)) == ADDRESS
    assert entrance.egress.dialled == []


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.100.100.200"],
        ["192.0.0.192"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:a00:1::1"],
        ["fe80::1%1"],
        ["0.0.0.0"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "2606:4700::1111", "fd00::1"],
    ],
    ids=", ".join,
)
async def test_vectors_a_name_that_leads_inside_is_refused_though_the_policy_allows_it(
    entrance: Entrance, answers: list[str]
) -> None:
    entrance.egress.names["ok.test"] = [answers]
    assert problem(await entrance.fetch("ok.test")) == ADDRESS
    assert entrance.egress.dialled == []


async def test_vectors_a_name_that_is_public_first_and_loopback_next_is_asked_once(entrance: Entrance) -> None:
    """The address that was checked is dialled; the new answer is checked when there is a new connection."""
    entrance.egress.names["ok.test"] = [[PUBLIC], ["127.0.0.1"]]
    entrance.service.script = [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"]
    assert (await entrance.fetch("ok.test")).endswith(b"ok")
    assert entrance.egress.dialled == [f"{PUBLIC} {443 if entrance.scheme == 'https' else 80}"]
    assert problem(await entrance.fetch("ok.test")) == ADDRESS
    assert len(entrance.egress.dialled) == 1


@pytest.mark.parametrize("host", ["OK.TEST", "ok.test.", "Ok.Test.", "ok.test"])
async def test_vectors_the_allowed_host_passes_in_any_case_and_with_its_last_dot(entrance: Entrance, host: str) -> None:
    assert (await entrance.fetch(host)).endswith(b"ok")
    assert b"\r\nHost: ok.test\r\n" in entrance.requests[0]


async def test_vectors_the_default_port_passes_written_out(entrance: Entrance) -> None:
    port = "443" if entrance.scheme == "https" else "80"
    assert (await entrance.fetch("ok.test", port=port)).endswith(b"ok")
    assert b"\r\nHost: ok.test\r\n" in entrance.requests[0]


@pytest.mark.parametrize("address", ["100.63.255.254", "100.128.0.1"])
@pytest.mark.parametrize("named", [True, False], ids=["by name", "literally"])
async def test_vectors_an_address_beside_a_refused_network_is_public(
    entrance: Entrance, address: str, *, named: bool
) -> None:
    host = "ok.test" if named else address
    entrance.egress.names["ok.test"] = [[address]]
    entrance.connect(urls=(f"http://{host}", f"https://{host}"))
    assert (await entrance.fetch(host)).endswith(b"ok")
    assert entrance.egress.dialled == [f"{address} {443 if entrance.scheme == 'https' else 80}"]


async def test_vectors_a_connect_with_a_post_behind_it(plain: Entrance) -> None:
    caller = await plain.outside()
    await caller.send(connect("x:443") + b"POST /admin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert problem(await caller.receive()) == NOT_ALLOWED
    await assert_ends(caller)
    assert plain.gateway.log.take_recent() == []


BREAKING = ["tok\r\nX-Injected: 1", "tok\nX-Injected: 1", "tok\rX-Injected: 1", "tok\0", "tok\r\n\r\nGET / HTTP/1.1"]


@pytest.mark.parametrize("secret", BREAKING, ids=shown)
async def test_vectors_a_token_with_line_breaks_makes_no_header_and_no_request_line(
    entrance: Entrance, caller: Caller, secret: str
) -> None:
    with pytest.raises(InjectionInvalid) as refused:
        entrance.connect(secret=secret)
    assert "tok" not in str(refused.value)
    entrance.connect(inject='[inject.query]\nservice_key = "{{ api_key }}"\n', secret=secret)
    assert (await caller.ask(entrance.request())).endswith(b"ok")
    (request,) = entrance.requests
    assert request.startswith(b"GET /v1/users?service_key=tok%0")
    assert request.count(b"\r\n") == 4
    assert b"X-Injected: 1" not in request


@pytest.mark.parametrize("entrance", [ABSOLUTE], indirect=True)
@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0"], ids=shown)
async def test_vectors_a_tag_with_line_breaks_shows_no_client(entrance: Entrance, caller: Caller, break_: str) -> None:
    for text in (f"crm-ann:{TOKEN}{break_}X-Injected: 1", f"crm-ann{break_}X-Injected: 1:{TOKEN}"):
        field = b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(text.encode())
        for request in (entrance.request().replace(tagged(), field), connect("ok.test:80").replace(tagged(), field)):
            caller = await entrance.outside()
            answer = await caller.ask(request)
            assert problem(answer) == (407, "proxy_authentication_required")
            assert b"X-Injected" not in answer
    assert entrance.egress.dialled == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (b"200 O\0K", b"200 OK"),
        (b"200 O\x01K", b"200 OK"),
        (b"200 O\x7fK", b"200 OK"),
        (b"404 \x1b[2Jfound", b"404 Not Found"),
        (b"299 \x07", b"299 "),
        (b"200 \xc3\xa4\t!", b"200 \xc3\xa4\t!"),
        (b"200 ", b"200 "),
        (b"200", b"200 "),
    ],
)
async def test_vectors_an_upstreams_reason_has_no_control_bytes(
    entrance: Entrance, caller: Caller, line: bytes, seen: bytes
) -> None:
    entrance.service.script = [b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % line]
    answer = await caller.ask(entrance.request())
    assert answer == b"HTTP/1.1 %b\r\nContent-Length: 2\r\nVia: 1.1 gateway-test\r\n\r\nok" % seen


@pytest.mark.parametrize("line", [b"200 O\rK", b"200 O\nX: y", b"200 OK\r\r\nX: y"])
async def test_vectors_a_reason_that_breaks_the_line_is_no_answer(
    entrance: Entrance, caller: Caller, line: bytes
) -> None:
    entrance.service.script = [b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok" % line]
    assert problem(await caller.ask(entrance.request())) == (502, "upstream_protocol")
