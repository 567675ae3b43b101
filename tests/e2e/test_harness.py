"""The harness itself: the provider issues and revokes, the upstream records, the clients send what they say."""

import hashlib
import json
import urllib.request
from base64 import b64encode

import pytest
from websockets.sync.client import connect

from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.provider import NOT_PROXIED
from tests.e2e.harness.upstream import download_digest


def obtain(provider, application) -> dict:
    basic = b64encode(f"{application.client_id}:{application.client_secret}".encode()).decode()
    request = urllib.request.Request(
        provider.token_url, b"grant_type=client_credentials", {"Authorization": f"Basic {basic}"}
    )
    with NOT_PROXIED.open(request, timeout=20) as answer:
        return json.load(answer)


def test_the_provider_issues_a_token_counts_the_call_and_revokes_it(provider):
    application = provider.create_application("harness")

    answer = obtain(provider, application)

    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    assert provider.calls(application) == 1
    assert provider.in_force(answer["access_token"])
    assert provider.revoke(application) == 1
    assert not provider.in_force(answer["access_token"])


def test_an_application_may_have_a_token_lifetime_of_its_own(provider):
    application = provider.create_application("short", lifetime=7)

    assert obtain(provider, application)["expires_in"] == 7


@pytest.fixture(params=["http", "https"])
def direct(request, upstream, upstream_ca) -> Route:
    entrance = "absolute" if request.param == "http" else "connect"
    return Route(entrance=entrance, base=getattr(upstream, request.param), ca=upstream_ca[1], direct=True)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_upstream_records_the_bytes_of_a_request_and_answers(client, direct, upstream):
    body = b'{"a": 1}'

    answer = client.send(direct, "POST", "/open/upload", fields=[("X-One", "1"), ("x-two", "2")], body=body)

    assert answer.status == 200
    assert answer.json() == {"length": 8, "sha256": hashlib.sha256(body).hexdigest()}
    request = upstream.only()
    assert request.line == b"POST /open/upload HTTP/1.1"
    assert bytes(request.raw) == request.head + body
    assert [name.lower() for name, _ in request.fields if name.lower().startswith(b"x-")] == [b"x-one", b"x-two"]
    assert request.tls == (direct.entrance == "connect")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_every_client_streams_a_download_and_server_sent_events(client, direct, upstream):
    digest = hashlib.sha256()
    client.send(direct, "GET", "/open/download?bytes=3000000", on_data=digest.update)
    assert digest.hexdigest() == download_digest(3_000_000)

    events = bytearray()

    def on_data(data: bytes) -> None:
        events.extend(data)
        if events == b"data: first\n\n":
            upstream.open_gate("harness")

    client.send(direct, "GET", "/open/events?gate=harness", on_data=on_data)
    assert events == b"data: first\n\ndata: second\n\n"


def test_a_token_that_is_not_in_force_is_answered_401(upstream, upstream_ca, provider):
    direct = Route(entrance="absolute", base=upstream.http, ca=upstream_ca[1], direct=True)
    token = obtain(provider, provider.create_application("bearer"))["access_token"]
    curl = CLIENTS[0]

    assert curl.send(direct, "GET", "/v1/json").status == 401
    assert curl.send(direct, "GET", "/v1/json", fields=[("Authorization", "Bearer wrong")]).status == 401
    assert curl.send(direct, "GET", "/v1/json", fields=[("Authorization", f"Bearer {token}")]).status == 200


def test_the_upstream_echoes_web_socket_messages(upstream):
    with connect(upstream.http.replace("http", "ws") + "/open/ws", proxy=None) as socket:
        socket.send("hello")
        socket.send(b"\x00\x01")
        assert [socket.recv(), socket.recv()] == ["hello", b"\x00\x01"]
    assert upstream.only().values("upgrade") == [b"websocket"]
