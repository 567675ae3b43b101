"""Tokens that die behind the gateway's back: refreshed once, replayed once, and never seen by the caller."""

import asyncio
import contextlib
import os
import socket
import sqlite3
from base64 import b64encode

import aiohttp
import pytest

from tests.e2e.harness.clients import CLIENTS
from tests.e2e.harness.running import until

CURL = CLIENTS[0]
CALLERS = 200


def token_version(gateway, connection: str) -> int:
    """Read the version from the store's own file: what is on disk, not what a process remembers."""
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data / 'gateway.db'}?mode=ro", uri=True)) as database:
        return database.execute("SELECT token_version FROM connections WHERE id = ?", (connection,)).fetchone()[0]


@pytest.mark.parametrize("entrance", ["absolute", "connect", "path"])
def test_a_revoked_token_is_refreshed_and_the_request_replayed(entrance, route, make_tagged, upstream, provider):
    """The caller sees 200; upstream sees the request twice, the second time with the new token."""
    tagged = make_tagged()
    assert provider.revoke(tagged.application) == 1
    body = os.urandom(100_000)

    answer = CURL.send(route(entrance, tagged), "POST", "/v1/upload", body=body)

    assert answer.status == 200, answer.body
    first, second = upstream.wait_for(2)
    assert first.body == second.body == body
    assert first.values("authorization") != second.values("authorization")
    assert provider.calls(tagged.application) == 2  # one to connect, one for the 401


def test_a_body_too_long_to_keep_lets_the_401_through_and_the_next_request_is_well(route, make_tagged, provider):
    """Five mebibytes are not kept for a replay: the caller sees the 401 itself, and the token is new afterwards."""
    tagged = make_tagged()
    provider.revoke(tagged.application)
    body = os.urandom(5 << 20)

    refused = CURL.send(route("absolute", tagged), "PUT", "/v1/upload", body=body)
    again = CURL.send(route("absolute", tagged), "PUT", "/v1/upload", body=body)

    assert (refused.status, refused.code) == (401, None)
    assert again.status == 200
    assert provider.calls(tagged.application) == 2


async def test_200_requests_that_all_meet_a_401_make_one_token_call(route, make_tagged, upstream, provider):
    """Upstream holds every 401 back until all 200 have earned one; then one refresh serves them all."""
    tagged = make_tagged()
    provider.revoke(tagged.application)
    upstream.meet_at_401(CALLERS)
    proxy = route("absolute", tagged).proxy
    connector = aiohttp.TCPConnector(limit=0)

    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(number: int) -> int:
            async with session.get(f"{upstream.http}/v1/meet/json?n={number}", proxy=proxy) as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(call(number) for number in range(CALLERS)))

    assert statuses == [200] * CALLERS
    assert provider.calls(tagged.application) == 2
    assert len(upstream.wait_for(2 * CALLERS)) == 2 * CALLERS


def test_a_refresh_whose_caller_has_gone_away_lands_in_the_store(make_tagged, upstream, provider, gateway, route):
    """The caller hangs up while the provider thinks; the new token is written all the same and serves the next one."""
    tagged = make_tagged()
    provider.revoke(tagged.application)
    before = token_version(gateway, tagged.connection)
    provider.ask("hold", client_id=tagged.application.client_id)
    tag = b64encode(f"{tagged.connection}:{tagged.token}".encode())
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
        caller.sendall(
            b"GET %b/v1/json HTTP/1.1\r\nHost: localhost:%d\r\nProxy-Authorization: Basic %b\r\n\r\n"
            % (upstream.http.encode(), upstream.port, tag)
        )
        assert provider.calls(tagged.application, at_least=2) == 2
    provider.ask("release", client_id=tagged.application.client_id)

    until(lambda: token_version(gateway, tagged.connection) > before, within=10, what="the new token is in the store")
    assert CURL.send(route("absolute", tagged), "GET", "/v1/json").status == 200
    assert provider.calls(tagged.application) == 2


def test_a_token_is_renewed_ahead_of_its_end(make_tagged, route, upstream, provider):
    """A token that lives 4 s is renewed when half its life is over, while requests go on: none of them meets a 401."""
    tagged = make_tagged(lifetime=4)
    (first,) = provider.tokens(tagged.application)
    sent = 0

    def renewed() -> bool:
        nonlocal sent
        assert CURL.send(route("absolute", tagged), "GET", "/v1/json").status == 200
        sent += 1
        return upstream.requests[-1].values("authorization") != [f"Bearer {first}".encode()]

    assert until(renewed, within=10, what="a request goes out with a new token") < 4
    assert provider.calls(tagged.application) == 2
    assert len(upstream.requests) == sent  # nothing was replayed


def test_a_provider_that_refuses_is_told_to_the_caller_without_a_secret(make_tagged, route, provider):
    """The application is gone at the provider: the answer is the gateway's own, and says what the provider said."""
    tagged = make_tagged()
    provider.revoke(tagged.application)
    provider.ask("delete_application", client_id=tagged.application.client_id)

    answer = CURL.send(route("absolute", tagged), "GET", "/v1/json")

    assert (answer.status, answer.code) == (502, "refresh_failed")
    assert "invalid_client" in answer.json()["detail"]
    assert tagged.application.client_secret not in answer.body.decode()
    assert "proxy-status" in answer.headers
