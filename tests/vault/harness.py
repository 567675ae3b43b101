"""A provider that counts, a clock that is turned by hand, and vaults on one store file."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.audit import Audit
from gateway.errors import Refusal, UpstreamError
from gateway.keyring import Keyring
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.policy.load import load
from gateway.policy.model import Policy
from gateway.store import Store
from gateway.store.connections import Connections
from gateway.store.rows import ConnectionRow
from gateway.vault import Vault
from tests.new_store import store_at

NOW = 1_700_000_000.0
KEY = bytes(range(32))
TOKEN_URL = "https://id.test/token"

CLIENT_CREDENTIALS = """
name = "Example"
base_url = "https://api.test/v1"
[allow]
urls = ["https://api.test/v1"]
[[fields]]
name = "client_id"
[[fields]]
name = "client_secret"
secret = true
[auth]
grant = "client_credentials"
client_id = { field = "client_id" }
client_secret = { field = "client_secret" }
[auth.token]
url = "https://id.test/token"
[auth.revoke]
url = "https://id.test/revoke"
[test]
url = "/me"
expect = { status = [200], path = "id" }
[connection]
label = "{{ test.name }}"
unique_id = "{{ test.id }}"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""
PASSWORD = (
    CLIENT_CREDENTIALS.replace('name = "client_id"', 'name = "username"')
    .replace(
        'name = "client_secret"\nsecret = true',
        'name = "password"\nsecret = true\n[[fields]]\nname = "otp"\nonce = true\nrequired = false',
    )
    .replace('grant = "client_credentials"', 'grant = "password"')
    .replace('{ field = "client_id" }', '"app-1"')
    .replace('{ field = "client_secret" }', '{ env = "APP_SECRET" }')
    .replace('url = "https://id.test/token"', 'url = "https://id.test/token"\nparams = { otp = "{{ otp }}" }')
)
API_KEY = """
name = "Keyed"
base_url = "https://api.test/v1"
[allow]
urls = ["https://api.test/v1"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[test]
url = "/me"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
[inject.query]
key = "{{ api_key }}"
[inject.body]
version = "v2"
"""
CLIENT = {"client_id": "cid", "client_secret": "client-s3cret"}
ANN = {"username": "ann", "password": "ann-passw0rd"}
ENVIRON = {"APP_SECRET": "app-s3cret"}


class Clock:
    """Epoch seconds, turned by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Policies(dict[str, Policy]):
    """The catalog's `get`, from texts."""

    def put(self, app: str, text: str) -> None:
        loaded = load(text, app=app, file=f"{app}.toml")
        assert loaded.policy is not None, [str(finding) for finding in loaded.findings]
        self[app] = loaded.policy

    @property
    def policies(self) -> "Policies":
        return self


def as_json(status: int, **data: Any) -> Answer:
    return Answer(status=status, headers={"content-type": "application/json"}, body=json.dumps(data).encode())


@dataclass
class FakeProvider:
    """An authorization server with an API, at the seam of `Egress.send`.

    It rotates strictly: a refresh token works once, and only the newest. `scripted` answers come first; `gate` holds
    token calls back, `arrived` says that one is there.
    """

    refresh_tokens: bool = True
    expires_in: Any = 3600
    scripted: list[Answer | UpstreamError] = field(default_factory=list)
    me: Answer = field(default_factory=lambda: as_json(200, id="u1", name="John Doe"))
    revocations: list[Answer | UpstreamError] = field(default_factory=list)
    gate: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0
    token_calls: list[dict[str, str]] = field(default_factory=list)
    revoked: list[dict[str, str]] = field(default_factory=list)
    tested: list[OutgoingRequest] = field(default_factory=list)

    async def send(self, request: OutgoingRequest, **_limits: Any) -> Answer:
        match urlsplit(request.url).path:
            case "/token":
                return await self._token(_form(request))
            case "/revoke":
                self.revoked.append(_form(request))
                return _raised(self.revocations.pop(0)) if self.revocations else as_json(200)
        self.tested.append(request)
        return self.me

    async def _token(self, form: dict[str, str]) -> Answer:
        self.token_calls.append(form)
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.scripted:
            return _raised(self.scripted.pop(0))
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != f"rt-{self.number}-secret":
            return as_json(400, error="invalid_grant", error_description="Refresh token was used before")
        self.number += 1
        tokens: dict[str, Any] = {"access_token": f"at-{self.number}-secret", "expires_in": self.expires_in}
        if self.refresh_tokens:
            tokens["refresh_token"] = f"rt-{self.number}-secret"
        return as_json(200, **tokens)


def down() -> UpstreamError:
    return UpstreamError(Refusal(code="upstream_connect", detail="id.test could not be connected to: refused."))


def _raised(answer: Answer | UpstreamError) -> Answer:
    if isinstance(answer, UpstreamError):
        raise answer
    return answer


def _form(request: OutgoingRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


@dataclass
class House:
    """A store file, policies, a provider and a clock; any number of vaults on them."""

    path: Path
    clock: Clock = field(default_factory=Clock)
    policies: Policies = field(default_factory=Policies)
    provider: FakeProvider = field(default_factory=FakeProvider)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @asynccontextmanager
    async def vault(self, *, egress: Any = None, **changes: Any) -> AsyncIterator[Vault]:
        async with await store_at(self.path) as store:
            vault = Vault(
                store=store,
                keyring=Keyring({1: KEY}),
                catalog=self.policies,
                egress=egress or self.provider,
                audit=Audit(store, self.clock),
                clock=self.clock,
                random=Random(1),
                environ=ENVIRON,
                **changes,
            )
            try:
                yield vault
            finally:
                await vault.close()


class Overtaken(Connections):
    """Connections whose first update comes too late: `first` is done just before it."""

    def __init__(self, store: Store, first: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store.database)
        self._first: Callable[[], Awaitable[object]] | None = first

    async def update(self, connection_id: str, **values: Any) -> bool:
        first, self._first = self._first, None
        if first is not None:
            await first()
        return await super().update(connection_id, **values)


class Late(Connections):
    """Connections whose row of a token behind `version` is handed on late: `then` is done once it was read."""

    def __init__(self, store: Store, version: int, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__(store.database)
        self._version = version
        self._then = then

    async def get(self, connection_id: str) -> ConnectionRow | None:
        row = await super().get(connection_id)
        if row is not None and row.token_version > self._version:
            await self._then()
        return row


async def events(vault: Vault, kind: str) -> list[dict[str, Any]]:
    page = await vault._store.events.list(limit=1000)
    return [dict(event.detail) | {"actor": event.actor} for event in page.items if event.kind == kind]


def authorization(live: Any) -> str:
    """The Authorization header that a Live injects."""
    return dict(live.injection.headers)[b"Authorization"].decode()


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0)
