"""`gateway keys rotate` beside `gateway serve`: killed, gone on with, two at once, and no request or refresh is lost.

Real processes, a real provider on loopback that takes each refresh token once: a token that the rotation lost, or wrote
an older one over, would be a connection that needs a person.
"""

import asyncio
import json
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.app import open_gateway
from gateway.settings import Settings
from gateway.store import Store
from gateway.store.sealed_values import SealedValues
from tests.cli.programs import serving, surroundings
from tests.vault.real import policy_for

NAMES = ("c1", "c2", "c3", "c4")
USES = 5
"""Requests that an access token is good for."""


class Service:
    """A provider and its API. An access token is refused after a few uses, a refresh token after one."""

    def __init__(self) -> None:
        self.url = ""
        self.access: dict[str, str] = {}
        self.refresh: dict[str, str] = {}
        self.uses: Counter[str] = Counter()
        self.refreshed: Counter[str] = Counter()
        self.refused: list[str] = []

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form["grant_type"] == "password":
            name = str(form["username"])
        else:
            found = self.refresh.pop(str(form["refresh_token"]), None)
            if found is None:
                self.refused.append(str(form["refresh_token"]))
                return web.json_response({"error": "invalid_grant"}, status=400)
            name = found
            self.refreshed[name] += 1
        self.access = {token: whose for token, whose in self.access.items() if whose != name}
        access, refresh = f"at-{secrets.token_hex(8)}", f"rt-{secrets.token_hex(8)}"
        self.access[access], self.refresh[refresh] = name, name
        return web.json_response({"access_token": access, "refresh_token": refresh, "expires_in": 3600})

    async def me(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.uses[token] += 1
        if token not in self.access or self.uses[token] > USES:
            return web.Response(status=401)
        return web.json_response({"id": self.access[token], "name": self.access[token]})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes([web.post("/token", self.token), web.get("/v1/me", self.me)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


async def command(*arguments: str, cwd: Path, environment: Mapping[str, str]) -> Process:
    """Start `gateway …`, and go on: this process has a provider to play."""
    words = (sys.executable, "-m", "gateway", *arguments)
    return await asyncio.create_subprocess_exec(*words, cwd=cwd, env=surroundings() | dict(environment), stdout=PIPE)


async def prepare(settings: Settings, service: Service) -> str:
    """Make the connections and a client; return its token."""
    settings.policies_dir.mkdir()
    (settings.policies_dir / "legacy.toml").write_text(policy_for(service.url))
    async with open_gateway(settings) as gateway:
        for name in NAMES:
            await gateway.vault.connect(
                "legacy", connection_id=name, fields={"username": name, "password": "x"}, actor="test"
            )
        return (await gateway.access.create("all", ["*"])).reveal()


async def call(session: aiohttp.ClientSession, service: Service, port: int, connection: str, token: str) -> None:
    tag = b64encode(f"{connection}:{token}".encode()).decode()
    through, tags = f"http://127.0.0.1:{port}", {"Proxy-Authorization": f"Basic {tag}"}
    async with session.get(f"{service.url}/v1/me", proxy=through, headers=tags) as answer:
        body = await answer.json(content_type=None)
        assert answer.status == 200, body
        assert body["id"] == connection


@asynccontextmanager
async def traffic(service: Service, port: int, token: str) -> AsyncIterator[Counter[str]]:
    """Use every connection, one request after the other on each, until the end; count them. Each must be answered."""
    answers: Counter[str] = Counter()

    async def use(connection: str) -> None:
        while True:
            await call(session, service, port, connection, token)
            answers[connection] += 1
            await asyncio.sleep(0.04)  # a pace that leaves the others of this machine something

    async with aiohttp.ClientSession() as session:
        users = [asyncio.create_task(use(name)) for name in NAMES]
        try:
            yield answers
            for user in users:
                if user.done():
                    user.result()  # raises what failed
        finally:
            for user in users:
                user.cancel()
            await asyncio.gather(*users, return_exceptions=True)


async def two_at_once(place: Path, given: Mapping[str, str], _store: Store) -> None:
    both = [await command("keys", "rotate", "--json", cwd=place, environment=given) for _ in range(2)]
    said = [json.loads((await one.communicate())[0]) for one in both]
    assert [(one["key"], one["removed"], one["stuck"]) for one in said] == [(2, [1], [])] * 2
    assert sorted(one["resumed"] for one in said) == [False, True]


async def killed_and_gone_on_with(place: Path, given: Mapping[str, str], store: Store) -> None:
    killed = await command("keys", "rotate", cwd=place, environment=given)
    while len(await store.keys.all()) < 2:  # noqa: ASYNC110 - another process's doing has no event
        await asyncio.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert await killed.wait() == -signal.SIGKILL
    assert [row.id for row in await store.keys.all()] == [1, 2]
    resumed = await command("keys", "rotate", "--json", cwd=place, environment=given)
    done = json.loads((await resumed.communicate())[0])
    assert (done["key"], done["resumed"], done["removed"], done["stuck"]) == (2, True, [1], [])


@pytest.mark.timeout(90)
@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("store_url", "workers", "rotate"),
    [("sqlite", "1", two_at_once), ("postgresql", "2", killed_and_gone_on_with)],
    indirect=["store_url"],
)
async def test_whatever_becomes_of_a_rotation_no_request_fails_and_no_refresh_is_lost(
    store_url: str,
    workers: str,
    rotate: Callable[..., Awaitable[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service()
    monkeypatch.setenv("APP_SECRET", "s")  # of the servers too
    given = {"GATEWAY_STORE__URL": store_url, "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1/32"}
    settings = Settings(
        data_dir=tmp_path / "data",
        policies_dir=tmp_path / "policies",
        store={"url": store_url},
        egress={"allow_networks": ["127.0.0.1/32"]},
    )
    async with service.listening(), await Store.open(store_url, migrate=True) as store:
        token = await prepare(settings, service)
        with serving(tmp_path, given | {"GATEWAY_WORKERS": workers}) as server:
            async with traffic(service, server.proxy, token) as answers:
                await rotate(tmp_path, given, store)
                before = service.refreshed.total()
                while service.refreshed.total() < before + 2 * len(NAMES):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.01)
            assert min(answers[name] for name in NAMES) > 10
            assert await asyncio.to_thread(server.stop) == 0  # the provider answers meanwhile
            assert "keys.not_opened" not in server.err.read_text()
        assert set(await SealedValues(store.database).count()) == {2}
        with serving(tmp_path, given) as server:  # a process that has the newest key alone
            async with aiohttp.ClientSession() as session:
                for name in NAMES:
                    await call(session, service, server.proxy, name, token)
        assert service.refused == []
