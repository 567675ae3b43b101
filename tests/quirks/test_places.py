"""Where things are, said by a person and by answers, to a request that reaches the API. On real sockets.

A server of one's own, the API's place in the token's answer, a value of the callback, an account that a look-up finds.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.errors import ClientError
from gateway.secret import Secret
from tests.vault.harness import House
from tests.vault.real import loopback

CALLBACK = "https://gateway.test/oauth/callback/own"
POLICY = """
name = "Of one's own"
base_url = "{{ api }}/v1"
[allow]
urls = ["{{ api }}/v1", "{{ server }}/sites"]
[[fields]]
name = "server"
kind = "url"
[[fields]]
name = "client_id"
[[fields]]
name = "client_secret"
secret = true
[[fields]]
name = "api"
choices = ["URL/eu", "URL/us"]
from = "{{ token.api_domain }}"
[[fields]]
name = "realm"
from = "{{ callback.realmId }}"
[[fields]]
name = "site"
from = "{{ lookup.0.id }}"
[auth]
grant = "authorization_code"
client_id = { field = "client_id" }
client_secret = { field = "client_secret" }
[auth.authorize]
url = "{{ server }}/login"
pkce = "off"
[auth.token]
url = "{{ server }}/token"
params = { realm = "{{ realm }}" }
[lookup]
url = "{{ server }}/sites"
[test]
url = "/{{ realm }}/me"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
X-Site = "{{ site }}"
"""


class Own:
    """The server: what it was asked, in order. `region` is where it says that its API is."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.region = "eu"
        self.url = ""

    async def anything(self, request: web.Request) -> web.Response:
        """Every endpoint."""
        form = await request.post()
        self.asked.append((request.path, str(form.get("realm", "")), request.headers.get("X-Site")))
        if request.path == "/token":
            return web.json_response({"access_token": "at-s3cret", "api_domain": f"{self.url}/{self.region}"})
        return web.json_response([{"id": "s-7"}] if request.path == "/sites" else {"id": 1})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Be there, at `url`."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.anything)
        async with TestServer(app) as server:
            self.url = f"http://127.0.0.1:{server.port}"
            yield


@pytest.mark.parametrize("region", ["eu", "us", "elsewhere"])
async def test_each_says_where_the_next_is(region: str, tmp_path: Path) -> None:
    """What an answer names beyond the policy's own places is asked nothing."""
    own = Own()
    own.region = region
    async with own.serving(), loopback() as egress:
        house = House(path=tmp_path / "gateway.db")
        house.policies.put("own", POLICY.replace("URL", own.url))
        given = {"server": own.url, "client_id": "app-1", "client_secret": "app-s3cret"}
        callback = {"realmId": "r9"}
        async with house.vault(egress=egress) as vault:
            answer = await vault.logins.redeem(
                "own",
                house.policies["own"],
                fields=given | {"client_secret": Secret("app-s3cret")},
                code=Secret("code"),
                redirect_uri=CALLBACK,
                verifier=Secret("v" * 43),
                callback=callback,
            )
            connecting = vault.connect(
                "own", connection_id="c", fields=given, actor="ann", answer=answer, callback=callback
            )
            if region == "elsewhere":
                with pytest.raises(ClientError, match="must be one of"):
                    await connecting
                assert [path for path, *_ in own.asked] == ["/token"]
                return
            await connecting
            assert own.asked == [("/token", "r9", None), ("/sites", "", None), (f"/{region}/v1/r9/me", "", "s-7")]
            live = await vault.live("c")
            assert live is not None
            assert live.base_url == f"{own.url}/{region}/v1"
