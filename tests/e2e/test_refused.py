"""What is refused: the right code and status, Proxy-Status on it, and upstream saw not a byte."""

import itertools
import socket
from base64 import b64encode

import pytest

from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.running import Answer, until

CURL = CLIENTS[0]
_numbers = itertools.count(1)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """The answer is the gateway's own, of this code."""
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["proxy-status"]
    assert answer.json()["request_id"]


@pytest.fixture
def call(gateway, gateway_ca, upstream_service):
    """Send a GET with any tag by any entrance but CONNECT."""

    def send(entrance: str, connection: str, token: str, path: str = "/v1/json") -> Answer:
        if entrance == "path":
            base = f"http://127.0.0.1:{gateway.port}/c/{connection}/{upstream_service.http}"
            way = Route(entrance="path", base=base, ca=gateway_ca, fields=(("Authorization", f"Bearer {token}"),))
        else:
            proxy = f"http://{connection}:{token}@127.0.0.1:{gateway.port}"
            way = Route(entrance="absolute", base=upstream_service.http, ca=gateway_ca, proxy=proxy)
        return CURL.send(way, "GET", path)

    return send


@pytest.mark.parametrize("entrance", ["absolute", "path"])
def test_a_wrong_token(entrance, call, tagged, upstream):
    answer = call(entrance, tagged.connection, "gwc_" + "A" * 43)

    assert_refused(answer, 401 if entrance == "path" else 407, "proxy_authentication_required")
    assert ("www-authenticate" if entrance == "path" else "proxy-authenticate") in answer.headers
    assert upstream.saw_nothing()


@pytest.mark.parametrize("entrance", ["absolute", "path"])
def test_an_unknown_connection_and_somebody_elses_get_one_answer(entrance, call, tagged, upstream, gateway):
    outsider = gateway.client(f"outsider-{next(_numbers)}", "nothing-*")

    unknown = call(entrance, "nothing-here", outsider)
    not_theirs = call(entrance, tagged.connection, outsider)

    assert_refused(unknown, 403, "connection_not_permitted")
    assert_refused(not_theirs, 403, "connection_not_permitted")
    said = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in (unknown, not_theirs)]
    assert str(said[0]).replace("nothing-here", "X") == str(said[1]).replace(tagged.connection, "X")
    assert upstream.saw_nothing()


@pytest.mark.parametrize("entrance", ["absolute", "path"])
def test_no_tag_at_all(entrance, gateway, gateway_ca, tagged, upstream):
    if entrance == "path":
        base = f"http://127.0.0.1:{gateway.port}/c/{tagged.connection}/{upstream.http}"
        way = Route(entrance="path", base=base, ca=gateway_ca)
    else:
        way = Route(entrance="absolute", base=upstream.http, ca=gateway_ca, proxy=f"http://127.0.0.1:{gateway.port}")

    answer = CURL.send(way, "GET", "/v1/json")

    assert_refused(answer, 401 if entrance == "path" else 407, "proxy_authentication_required")
    assert upstream.saw_nothing()


@pytest.mark.parametrize("entrance", ["absolute", "path"])
def test_a_target_outside_the_allowed_urls_with_a_hint(entrance, call, make_tagged, upstream):
    """The hint shows the entry that came closest."""
    vaulted = make_tagged("vaulted")

    answer = call(entrance, vaulted.connection, vaulted.token, "/v1/other?secret=1")

    assert_refused(answer, 403, "target_not_allowed")
    assert "/v1/vaulted" in answer.json()["hint"]
    assert "secret=1" not in answer.body.decode() + answer.headers["proxy-status"]
    assert upstream.saw_nothing()


def test_a_denied_path_and_dot_segments(call, tagged, upstream):
    """`deny` wins over `urls`, and a path that would climb is refused, not repaired."""
    assert_refused(call("absolute", tagged.connection, tagged.token, "/v1/admin/users"), 403, "target_not_allowed")
    assert_refused(call("absolute", tagged.connection, tagged.token, "/v1/a/%2e%2e/b"), 400, "target_invalid")
    assert upstream.saw_nothing()


def test_a_method_that_the_policy_leaves_out(make_tagged, gateway, gateway_ca, upstream):
    vaulted = make_tagged("vaulted")
    proxy = f"http://{vaulted.connection}:{vaulted.token}@127.0.0.1:{gateway.port}"
    way = Route(entrance="absolute", base=f"http://localhost:{upstream.tls_port}", ca=gateway_ca, proxy=proxy)

    assert_refused(CURL.send(way, "DELETE", "/v1/vaulted/json"), 403, "target_not_allowed")
    assert upstream.saw_nothing()


def test_an_address_that_the_egress_guard_refuses(gateway, gateway_ca):
    """The policy allows the URLs; the address is refused all the same."""
    gateway.connect("inner", "inner-1")
    token = gateway.client("inner", "inner-*")
    proxy = f"http://inner-1:{token}@127.0.0.1:{gateway.port}"
    for base in ("http://10.1.2.3", "http://169.254.169.254"):
        answer = CURL.send(Route(entrance="absolute", base=base, ca=gateway_ca, proxy=proxy), "GET", "/latest")
        assert_refused(answer, 403, "address_not_allowed")


def test_a_target_that_is_the_gateway_itself(gateway, gateway_ca):
    """Neither of its listeners is reached through it, allowed or not."""
    gateway.connect("loop", "loop-1")
    token = gateway.client("loop", "loop-*")
    proxy = f"http://loop-1:{token}@127.0.0.1:{gateway.port}"
    for port in (gateway.port, gateway.web_port):
        way = Route(entrance="absolute", base=f"http://127.0.0.1:{port}", ca=gateway_ca, proxy=proxy)
        assert_refused(CURL.send(way, "GET", "/readyz"), 508, "loop_detected")


def test_a_disconnected_connection(make_tagged, call, gateway, upstream, provider):
    """The connection is refused at once, and its token is revoked at the provider."""
    gone = make_tagged()
    assert call("absolute", gone.connection, gone.token).status == 200
    upstream.clear()

    assert gateway.api("DELETE", f"/connections/{gone.connection}").status in {200, 204}

    assert_refused(call("absolute", gone.connection, gone.token), 403, "connection_not_permitted")
    assert upstream.saw_nothing()
    until(lambda: provider.tokens(gone.application) == [], within=10, what="the token is revoked at the provider")


class Tunnel:
    """A raw tunnel to the upstream's plain port, and literal bytes inside it."""

    def __init__(self, port: int, authority: str, connection: str, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        tag = b64encode(f"{connection}:{token}".encode()).decode()
        self.authority = authority
        self.opened = self.ask(
            f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic {tag}\r\n\r\n"
        )

    def ask(self, request: str) -> Answer:
        self.socket.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(65536)
            assert data, f"closed after {received!r}"
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self.socket.recv(65536)
        return Answer(status=int(first.split()[1]), headers=headers, body=body)

    def get(self, path: str) -> Answer:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: {self.authority}\r\n\r\n")


@pytest.fixture
def open_tunnel(gateway, upstream_service):
    made = []

    def make(connection: str, token: str, authority: str | None = None) -> Tunnel:
        tunnel = Tunnel(gateway.port, authority or f"localhost:{upstream_service.port}", connection, token)
        made.append(tunnel)
        return tunnel

    yield make
    for tunnel in made:
        tunnel.socket.close()


def test_a_client_revoked_inside_an_open_tunnel(make_tagged, gateway, open_tunnel, upstream):
    """The tunnel stands; the next request inside it is refused."""
    tagged = make_tagged()
    tunnel = open_tunnel(tagged.connection, tagged.token)
    assert tunnel.opened.status == 200
    assert tunnel.get("/v1/json").status == 200
    upstream.clear()
    name = "client-" + tagged.connection.rpartition("-")[2]

    assert gateway.api("DELETE", f"/clients/{name}").status in {200, 204}

    assert_refused(tunnel.get("/v1/json"), 407, "proxy_authentication_required")
    assert upstream.saw_nothing()


def test_a_connection_disconnected_inside_an_open_tunnel(make_tagged, gateway, open_tunnel, upstream):
    tagged = make_tagged()
    tunnel = open_tunnel(tagged.connection, tagged.token)
    assert tunnel.get("/v1/json").status == 200
    upstream.clear()

    gateway.api("DELETE", f"/connections/{tagged.connection}")

    assert_refused(tunnel.get("/v1/json"), 403, "connection_not_permitted")
    assert upstream.saw_nothing()


def test_a_connect_with_a_wrong_token_or_to_a_port_that_is_not_allowed(tagged, open_tunnel, upstream):
    wrong = open_tunnel(tagged.connection, "gwc_" + "B" * 43).opened
    other_port = open_tunnel(tagged.connection, tagged.token, "localhost:1").opened

    assert_refused(wrong, 407, "proxy_authentication_required")
    assert_refused(other_port, 403, "target_not_allowed")
    assert upstream.saw_nothing()


def test_a_request_inside_a_tunnel_for_another_host(tagged, open_tunnel, upstream):
    """Host must be the tunnel's authority."""
    tunnel = open_tunnel(tagged.connection, tagged.token)

    answer = tunnel.ask("GET /v1/json HTTP/1.1\r\nHost: evil.test\r\n\r\n")

    assert answer.code in {"request_rejected", "target_invalid"}
    assert upstream.saw_nothing()
