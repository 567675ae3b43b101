"""The commands that a person meets first, as they are installed and without help."""

import json
import sys

import pytest

USES_EVERY_CLIENT = """
import asyncio, sys, urllib.request, aiohttp, httpx, requests
for url in sys.argv[1:]:
    urllib.request.urlopen(url).read()
    requests.get(url).raise_for_status()
    httpx.get(url).raise_for_status()
    async def call():
        async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
            async with session.get(url) as answer:
                await answer.read()
    asyncio.run(call())
"""


@pytest.mark.timeout(90)
def test_run_gives_curl_all_it_needs(gateway, tagged, upstream, provider):
    """Curl inside `gateway run` names neither a proxy nor a CA, and reaches http and https."""
    urls = [upstream.http + "/v1/json", upstream.https + "/v1/json"]

    done = gateway.cli(
        *("run", tagged.connection, "--client-token", tagged.token),
        *("--", "curl", "--silent", "--show-error", "--fail", *urls),
    )

    assert done.stdout.count('"target": "/v1/json"') == 2
    assert [request.tls for request in upstream.wait_for(2)] == [False, True]
    for request in upstream.requests:
        (credential,) = request.values("authorization")
        assert credential.decode().removeprefix("Bearer ") in provider.tokens(tagged.application)


def test_run_gives_python_clients_all_they_need(gateway, tagged, upstream):
    """urllib, requests, httpx and aiohttp, by http and by intercepted https, from one unmodified script."""
    urls = [upstream.http + "/v1/json", upstream.https + "/v1/json"]

    gateway.cli(
        *("run", tagged.connection, "--client-token", tagged.token),
        *("--", sys.executable, "-c", USES_EVERY_CLIENT, *urls),
    )

    assert [request.tls for request in upstream.wait_for(8)] == [False] * 4 + [True] * 4


def test_run_hands_on_the_exit_code(gateway, tagged):
    gateway.cli("run", tagged.connection, "--client-token", tagged.token, "--", "sh", "-c", "exit 7", code=7)


def test_explain_shows_the_decision_and_masks_the_credential(gateway, tagged, upstream, provider):
    allowed = gateway.cli("explain", tagged.connection, "GET", upstream.http + "/v1/json", "--json")
    denied = gateway.cli("explain", tagged.connection, "GET", "https://elsewhere.test/", "--json", code=1)

    assert json.loads(allowed.stdout)["allowed"] is True
    assert json.loads(allowed.stdout)["rule"] == upstream.http
    assert json.loads(denied.stdout)["allowed"] is False
    assert not [token for token in provider.tokens(tagged.application) if token in allowed.stdout]
