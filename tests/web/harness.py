"""A web listener on loopback over a real store and catalog, with a vault of our own in place of the network.

Every answer that is read goes into `seen`, so that a test can search all of them for a secret.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from gateway.access import Access
from gateway.app.sockets import bound
from gateway.audit import Audit
from gateway.catalog import Catalog
from gateway.errors import ClientError, Refusal
from gateway.keyring import Keyring
from gateway.metrics import Metrics
from gateway.policy.load import Finding
from gateway.secret import Secret
from gateway.settings import Settings
from gateway.store.rows import ConnectionRow, Status
from gateway.store.store import Store
from gateway.store.unlock import keyring_from_store
from gateway.vault import Vault
from gateway.web.server import WebServer
from gateway.web.wire import Bounds
from tests.new_store import store_at

ADMIN = "gwa_the-admin-token-of-these-tests"
NOW = 1_800_000_000.0
MASTER = bytes(range(32))

CRM = """
name = "Example CRM"
base_url = "https://api.example.com/v1"
[allow]
urls = ["example.com"]
[[fields]]
name = "region"
label = "Region"
help = "Shown under your account's name."
choices = ["us", "eu"]
default = "us"
[[fields]]
name = "account"
pattern = "[a-z]+"
[[fields]]
name = "api_key"
label = "API key"
secret = true
[auth]
grant = "api_key"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
"""

MACHINE = """
name = "Machine"
base_url = "https://machine.example.com"
[allow]
urls = ["https://machine.example.com"]
[auth]
grant = "client_credentials"
client_id = "gateway"
client_secret = { secret = "client_secret" }
[auth.token]
url = "https://machine.example.com/token"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""

LOGIN = """
name = "Login Service"
base_url = "https://login.example.com"
[allow]
urls = ["https://login.example.com"]
[auth]
grant = "authorization_code"
client_id = "gateway"
client_secret = { secret = "client_secret" }
[auth.authorize]
url = "https://login.example.com/authorize"
[auth.token]
url = "https://login.example.com/token"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""


class ReadOnly(Catalog):
    """A catalog that can be made one of a read-only directory, which root never meets."""

    is_read_only = False

    def write(self, app: str, text: str) -> tuple[Finding, ...]:
        if self.is_read_only:
            raise PermissionError(13, "Permission denied")
        return super().write(app, text)


@dataclass(frozen=True, kw_only=True)
class Connected:
    row: ConnectionRow
    created: bool


@dataclass(frozen=True, kw_only=True)
class Result:
    ok: bool
    status: int | None
    message: str


class FakeVault:
    """Connects whatever it is given, one account for each value of the field `account`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[tuple[Any, ...]] = []
        self.refuses: Exception | None = None

    async def connect(
        self,
        app: str,
        *,
        connection_id: str | None,
        fields: Mapping[str, str],
        secrets: Mapping[str, Secret],
        actor: str,
    ) -> Connected:
        self.calls.append(("connect", app, connection_id, dict(fields), dict(secrets), actor))
        if self.refuses:
            raise self.refuses
        account = fields.get("account", "ann")
        found = await self._store.connections.find(app, account)
        if found is not None:
            return Connected(row=found, created=False)
        row = ConnectionRow(
            id=connection_id or f"{app}-{account}",
            app=app,
            status=Status.ACTIVE,
            label=f"Account {account}",
            unique_id=account,
            created_at=NOW,
            updated_at=NOW,
            created_by=actor,
        )
        await self._store.connections.insert(row)
        return Connected(row=row, created=True)

    async def open_fields(self, connection: str) -> dict[str, str]:
        return {"region": "eu"} if await self._store.connections.get(connection) else {}

    def forget(self, kind: str, key: str) -> None:
        self.calls.append(("forget", kind, key))

    async def test(self, connection: str, *, actor: str = "") -> Result:
        self.calls.append(("test", connection, actor))
        return Result(ok=False, status=401, message="The service answered 401.")

    async def refresh(self, connection: str, *, actor: str) -> None:
        self.calls.append(("refresh", connection, actor))
        if self.refuses:
            raise self.refuses

    async def disconnect(self, connection: str, *, actor: str) -> None:
        self.calls.append(("disconnect", connection, actor))
        await self._store.connections.update(connection, status=Status.DISCONNECTED, updated_at=NOW)

    async def live(self, _connection: str) -> None:
        """Nothing is loaded here."""

    async def rename(self, connection: str, label: str, *, actor: str) -> None:
        self.calls.append(("rename", connection, label, actor))
        if self.refuses:
            raise self.refuses
        await self._store.connections.update(connection, label=label)

    async def explain(self, connection: str, method: str, url: str) -> dict[str, Any]:
        self.calls.append(("explain", connection, method, url))
        if "\\" in url:
            raise ClientError(Refusal(code="target_invalid", detail="A backslash can't stand in a URL."))
        return {
            "allowed": True,
            "reason": "allowed by example.com",
            "rule": "example.com",
            "upstream_url": url,
            "inject": {"headers": {"Authorization": "***"}, "query": {}, "body": {}},
        }


@dataclass(frozen=True)
class FakeAuthority:
    certificate_pem: bytes = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@dataclass(kw_only=True)
class FakeGateway:
    """What the composition root would hand over."""

    settings: Settings
    store: Store
    keyring: Keyring
    vault: Any
    access: Access
    audit: Audit
    catalog: ReadOnly
    metrics: Metrics = field(default_factory=Metrics)
    egress: Any = None
    now: float = NOW

    def clock(self) -> float:
        return self.now

    async def authority(self) -> FakeAuthority:
        return FakeAuthority()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, read whole."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: Mapping[str, str]
    json: Any = None

    @property
    def paths(self) -> set[str]:
        """The paths of the faults that a 422 lists."""
        return {fault["path"] for fault in self.json["errors"]}


class Web:
    """A caller of the listener. `get`, `post` and so on take a path; `api` adds the prefix and the admin token."""

    def __init__(self, server: WebServer, session: aiohttp.ClientSession, gateway: FakeGateway) -> None:
        self.server, self.gateway, self.seen = server, gateway, []
        self._session = session

    async def request(self, method: str, path: str, **how: Any) -> Answer:
        async with self._session.request(method, self.server.url + path, allow_redirects=False, **how) as response:
            text = await response.text()
            self.seen.append(f"{response.headers}\n{text}")
            is_json = response.content_type.endswith("json")
            return Answer(
                status=response.status,
                headers=response.headers,
                text=text,
                cookies={name: morsel.OutputString() for name, morsel in response.cookies.items()},
                json=await response.json(content_type=None) if is_json else None,
            )

    def forget_cookies(self) -> None:
        """Become another browser."""
        self._session.cookie_jar.clear()

    async def get(self, path: str, **how: Any) -> Answer:
        return await self.request("GET", path, **how)

    async def api(self, method: str, path: str, **how: Any) -> Answer:
        headers = {"Authorization": f"Bearer {ADMIN}"} | how.pop("headers", {})
        return await self.request(method, "/api/v1" + path, headers=headers, **how)

    async def link(self, app: str = "crm", **how: Any) -> str:
        """Make a connect link; returns its path."""
        made = await self.api("POST", "/connect-links", json={"app": app} | how)
        assert made.status == 201, made.text
        return made.json["url"].removeprefix(self.server.url)


def form_token(answer: Answer) -> str:
    """Return the token of the form on a page."""
    return answer.text.split('name="form_token" value="')[1].split('"')[0]


class Nowhere:
    """A way out that leads nowhere: a vault over it can do what needs no provider."""

    async def send(self, *_given: Any, **_how: Any) -> Any:
        raise AssertionError("nothing may be sent")


@asynccontextmanager
async def running(
    directory: Path,
    *,
    real_vault: bool = False,
    egress: Any = None,
    patience: float = 5.0,
    bounds: Bounds | None = None,
    **settings: Any,
) -> AsyncIterator[Web]:
    """Start a listener on any free port over a store in `directory`, which another one may be using already."""
    policies = directory / "policies"
    policies.mkdir(exist_ok=True)
    given = {"web": {"listen": "127.0.0.1:0"}, "data_dir": directory / "data", "policies_dir": policies} | settings
    (directory / "data").mkdir(exist_ok=True)
    async with await store_at(directory / "data" / "gateway.db") as store:
        catalog = ReadOnly(policies)
        for app, text in (("crm", CRM), ("machine", MACHINE), ("login", LOGIN)):
            assert catalog.write(app, text) == ()
        keyring = await keyring_from_store(store, MASTER, NOW)
        audit = Audit(store, lambda: NOW)
        vault: Any = FakeVault(store)
        if real_vault:
            vault = Vault(
                store=store,
                keyring=keyring,
                catalog=catalog,
                egress=egress or Nowhere(),
                audit=audit,
                clock=lambda: NOW,
                patience=patience,
            )
        gateway = FakeGateway(
            settings=Settings(**given),
            store=store,
            keyring=keyring,
            vault=vault,
            access=Access(store, lambda: NOW),
            audit=audit,
            catalog=catalog,
        )
        server = WebServer(gateway, token=Secret(ADMIN), bounds=bounds)
        await server.start(bound(gateway.settings.web.listen))
        # The jar must be told that loopback addresses may have cookies.
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            try:
                yield Web(server, session, gateway)
            finally:
                await server.stop(1.0)
                if real_vault:
                    await vault.close()
