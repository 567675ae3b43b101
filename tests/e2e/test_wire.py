"""What the rules of the wire look like from both ends, through a running gateway."""

import socket
from base64 import b64encode

import pytest

from tests.e2e.harness.clients import CLIENTS, Route

CURL = CLIENTS[0]
ENTRANCES = pytest.mark.parametrize("entrance", ["absolute", "connect", "path"])


def test_http_is_upgraded_where_only_https_is_allowed(make_tagged, gateway, gateway_ca, upstream):
    """A client that trusts no CA writes http://; the gateway speaks TLS to the service."""
    vaulted = make_tagged("vaulted")
    proxy = f"http://{vaulted.connection}:{vaulted.token}@127.0.0.1:{gateway.port}"
    way = Route(entrance="absolute", base=f"http://localhost:{upstream.tls_port}", ca=gateway_ca, proxy=proxy)

    assert CURL.send(way, "GET", "/v1/vaulted/json").status == 200

    request = upstream.only()
    assert request.tls
    assert request.values("host") == [f"localhost:{upstream.tls_port}".encode()]


@pytest.mark.parametrize("form", ["json", "{base}/json", "{folded}/json"])
def test_path_style_takes_a_relative_path_a_whole_url_and_a_folded_one(
    form, make_tagged, gateway, gateway_ca, upstream
):
    """`/c/<connection>/json` starts from the policy's base_url; `https:/host` means `https://host`."""
    vaulted = make_tagged("vaulted")
    base = f"{upstream.https}/v1/vaulted"
    path = form.format(base=base, folded=base.replace("://", ":/"))
    fields = (("X-Api-Key", vaulted.token),)
    way = Route(entrance="path", base=f"http://127.0.0.1:{gateway.port}", ca=gateway_ca, fields=fields)

    answer = CURL.send(way, "GET", f"/c/{vaulted.connection}/{path}?a=b")

    assert answer.status == 200, answer.body
    assert upstream.only().target == "/v1/vaulted/json?a=b"
    assert upstream.only().values("x-api-key") == []


@pytest.mark.parametrize("by", ["bearer", "key", "basic"])
def test_path_style_takes_the_token_as_whatever_the_sdk_does_with_its_key(by, tagged, gateway, gateway_ca, upstream):
    value = {
        "bearer": ("Authorization", f"Bearer {tagged.token}"),
        "key": ("X-Api-Key", tagged.token),
        "basic": ("Authorization", "Basic " + b64encode(f"anyone:{tagged.token}".encode()).decode()),
    }[by]
    base = f"http://127.0.0.1:{gateway.port}/c/{tagged.connection}/{upstream.http}"

    assert CURL.send(Route(entrance="path", base=base, ca=gateway_ca, fields=(value,)), "GET", "/v1/json").status == 200
    assert tagged.token.encode() not in upstream.only().raw


def test_a_bearer_tag_with_a_connection_id(tagged, gateway, gateway_ca, upstream):
    """The other way to be tagged, for a client that sets header fields but no proxy credentials."""
    way = Route(
        entrance="absolute",
        base=upstream.http,
        ca=gateway_ca,
        proxy=f"http://127.0.0.1:{gateway.port}",
        fields=(("Proxy-Authorization", f"Bearer {tagged.token}"), ("X-Connection-Id", tagged.connection)),
    )

    assert CURL.send(way, "GET", "/v1/json").status == 200
    assert upstream.only().values("x-connection-id") == []
    assert tagged.token.encode() not in upstream.only().raw


@ENTRANCES
def test_a_credential_of_the_callers_own_loses(entrance, route, tagged, upstream, provider):
    """Whatever its case and however it is spelled, the caller's copy does not go out."""
    mine = [("authorization", "Bearer mine"), ("AUTHORIZATION", "Bearer mine")]
    if entrance == "path":
        mine = [("X-Harmless", "1")]  # there, Authorization holds the client's token

    answer = CURL.send(route(entrance, tagged), "GET", "/v1/json", fields=mine)

    assert answer.status == 200
    (credential,) = upstream.only().values("authorization")
    assert credential.decode().removeprefix("Bearer ") in provider.tokens(tagged.application)
    assert b"mine" not in upstream.only().raw


@ENTRANCES
def test_head_204_and_chunks(entrance, route, tagged):
    """Answers without a body have none, and chunks come through whole."""
    way = route(entrance, tagged)

    head = CURL.send(way, "HEAD", "/v1/head")
    nothing = CURL.send(way, "GET", "/v1/nothing")
    chunked = CURL.send(way, "GET", "/v1/chunked")

    assert (head.status, head.headers["content-length"]) == (200, "12345")
    assert (nothing.status, nothing.body) == (204, b"")
    assert chunked.body == b"onetwenty-twothree hundred and thirty-three"


@ENTRANCES
def test_redirects_are_passed_on_and_in_path_style_they_lead_back_through_the_gateway(
    entrance, route, tagged, upstream, gateway
):
    to = upstream.http + "/v1/elsewhere?x=1"

    answer = CURL.send(route(entrance, tagged), "GET", f"/v1/redirect?to={to.replace('?', '%3F').replace('=', '%3D')}")

    assert answer.status == 302
    location = answer.headers["location"]
    if entrance == "path":
        prefix = f"/c/{tagged.connection}/"
        assert location.removeprefix(f"http://127.0.0.1:{gateway.port}") == prefix + to
    else:
        assert location == to
    assert len(upstream.requests) == 1


@ENTRANCES
def test_a_service_that_gives_the_credential_back_is_scrubbed(entrance, route, tagged, provider):
    """Location and every other field lose the token; Set-Cookie does not pass at all."""
    answer = CURL.send(route(entrance, tagged), "GET", "/v1/leak")

    assert answer.status == 200
    (token,) = provider.tokens(tagged.application)
    assert token not in str(answer.headers)
    assert "set-cookie" not in answer.headers
    assert "*" in answer.headers["x-debug"]


def test_a_key_goes_into_the_header_the_query_and_the_body(gateway, gateway_ca, upstream):
    """The api_key grant: each named place holds the key once, whatever the caller sent there."""
    gateway.connect("keyed", "keyed-1", api_key="k-3y/+& z")
    token = gateway.client("keyed", "keyed-*")
    proxy = f"http://keyed-1:{token}@127.0.0.1:{gateway.port}"
    way = Route(entrance="absolute", base=upstream.http, ca=gateway_ca, proxy=proxy)
    fields = [("Content-Type", "application/json"), ("x_service_key", "mine")]

    CURL.send(way, "POST", "/open/json?a=1&%6Bey=mine&z", fields=fields, body=b'{"a": 1.50, "version": "v1"}')

    request = upstream.only()
    assert request.target == "/open/json?a=1&z&key=k-3y%2F%2B%26%20z"
    assert request.values("x-service-key") == [b"k-3y/+& z"]
    assert request.body.endswith(b'"version":"v2"}') or request.body.endswith(b'"version": "v2"}')
    assert request.body.count(b"version") == 1
    assert request.values("content-length") == [b"%d" % len(request.body)]


def test_requests_of_one_caller_share_an_upstream_connection_and_other_connections_do_not(route, make_tagged, upstream):
    """Upstream connections are pooled for one connection id, never across two."""
    one, other = make_tagged(), make_tagged()
    for tagged in (one, other, one, other):
        assert CURL.send(route("absolute", tagged), "GET", "/v1/json").status == 200

    used = [request.connection for request in upstream.wait_for(4)]
    assert used[0] == used[2]
    assert used[1] == used[3]
    assert used[0] != used[1]


def test_a_caller_that_goes_away_ends_the_upstream_request(tagged, upstream, gateway):
    """Upstream's connection is closed while it still thinks about the answer."""
    tag = b64encode(f"{tagged.connection}:{tagged.token}".encode())
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
        caller.sendall(
            b"GET %b/v1/gated?gate=never HTTP/1.1\r\nHost: localhost:%d\r\nProxy-Authorization: Basic %b\r\n\r\n"
            % (upstream.http.encode(), upstream.port, tag)
        )
        request = upstream.only()
        assert not upstream.is_closed(request.connection)

    upstream.wait_closed(request.connection)
