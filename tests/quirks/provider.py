"""A provider that plays quirks: it knows the requests that it wants to the letter, in their order, and its answers.

Whatever else comes is refused, and told back with all that was in it, as careless servers do. Its API wants the newest
access token.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from aiohttp import web

NOW = 1_700_000_000.0
"""What the clock of the gateway says while it connects."""


@dataclass(frozen=True, kw_only=True)
class Wants:
    """A request, and its answer. `body` None: none. `headers` are those that matter; `form` is how the body comes."""

    method: str = "POST"
    path: str = "/token"
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    json: bool = False
    headers: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    answer: Any = None


class Signed:
    """Equal to a JWT that this key has signed and that says this; `before` it stands what a header begins with."""

    def __init__(self, key: Any, algorithm: str, *, before: str = "", kid: str | None = None, **claims: Any) -> None:
        self._key, self._algorithm, self._before, self._kid, self._claims = key, algorithm, before, kid, claims
        self.seen: set[str] = set()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or not other.startswith(self._before):
            return False
        token = other.removeprefix(self._before)
        unchecked = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
        claims = jwt.decode(token, self._key, algorithms=[self._algorithm], options=unchecked)
        assert claims["exp"] > NOW, "it is over"
        assert claims["iat"] < NOW + 100_000
        jti = claims.pop("jti", token)
        assert jti not in self.seen, "a statement that was used before"
        self.seen.add(jti)
        held = claims.pop("exp") - claims.pop("iat")
        kid = jwt.get_unverified_header(token).get("kid")
        return {"held": held, **claims} == self._claims and kid == self._kid

    def anew(self, url: str) -> "Signed":
        """The same for another provider, at this URL."""
        claims = {name: _at(value, url) for name, value in self._claims.items()}
        return Signed(self._key, self._algorithm, before=self._before, kid=self._kid, **claims)

    __hash__ = None  # type: ignore[assignment]


class Anew:
    """Equal to every text that it has not seen yet."""

    def __init__(self) -> None:
        self.seen: set[object] = set()

    def __eq__(self, other: object) -> bool:
        new = other not in self.seen
        self.seen.add(other)
        return new and isinstance(other, str) and bool(other)

    def anew(self, _url: str) -> "Anew":
        """Another one, that has seen nothing."""
        return Anew()

    __hash__ = None  # type: ignore[assignment]


def _at(value: Any, url: str) -> Any:
    """A value of the table for a provider at this URL."""
    match value:
        case Signed() | Anew():
            return value.anew(url)
        case dict():
            return {name: _at(item, url) for name, item in value.items()}
        case str():
            return value.replace("URL", url)
    return value


class Quirky:
    """The provider. `accepts` is the one token that its API takes; `telling`: it refuses everything, and tells it."""

    def __init__(self, wanted: Sequence[Wants], *, telling: bool = False) -> None:
        self.wanted = list(wanted)
        self.telling = telling
        self.accepts: str | None = None
        self.api: list[str] = []
        self.surprises: list[str] = []
        self.url = ""

    async def anything(self, request: web.Request) -> web.Response:
        """Every endpoint."""
        if request.path == "/v1/me":
            return self._me(request)
        raw = await request.read()
        told = f"{request.method} {request.path_qs} {dict(request.headers)} {raw.decode()}"
        if not self.telling and self.wanted and self._is_wanted(request, raw):
            wanted = self.wanted.pop(0)
            body = b"" if wanted.answer is None else json.dumps(wanted.answer).encode()
            return web.Response(status=wanted.status, body=body, content_type="application/json")
        self.surprises.append(told)
        return web.json_response({"error": "invalid_request", "error_description": told}, status=400)

    def _is_wanted(self, request: web.Request, raw: bytes) -> bool:
        wanted = self.wanted[0]
        text = raw.decode()
        body: Any = None
        if text:
            is_json = request.content_type == "application/json"
            if is_json is not wanted.json:
                return False
            body = json.loads(text) if is_json else dict(parse_qsl(text, strict_parsing=True))
        headers = {name: request.headers.get(name) for name in wanted.headers}
        return (
            (request.method, request.path) == (wanted.method, wanted.path)
            and wanted.query == dict(request.query)
            and wanted.body == body
            and wanted.headers == headers
        )

    def _me(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        self.api.append(given)
        if self.accepts is not None and given != self.accepts:
            return web.json_response({"message": f"no {given}"}, status=401)
        return web.json_response({"id": "u1", "name": "John Doe"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Quirky"]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.anything)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.wanted = [
            replace(
                one, query=_at(one.query, self.url), body=_at(one.body, self.url), headers=_at(one.headers, self.url)
            )
            for one in self.wanted
        ]
        try:
            yield self
        finally:
            await runner.cleanup()


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL, those behind a route of its fragment too."""
    parts = urlsplit(url)
    return dict(parse_qsl(parts.fragment.partition("?")[2] or parts.query, keep_blank_values=True))
