"""Real clients, each by every entrance: what upstream received is what the client sent, and one credential."""

# ruff: noqa: PLR0917 - fixtures are positional

import hashlib
import os

import pytest

from tests.e2e.harness.clients import CLIENTS
from tests.e2e.harness.upstream import download_digest
from tests.e2e.harness.wire import assert_nothing_of_the_gateway, assert_one_credential, assert_same_request

MEBIBYTE = 1 << 20
CUSTOM = (("X-Order-First", "1"), ("x-lower-CASE", "two"), ("Accept", "application/json"), ("X-Last", 'a, b;c="d"'))

pytestmark = [
    pytest.mark.parametrize("entrance", ["absolute", "connect", "path"]),
    pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name),
]


def test_get(client, entrance, route, tagged, upstream, provider):
    """A GET arrives as if the client had gone straight to the service, but for the credential and Via."""
    path = "/v1/json?b=2&a=1&q=%C3%A9+~x"

    answer = client.send(route(entrance, tagged), "GET", path, fields=CUSTOM)

    assert answer.status == 200, answer.body
    assert answer.json() == {"method": "GET", "target": path}
    through = upstream.only()
    assert through.tls == (entrance == "connect")
    assert_one_credential(through, provider, tagged.application)
    assert_nothing_of_the_gateway(through, connection=tagged.connection, token=tagged.token)
    upstream.clear()
    client.send(route(entrance, tagged, direct=True), "GET", path, fields=CUSTOM)
    assert_same_request(through, upstream.only())


def test_post_json(client, entrance, route, tagged, upstream, provider):
    """A JSON body arrives byte for byte, white space and all."""
    body = '{ "name":  "Ægir",\r\n "list": [1, 2.50, 1e3] }'.encode()
    fields = (*CUSTOM, ("Content-Type", "application/json"))

    answer = client.send(route(entrance, tagged), "POST", "/v1/upload", fields=fields, body=body)

    assert answer.status == 200, answer.body
    assert answer.json() == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    through = upstream.only()
    assert through.body == body
    assert_one_credential(through, provider, tagged.application)
    assert_nothing_of_the_gateway(through, connection=tagged.connection, token=tagged.token)
    upstream.clear()
    client.send(route(entrance, tagged, direct=True), "POST", "/v1/upload", fields=fields, body=body)
    assert_same_request(through, upstream.only())


def test_upload_of_5_mib(client, entrance, route, tagged, upstream, provider):
    """Five mebibytes, more than the gateway keeps for a replay, arrive unchanged."""
    body = os.urandom(5 * MEBIBYTE)
    fields = [("Content-Type", "application/octet-stream")]

    answer = client.send(route(entrance, tagged), "PUT", "/v1/upload", fields=fields, body=body)

    assert answer.status == 200, answer.body
    assert answer.json() == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    through = upstream.only()
    assert through.body == body
    assert_one_credential(through, provider, tagged.application)
    assert_nothing_of_the_gateway(through, connection=tagged.connection, token=tagged.token)


def test_download_of_200_mib_in_flat_memory(client, entrance, route, tagged, gateway):
    """Two hundred mebibytes come through whole, and the gateway holds no more memory than before."""
    length = 200 * MEBIBYTE
    client.send(route(entrance, tagged), "GET", f"/v1/download?bytes={MEBIBYTE}")
    before = most = gateway.resident()
    digest, seen = hashlib.sha256(), 0

    def on_data(data: bytes) -> None:
        nonlocal most, seen
        digest.update(data)
        if seen // (16 * MEBIBYTE) != (seen + len(data)) // (16 * MEBIBYTE):
            most = max(most, gateway.resident())
        seen += len(data)

    answer = client.send(route(entrance, tagged), "GET", f"/v1/download?bytes={length}", on_data=on_data)

    assert answer.status == 200
    assert seen == length
    assert digest.hexdigest() == download_digest(length)
    assert most - before < 16 * MEBIBYTE


def test_server_sent_events_come_as_they_are_sent(client, entrance, route, tagged, upstream):
    """The first event is in the client's hands before the service has sent the second."""
    events = bytearray()

    def on_data(data: bytes) -> None:
        events.extend(data)
        if events == b"data: first\n\n":
            upstream.open_gate("second")

    answer = client.send(route(entrance, tagged), "GET", "/v1/events?gate=second", on_data=on_data)

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert events == b"data: first\n\ndata: second\n\n"
