"""An authorization server with an API, on loopback, that does as it is told, and the policies of apps that use it."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

CODE = "the-code-of-these-tests"
CLIENT_SECRET = "the-client-secret-of-these-tests"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CODES = {
    "device_code": "the-device-code-of-these-tests",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://crm.example.com/device",
    "verification_uri_complete": "https://crm.example.com/device?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 5,
}
TOKENS = {"access_token": "at-of-ann-secret", "refresh_token": "rt-of-ann-secret", "expires_in": 3600}
ANN = {"id": "u-ann", "name": "Ann Ash"}

Handler = Callable[[web.Request], Any]

POLICY = """
name = "Example CRM"
base_url = "{url}/api"
[allow]
urls = ["{url}/api"]
[[fields]]
name = "region"
label = "Region"
choices = ["us", "eu"]
default = "us"
[auth]
grant = "authorization_code"
client_id = "gateway"
client_secret = {{ secret = "client_secret" }}
[auth.authorize]
url = "{url}/authorize"
scopes = ["read", "write"]
scope_words = {{ read = "Read your <contacts>" }}
[auth.token]
url = "{url}/token"
params = {{ region = "{{{{ region }}}}" }}
[test]
url = "/me"
expect = {{ status = [200], path = "id" }}
[connection]
label = "{{{{ test.name }}}}"
unique_id = "{{{{ test.id }}}}"
[inject.headers]
Authorization = "Bearer {{{{ access_token }}}}"
"""

CODE_APP = POLICY
IMPLICIT_APP = (
    POLICY.replace('grant = "authorization_code"', 'grant = "implicit"')
    .replace('client_secret = {{ secret = "client_secret" }}\n', "")
    .replace('[auth.token]\nurl = "{url}/token"\nparams = {{ region = "{{{{ region }}}}" }}\n', "")
)
PASSWORD_APP = (
    POLICY.replace('grant = "authorization_code"', 'grant = "password"')
    .replace(POLICY[POLICY.index("[auth.authorize]") : POLICY.index("[auth.token]")], "")
    .replace("params = {{ region =", 'params = {{ otp = "{{{{ otp }}}}", region =')
    .replace(
        "[auth]\n",
        '[[fields]]\nname = "username"\n[[fields]]\nname = "password"\nsecret = true\n'
        '[[fields]]\nname = "otp"\nlabel = "One-time code"\nonce = true\n[auth]\n',
    )
)
OWN_CLIENT_APP = (
    POLICY.replace('grant = "authorization_code"', 'grant = "client_credentials"')
    .replace(POLICY[POLICY.index("[auth.authorize]") : POLICY.index("[auth.token]")], "")
    .replace('client_id = "gateway"', 'client_id = {{ field = "client_id" }}')
    .replace('{{ secret = "client_secret" }}', '{{ field = "client_secret" }}')
    .replace("[auth]\n", '[[fields]]\nname = "client_id"\n[[fields]]\nname = "client_secret"\nsecret = true\n[auth]\n')
)
DEVICE_APP = POLICY.replace('grant = "authorization_code"', 'grant = "device_code"').replace(
    POLICY[POLICY.index("[auth.authorize]") : POLICY.index("[auth.token]")],
    '[auth.device]\nurl = "{url}/device"\nscopes = ["read", "write"]\nparams = {{ region = "{{{{ region }}}}" }}\n',
)
KEY_APP = (
    POLICY[: POLICY.index("[auth]")]
    + '[[fields]]\nname = "api_key"\nsecret = true\n[auth]\ngrant = "api_key"\n'
    + POLICY[POLICY.index("[test]") :].replace("access_token", "api_key")
)
BASIC_APP = (
    POLICY[: POLICY.index("[auth]")]
    + '[[fields]]\nname = "username"\n[[fields]]\nname = "password"\nsecret = true\n[auth]\ngrant = "basic"\n'
    + POLICY[POLICY.index("[test]") : POLICY.index("[inject.headers]")]
)
NONE_APP = (
    POLICY[: POLICY.index("[auth]")]
    + '[auth]\ngrant = "none"\n'
    + POLICY[POLICY.index("[test]") : POLICY.index("[inject.headers]")]
)
APPS = {
    "code": CODE_APP,
    "plain": CODE_APP.replace("[auth.token]", 'pkce = "plain"\n[auth.token]', 1),
    "off": CODE_APP.replace("[auth.token]", 'pkce = "off"\n[auth.token]', 1),
    "body": CODE_APP.replace('url = "{url}/token"\n', 'url = "{url}/token"\nclient_auth = "body"\nformat = "json"\n'),
    "public": CODE_APP.replace('client_secret = {{ secret = "client_secret" }}\n', "").replace(
        'url = "{url}/token"\n', 'url = "{url}/token"\nclient_auth = "none"\n'
    ),
    "issuer": CODE_APP.replace("scopes =", 'issuer = "{url}/realms/one"\nscopes =', 1),
    "implicit": IMPLICIT_APP,
    "password": PASSWORD_APP,
    "machine": OWN_CLIENT_APP,
    "device": DEVICE_APP,
    "key": KEY_APP,
    "basic": BASIC_APP,
    "none": NONE_APP,
}


class Provider:
    """The token endpoint gives `tokens` for `CODE`, once the proof of the challenge is right; `/api/me` answers `me`.

    `calls` has what each token request brought. `answer` takes the token endpoint's place. For `CODES`, or what stands
    in `codes`, it says the words of `said` one after the other and then gives the tokens.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[dict[str, Any]] = []
        self.tested: list[str] = []
        self.tokens: dict[str, Any] = dict(TOKENS)
        self.me: tuple[int, Any] = (200, ANN)
        self.challenge: tuple[str, str] | None = None
        self.answer: Handler | None = None
        self.codes: dict[str, Any] = dict(CODES)
        self.asked: list[dict[str, str]] = []
        self.said: list[str] = []
        self.leave = asyncio.Event()

    async def token(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        form = json.loads(text) if request.content_type == "application/json" else dict(parse_qsl(text))
        self.calls.append(form | {"Authorization": request.headers.get("Authorization", "")})
        if self.answer is not None:
            answered: web.StreamResponse = await self.answer(request)
            return answered
        if form["grant_type"] == "authorization_code" and not self._is_right(form):
            return web.json_response({"error": "invalid_grant", "error_description": "Wrong code"}, status=400)
        if form["grant_type"] == DEVICE_GRANT and self.said:
            return web.json_response({"error": self.said.pop(0)}, status=400)
        return web.json_response(self.tokens)

    async def device(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(parse_qsl(await request.text())))
        return web.json_response(self.codes, status=400 if "error" in self.codes else 200)

    def _is_right(self, form: dict[str, Any]) -> bool:
        if form["code"] != CODE:
            return False
        method, challenge = self.challenge or ("", "")
        verifier = form.get("code_verifier", "")
        if method == "S256":
            verifier = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        return bool(verifier == challenge)

    async def profile(self, request: web.Request) -> web.Response:
        self.tested.append(request.headers.get("Authorization", ""))
        status, body = self.me
        return web.json_response(body, status=status)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.add_routes(
            [web.post("/token", self.token), web.post("/device", self.device), web.get("/api/me", self.profile)]
        )
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            self.leave.set()
            await runner.cleanup()
