"""What a thief of the database alone gets: nothing that opens anything, and nothing that may be put elsewhere.

A gateway is run with connections of three kinds, refreshed and failed calls, links, logins under way, webhook messages,
revocations and clients; then its database is taken: the file, the write-ahead log, every cell of every table.
"""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.admin.links import Outcome, claim_link, end_claim, find_link, make_link
from gateway.app import Gateway, open_gateway
from gateway.app.serving import running
from gateway.errors import StartError
from gateway.keyring import Keyring, KeyringError, create_data_key, key_id_of, unwrap
from gateway.proxy.ledger import StoreLedger
from gateway.secret import Secret
from gateway.settings import Egress, Keys, Listen, Proxy, Settings, Web, Webhook
from gateway.store.limits import Ask
from gateway.store.rotation import Rotation
from gateway.store.rows import LATENCIES, OUTCOMES
from gateway.store.sealed import row_of, sealed_columns
from gateway.store.tables import metadata
from gateway.vault.credentials import Safe
from gateway.web import login
from gateway.web.link import Opened
from gateway.web.session import Session
from tests.vault.harness import API_KEY, PASSWORD

LEGACY = PASSWORD.replace('{ env = "APP_SECRET" }', '{ secret = "client_secret" }')
KEYED = API_KEY.replace("[auth]", '[[fields]]\nname = "tenant"\nrequired = false\n[auth]', 1)
BROWSER = """
name = "Browser"
[allow]
urls = ["https://api.browser.test"]
[[fields]]
name = "site"
[[fields]]
name = "app_password"
secret = true
[auth]
grant = "authorization_code"
client_id = "public-id"
[auth.authorize]
url = "https://browser.test/authorize"
[auth.token]
url = "https://browser.test/token"
client_auth = "none"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""

READABLE = {
    "alembic_version": {"version_num"},
    "app_secrets": {"app", "name", "updated_at"},
    "changes": {"id", "kind", "key"},
    "clients": {"name", "token_hash", "patterns", "created_at", "expires_at", "revoked_at"},
    "connect_links": {
        *("token_hash", "app", "connection", "created_at", "expires_at"),
        *("used_at", "created_by", "claim", "claimed_until"),
    },
    "connections": {
        *(
            "id",
            "app",
            "label",
            "account_label",
            "unique_id",
            "status",
            "reason",
            "token_version",
            "fence",
            "lease_owner",
            "lease_until",
        ),
        *("expires_at", "renew_at", "retry_at", "failures", "created_at", "updated_at", "last_used_at", "created_by"),
    },
    "data_keys": {"id", "wrapped", "created_at", "retired_at", "handed_on"},
    "deliveries": {
        *("id", "message_id", "kind", "app", "connection"),
        *("body", "created_at", "attempts", "next_try_at", "last_error"),
    },
    "events": {"id", "at", "kind", "actor", "app", "connection", "client", "detail"},
    "limits": {"key", "free_at", "paused_until"},
    "login_states": {"state_hash", "app", "session_hash", "created_at", "expires_at", "poll_at", "poll_interval"},
    "meta": {"name"},
    "requests": {
        *("id", "at", "request_id", "entrance", "app", "connection", "client", "method"),
        *("url", "status", "code", "seconds", "sent", "received", "refreshed"),
    },
    "revocations": {"id", "connection", "app", "actor", "created_at", "attempts", "next_try_at", "last_error"},
    "slot_holders": {"owner", "until"},
    "slots": {"key", "owner", "held", "wanted"},
    "tallies": {"dimension", "span", "key", "at", "seconds", *OUTCOMES, *LATENCIES},
}
"""What a thief may read: who is connected to what and when, what was called without its query, and hashes of 256 bits.

Labels and account identifiers are among it: they are looked for and listed by. A new column has to be put in here, or
be sealed.
"""
READABLE_META = {"gateway_id", "ca_certificate", "renewal_timings"}
SEALED_META = {"canary", "ca_key", "web_sessions"}


class Service:
    """A provider, its API and a webhook's receiver, which takes neither messages nor revocations."""

    def __init__(self) -> None:
        self.number = self.people = 0
        self.given: set[str] = set()

    async def token(self, _request: web.Request) -> web.Response:
        self.number += 1
        access, refresh = f"at-{self.number}+secret/access", f"rt-{self.number}+secret/refresh"
        self.given |= {access, refresh, "instance-of-the-token"}
        more = {"instance": "instance-of-the-token"}
        return web.json_response({"access_token": access, "refresh_token": refresh, "expires_in": 3600, **more})

    async def me(self, _request: web.Request) -> web.Response:
        self.people += 1  # asked once for each that is connected
        about = {"id": f"account-{self.people}", "name": "Ann's label", "email": "private-mail@people.test"}
        return web.json_response(about)

    async def refuse(self, request: web.Request) -> web.Response:
        said = await request.text()
        return web.Response(status=500, text=f"I don't like {said}")

    async def data(self, _request: web.Request) -> web.Response:
        return web.json_response({"answer": "body-of-an-answer"}, headers={"X-Answer": "header-of-an-answer"})

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.add_routes(
            [
                web.post("/token", self.token),
                web.get("/v1/me", self.me),
                web.post("/v1/data", self.data),
                web.post("/revoke", self.refuse),
                web.post("/hook", self.refuse),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@dataclass(frozen=True, kw_only=True)
class House:
    """What was robbed: where it is, what should not be found, and the keys that the thief doesn't have."""

    place: Path
    settings: Settings
    secrets: frozenset[str]
    tokens: frozenset[str]
    master: bytes
    bytes_of_keys: frozenset[bytes]

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.place / "data" / "gateway.db")


async def live_in(settings: Settings, service: Service, url: str, rotate: bool) -> House:  # noqa: FBT001
    policies = settings.policies_dir
    policies.mkdir(parents=True)
    for name, text in (("legacy", LEGACY), ("keyed", KEYED)):
        at_home = text.replace("https://id.test", url).replace("https://api.test", url)
        (policies / f"{name}.toml").write_text(at_home)
    (policies / "browser.toml").write_text(BROWSER)
    async with running(settings) as now:
        gateway = now.gateway
        secret = Safe(gateway.keyring).seal_app_secret("legacy", "client_secret", Secret("app+secret/of-legacy"))
        await gateway.store.secrets.put("legacy", "client_secret", secret, now=1.0)
        for name in ("one", "two", "gone"):
            await gateway.vault.connect(
                "legacy",
                connection_id=name,
                fields={"username": f"user-{name}@people.test"},
                secrets={"password": f"pass+word/of {name}"},
                actor="cli",
            )
        await gateway.vault.connect(
            "keyed",
            connection_id="keyed",
            fields={"tenant": "tenant-field-value"},
            secrets={"api_key": 'sk+live/"quoted"\\0123ü'},
            actor="cli",
        )
        await gateway.vault.refresh("one")
        await gateway.vault.disconnect("gone", actor="cli")
        token = await gateway.access.create("laptop", ["*"])
        link, state, session = await links_and_logins(gateway)
        await count(gateway)
        await call(now.proxy, token.reveal(), f"{url}/v1/data?query=secret-of-the-query")
        authority = await gateway.authority()
        ca_key = authority._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        if rotate:
            await Rotation(gateway.store, gateway.keyring, gateway.master, clock=gateway.clock, grace=0.0).run()
        await asyncio.sleep(1.2)  # the request log is written once a second
        for name in ("gateway.db", "gateway.db-wal"):  # as it is while the gateway runs, the log not yet folded in
            shutil.copy(settings.data_dir / name, settings.data_dir / f"taken-{name}")
        keys = [unwrap(gateway.master, row.id, row.wrapped) for row in await gateway.store.keys.all()]
        master = gateway.master
    der = load_pem_private_key(ca_key.encode(), None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    typed = {
        "app+secret/of-legacy",
        *(f"user-{name}@people.test" for name in ("one", "two", "gone")),
        *(f"pass+word/of {name}" for name in ("one", "two", "gone")),
        "tenant-field-value",
        'sk+live/"quoted"\\0123ü',
        "preset-site-of-the-link",
        "preset+secret/of-the-link",
        "site-of-the-login",
        "secret+of/the-login",
        "typed-into-the-page",
        "private-mail@people.test",
        "secret-of-the-query",
        "body-of-a-request",
        "header-of-a-request",
        "body-of-an-answer",
        "header-of-an-answer",
        "webhook+signing/secret",
    }
    given = {token.reveal(), link, state, session, (settings.data_dir / "admin.token").read_text().strip()}
    secrets = typed | given | service.given | set(ca_key.splitlines()[1:-1])
    return House(
        place=settings.data_dir.parent,
        settings=settings,
        secrets=frozenset(secrets),
        tokens=frozenset({token.reveal(), link, state}),
        master=master,
        bytes_of_keys=frozenset({master, *keys, der}),
    )


async def links_and_logins(gateway: Gateway) -> tuple[str, str, str]:
    """Make a link with presets, one failed try with it, and a login that is at the provider; return what is secret."""
    preset = {"site": "preset-site-of-the-link", "app_password": "preset+secret/of-the-link"}
    token, row = await make_link(gateway, app="browser", connection=None, fields=preset, lifetime=600.0, actor="cli")
    claimed = await claim_link(gateway, row.token_hash, begun=gateway.clock())
    assert claimed is not None
    failed = Outcome(session="f" * 64, problem="It failed.", typed={"site": "typed-into-the-page"})
    await end_claim(gateway, claimed, failed)
    found = await find_link(gateway, token)
    policy = gateway.catalog.get("browser")
    assert found is not None
    assert policy is not None
    session = Session(id="id-of-the-browser-session", admin=False, expires_at=2**31)
    url = await login.begin(
        gateway,
        Opened(row=found, token=token, policy=policy, preset=preset, outcome=None),
        session,
        redirect_uri="https://gateway.test/oauth/callback/browser",
        fields={"site": "site-of-the-login"},
        hidden={"app_password": Secret("secret+of/the-login")},
    )
    return token, url.partition("state=")[2].partition("&")[0], session.id


async def count(gateway: Gateway) -> None:
    """Count what goes out, as several replicas do."""
    counted, key = StoreLedger(gateway.store.limits, owner="me", clock=gateway.clock), "connection:one"
    await counted.reserve(Ask(key=key, turns=1, interval=1.0, burst=1, ahead=0.0))
    await counted.share(key, in_use=1, wanted=1, spare=0, limit=1)


async def call(proxy: Listen, token: str, url: str) -> None:
    tag = base64.b64encode(f"one:{token}".encode()).decode()
    headers = {"Proxy-Authorization": f"Basic {tag}", "X-Mine": "header-of-a-request"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data="body-of-a-request", proxy=f"http://{proxy}", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def robbed(place: Path, *, rotate: bool) -> House:
    service = Service()
    runner, url = await service.start()
    nowhere = Listen("127.0.0.1", 0)
    settings = Settings(
        data_dir=place / "data",
        policies_dir=place / "policies",
        proxy=Proxy(listen=nowhere),
        web=Web(listen=nowhere),
        egress=Egress(allow_networks=["127.0.0.1/32"]),
        webhook=Webhook(url=f"{url}/hook", secret="webhook+signing/secret"),
    )
    try:
        return await live_in(settings, service, url, rotate)
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module", params=["as it is", "after a rotation"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
            patch.delenv(name)
        place = tmp_path_factory.mktemp("house")
        yield asyncio.run(robbed(place, rotate=request.param == "after a rotation"))


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One sealed value, and what it was sealed for."""

    table: str
    column: str
    row: str
    value: bytes

    @property
    def place(self) -> dict[str, str]:
        return {"table": self.table, "column": self.column, "row": self.row}


def sealed(house: House) -> list[Blob]:
    """Every sealed value of the database."""
    found = []
    with closing(house.database()) as database:
        for column in sealed_columns(metadata):
            keys = [key.name for key in column.table.primary_key]
            query = f"SELECT {column.name}, {', '.join(keys)} FROM {column.table.name} WHERE {column.name} IS NOT NULL"
            found += [
                Blob(table=column.table.name, column=column.name, row=row_of(key), value=value)
                for value, *key in database.execute(query)
                if column.table.name != "meta" or key[0] in SEALED_META
            ]
    return found


def forms(secret: bytes) -> Iterator[bytes]:
    """How a secret may be written: plain, in JSON, in a URL, in hex, in base64 at whichever offset it stands."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for lead in range(3):
        whole = base64.b64encode(b"\0" * lead + secret)
        inner = whole[(0, 2, 3)[lead] : len(whole) - 4]  # what depends on the secret's own bytes alone
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield quote(text, safe="").encode()


def found(secrets: Iterable[bytes], text: bytes) -> list[bytes]:
    return [secret for secret in secrets if any(form in text for form in forms(secret))]


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_no_secret_is_in_the_files_as_they_lie_there_or_in_any_cell(house: House) -> None:
    secrets = [secret.encode() for secret in house.secrets] + list(house.bytes_of_keys)
    assert len(secrets) >= 35
    files = {path.name: path.read_bytes() for path in (house.place / "data").glob("*gateway.db*")}
    assert files.keys() >= {"gateway.db", "taken-gateway.db", "taken-gateway.db-wal"}
    assert len(files["taken-gateway.db-wal"]) > 0
    for name, content in files.items():
        assert found(secrets, content) == [], name
    with closing(house.database()) as database:
        for table in metadata.tables:
            rows = database.execute(f"SELECT * FROM {table}").fetchall()
            assert rows, f"{table} is empty: this test shows nothing of it"
            for row in rows:
                assert found(secrets, b"\n".join(map(as_bytes, row))) == [], table


def test_the_search_would_find_what_is_there() -> None:
    """Each form of each kind of secret, wherever it stands."""
    for secret in ('sk+live/"quoted"\\0123ü'.encode(), bytes(range(200, 232))):
        for form in forms(secret):
            assert found([secret], b"before" + form + b"after") == [secret]
        for lead in (b"", b"x", b"xy"):
            assert found([secret], base64.b64encode(lead + secret + b"behind")) == [secret]


def test_what_stays_readable_is_what_is_promised_and_a_new_column_is_one_or_the_other(house: House) -> None:
    plain = {
        table.name: {column.name for column in table.columns}
        - {c.name for c in sealed_columns(metadata) if c.table is table}
        for table in metadata.tables.values()
    }
    assert plain == READABLE
    with closing(house.database()) as database:
        names = {name for (name,) in database.execute("SELECT name FROM meta")}
        assert names == READABLE_META | SEALED_META
        urls = {url for (url,) in database.execute("SELECT url FROM requests")}
    assert all("?" not in url for url in urls)
    assert any(url.endswith("/v1/data") for url in urls)


def test_tokens_of_clients_links_and_logins_are_there_as_hashes_alone(house: House) -> None:
    with closing(house.database()) as database:
        hashes = {
            value
            for column in ("clients.token_hash", "connect_links.token_hash", "login_states.state_hash")
            for (value,) in database.execute(f"SELECT {column.split('.')[1]} FROM {column.split('.')[0]}")
        }
    assert {hashlib.sha256(token.encode()).digest() for token in house.tokens} <= hashes


def test_there_is_something_in_every_sealed_column(house: House) -> None:
    assert {(blob.table, blob.column) for blob in sealed(house)} == {
        (column.table.name, column.name) for column in sealed_columns(metadata)
    }


def guesses(house: House) -> dict[str, bytes]:
    """Master keys that a thief may think of: what is in the database, and what is not random."""
    with closing(house.database()) as database:
        wrapped = b"".join(value for (value,) in database.execute("SELECT wrapped FROM data_keys"))
        (gateway_id,) = database.execute("SELECT value FROM meta WHERE name = 'gateway_id'").fetchone()
    return {
        "zeros": bytes(32),
        "another": create_data_key(),
        "what is wrapped": wrapped[-32:],
        "its beginning": wrapped[:32],
        "a hash of it": hashlib.sha256(wrapped).digest(),
        "the gateway's id": gateway_id * 2,
        "the master key but for a bit": bytes([house.master[0] ^ 1]) + house.master[1:],
    }


def test_no_other_master_key_opens_the_data_key_and_no_guess_opens_a_value(house: House) -> None:
    with closing(house.database()) as database:
        rows = database.execute("SELECT id, wrapped FROM data_keys").fetchall()
    assert [unwrap(house.master, key_id, wrapped) for key_id, wrapped in rows]
    blobs = sealed(house)
    for guess in guesses(house).values():
        for key_id, wrapped in rows:
            with pytest.raises(KeyringError):
                unwrap(guess, key_id, wrapped)
        for blob in blobs:
            with pytest.raises(KeyringError):
                Keyring({key_id_of(blob.value): guess}).open(blob.value, **blob.place)


def test_no_value_opens_in_the_place_of_another(house: House) -> None:
    """Every one in every other place: another row, another column, another table."""
    with closing(house.database()) as database:
        rows = database.execute("SELECT id, wrapped FROM data_keys").fetchall()
    ring = Keyring({key_id: unwrap(house.master, key_id, wrapped) for key_id, wrapped in rows})
    blobs = sealed(house)
    assert len(blobs) >= 14
    for blob in blobs:
        assert ring.open(blob.value, **blob.place)
        for other in blobs:
            if other is not blob:
                with pytest.raises(KeyringError):
                    ring.open(blob.value, **other.place)


async def test_a_gateway_with_another_master_key_does_not_start(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIEF", "00" * 32)
    with pytest.raises(StartError, match="not the one this store was made with"):
        async with open_gateway(house.settings.model_copy(update={"keys": Keys(source="env:THIEF")}), create=False):
            pass


SWAPS = {
    "credentials of another connection": (
        "UPDATE connections SET credentials = (SELECT credentials FROM connections WHERE id = 'two') WHERE id = 'one'"
    ),
    "fields of another connection": (
        "UPDATE connections SET fields = (SELECT fields FROM connections WHERE id = 'two') WHERE id = 'one'"
    ),
    "fields as credentials": "UPDATE connections SET credentials = fields WHERE id = 'one'",
    "a secret of the app as credentials": (
        "UPDATE connections SET credentials = (SELECT sealed FROM app_secrets) WHERE id = 'one'"
    ),
    "a byte less": "UPDATE connections SET credentials = substr(credentials, 1, length(credentials) - 1)",
    "another row's name": "UPDATE connections SET id = CASE id WHEN 'one' THEN 'x' WHEN 'x' THEN 'one' ELSE id END",
}


def moved(house: House, place: Path, change: str) -> Settings:
    """Copy what was robbed, change its database, and return the settings for it."""
    shutil.copytree(house.place / "data", place / "data")
    with closing(sqlite3.connect(place / "data" / "gateway.db")) as database:
        database.execute(change)
        database.commit()
    return house.settings.model_copy(
        update={
            "data_dir": place / "data",
            "store": house.settings.store.model_copy(update={"url": f"sqlite:///{place}/data/gateway.db"}),
            "keys": Keys(source=f"file:{place}/data/master.key"),
        }
    )


async def test_a_gateway_signs_nothing_with_a_key_that_was_put_in_the_place_of_its_authoritys(
    house: House, tmp_path: Path
) -> None:
    change = "UPDATE meta SET value = (SELECT credentials FROM connections WHERE id = 'one') WHERE name = 'ca_key'"
    async with open_gateway(moved(house, tmp_path, change), create=False) as gateway:
        with pytest.raises(StartError, match="key of the gateway's certificate authority can't be opened: meta"):
            await gateway.authority()


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_gateway_uses_nothing_that_was_put_in_anothers_place(house: House, tmp_path: Path, swap: str) -> None:
    """Someone who can write as well moves what they can't read: it is refused, and says what doesn't open."""
    async with open_gateway(moved(house, tmp_path, SWAPS[swap]), create=False) as gateway:
        live = await gateway.vault.live("x" if swap == "another row's name" else "one")
        assert live is not None
        assert live.injection is None
        assert live.refusal is not None
        assert live.refusal.code == "internal"
        assert "does not open: another key, another row, or changed bytes" in live.refusal.detail
