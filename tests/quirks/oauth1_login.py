"""A provider that speaks OAuth 1.0a (RFC 5849) on loopback, and checks by oauthlib each signature that arrives."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aiohttp import web
from oauthlib.oauth1.rfc5849 import signature, utils

CONSUMER_KEY = "the-consumer-key"
CONSUMER_SECRET = "the consumer&secret=of these/tests"
TEMPORARY = {"oauth_token": "rt/one==", "oauth_token_secret": "temporary&secret%one"}
LASTING = {"oauth_token": "at-of-ann+secret/1=", "oauth_token_secret": "lasting&secret%ann", "screen_name": "ann"}
VERIFIER = "verifier-of/ann"
POLICY = """
name = "Bird"
base_url = "{url}/api"
[allow]
urls = ["{url}/api"]
[[fields]]
name = "region"
choices = ["us", "eu"]
default = "us"
[[fields]]
name = "place"
from = "{{{{ callback.place }}}}"
required = false
[auth]
grant = "oauth1"
client_id = "the-consumer-key"
client_secret = {{ secret = "client_secret" }}
[auth.request_token]
url = "{url}/request?v=1"
params = {{ access = "{{{{ region }}}} & more" }}
[auth.authorize]
url = "{url}/authorize"
params = {{ name = "The Gateway", scope = "read,write" }}
[auth.token]
url = "{url}/access"
[sign]
scheme = "oauth1"
[test]
url = "/me"
[connection]
label = "{{{{ token.screen_name }}}} in {{{{ region }}}}"
unique_id = "{{{{ token.screen_name }}}}"
"""


class Seen(NamedTuple):
    """A request as `signature` reads one."""

    method: str
    uri: str
    parameters: list[tuple[str, str]]
    said: dict[str, str]

    @property
    def http_method(self) -> str:
        return self.method

    @property
    def params(self) -> list[tuple[str, str]]:
        return self.parameters

    @property
    def signature(self) -> str:
        return self.said["oauth_signature"]


Check = Callable[[Seen, str, str], bool]


class Provider:
    """Answers 401 and a few words to whatever isn't signed rightly. `requested` and `given` are its answers else.

    `seen` has what arrived, `wrong` the paths that were refused.
    """

    def __init__(self) -> None:
        self.url = ""
        self.challenge: Any = None  # what `Browser.leave` leaves: PKCE has no place here
        self.method = "HMAC-SHA1"
        self.requested: tuple[int, Any] = (200, TEMPORARY | {"oauth_callback_confirmed": "true"})
        self.given: tuple[int, Any] = (200, LASTING)
        self.seen: list[Seen] = []
        self.wrong: list[str] = []
        self._nonces: set[str] = set()

    async def request(self, request: web.Request) -> web.Response:
        """Give what a login begins with (§2.1)."""
        seen = await self._seen(request)
        right = self._is_right(seen, "") and "oauth_token" not in seen.said and "oauth_callback" in seen.said
        return self._answer(request, self.requested if right else None)

    async def access(self, request: web.Request) -> web.Response:
        """Give the token for a verifier (§2.3)."""
        seen = await self._seen(request)
        right = self._is_right(seen, TEMPORARY["oauth_token_secret"])
        right = right and seen.said.get("oauth_token") == TEMPORARY["oauth_token"]
        return self._answer(request, self.given if right and seen.said.get("oauth_verifier") == VERIFIER else None)

    async def api(self, request: web.Request) -> web.Response:
        """Answer whoever holds the token (§3)."""
        seen = await self._seen(request)
        right = self._is_right(seen, LASTING["oauth_token_secret"])
        right = right and seen.said.get("oauth_token") == LASTING["oauth_token"]
        return self._answer(request, (200, {"ok": "yes"}) if right else None)

    async def _seen(self, request: web.Request) -> Seen:
        head, query = request.headers.get("Authorization", "OAuth "), request.url.raw_query_string
        is_form = request.content_type == "application/x-www-form-urlencoded"
        body = await request.text() if is_form else ""
        parameters = signature.collect_parameters(query, body, {"Authorization": head}, exclude_oauth_signature=False)
        said = dict(parameters)
        uri = signature.base_string_uri(f"{self.url}{request.url.raw_path}")
        seen = Seen(request.method, uri, [one for one in parameters if one[0] != "oauth_signature"], said)
        self.seen.append(seen)
        in_header = {name for name, _ in utils.parse_authorization_header(head)}
        assert {name for name in said if name.startswith("oauth_")} == in_header, "what is signed is in the header"
        return seen

    def _is_right(self, seen: Seen, token_secret: str) -> bool:
        said = seen.said
        if said.get("oauth_consumer_key") != CONSUMER_KEY or said.get("oauth_signature_method") != self.method:
            return False
        if said["oauth_nonce"] in self._nonces or said["oauth_version"] != "1.0":
            return False
        self._nonces.add(said["oauth_nonce"])
        check = signature.verify_hmac_sha256 if self.method == "HMAC-SHA256" else signature.verify_hmac_sha1
        return bool(check(seen, CONSUMER_SECRET, token_secret))

    def _answer(self, request: web.Request, answer: tuple[int, Any] | None) -> web.Response:
        if answer is None:
            self.wrong.append(request.path)
            return web.Response(status=401, text="Failed to validate the signature")
        status, what = answer
        if isinstance(what, str):
            return web.Response(status=status, text=what)
        return web.Response(status=status, text=urlencode(what), content_type="application/x-www-form-urlencoded")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.add_routes([web.post("/request", self.request), web.route("*", "/access", self.access)])
        app.add_routes([web.route("*", "/api/{rest:.*}", self.api)])
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
