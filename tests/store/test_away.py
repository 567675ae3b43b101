"""The database away under a running gateway: what needs no store goes on, the rest is told so, and it comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.app import chores, tallying
from gateway.app.serving import Running, running
from gateway.errors import StoreError
from gateway.settings import Egress, Listen, Proxy, Settings, Web
from gateway.settings import Store as StoreSettings
from gateway.store import Store, listening, postgresql
from gateway.store.changes import in_order
from gateway.store.rows import RevocationRow
from gateway.vault.sweep import Sweep
from tests.keyed import POLICY
from tests.postgres import Postgres
from tests.store.samples import a_client

TOKEN = "t" * 40
BESIDE = ("store.away", "requests.not_stored", "tallies.not_stored", "upkeep.delayed")
BOUND = 4.0  # seconds; with the times of `_hasty`


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A gateway that runs, with a service behind it and somebody in front."""

    now: Running
    service: str
    session: aiohttp.ClientSession

    async def proxied(self, connection: str, token: str) -> tuple[int, dict[str, str], Any]:
        url = f"http://{self.now.proxy}/c/{connection}/{self.service}/"
        async with self.session.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            is_json = "json" in answer.content_type
            return answer.status, dict(answer.headers), await (answer.json() if is_json else answer.text())

    async def web(self, method: str, path: str, given: Any = None) -> tuple[int, dict[str, str], str]:
        headers = {"Authorization": f"Bearer {TOKEN}"} if path.startswith("/api") else {}
        url = f"http://{self.now.web}{path}"
        async with self.session.request(method, url, json=given, headers=headers, allow_redirects=False) as answer:
            return answer.status, dict(answer.headers), await answer.text()


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of many: what is bounded by ten is bounded by one here."""
    for name, seconds in (("QUEUE_SECONDS", 2.0), ("WAIT_SECONDS", 1.0), ("SECONDS", 1.0)):
        monkeypatch.setattr(postgresql, name, seconds)
    monkeypatch.setattr(tallying, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(chores, "FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(Sweep, "longest", 0.2)
    monkeypatch.setattr(listening, "PROVE_SECONDS", 0.5)
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)


@asynccontextmanager
async def a_service() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Authorization"])

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
async def stand(_hasty: None, fresh: None, store_url: str, tmp_path: Path) -> AsyncIterator[Stand]:  # noqa: ARG001
    async with a_service() as port:
        (tmp_path / "policies").mkdir()
        (tmp_path / "policies" / "keyed.toml").write_text(POLICY.format(port=port))
        settings = Settings(
            data_dir=tmp_path / "data",
            policies_dir=tmp_path / "policies",
            store=StoreSettings(url=store_url),
            proxy=Proxy(listen=Listen("127.0.0.1", 0)),
            web=Web(listen=Listen("127.0.0.1", 0)),
            egress=Egress(allow_networks=["127.0.0.0/8"]),
        )
        async with running(settings) as now, aiohttp.ClientSession() as session:
            yield Stand(now=now, service=f"http://127.0.0.1:{port}", session=session)


async def until(what: str, holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - the gateway's tasks, and a server of another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


def restart(server: Postgres) -> tuple[Callable[[], None], Callable[[], None]]:
    return server.stop, server.start


def hang(server: Postgres) -> tuple[Callable[[], None], Callable[[], None]]:
    return server.hang, server.go_on


def said(logged: list[Any], event: str) -> Callable[[], Awaitable[bool]]:
    async def was() -> bool:
        return any(entry["event"] == event for entry in logged)

    return was


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("how", [restart, hang])
async def test_the_store_goes_away_and_comes_back_under_a_running_gateway(
    stand: Stand, postgresql: Postgres, store_url: str, how: Callable[..., tuple[Callable[[], None], ...]]
):
    ids = [f"c{number}" for number in range(9)]
    for name in ids:
        made = await stand.web(
            "POST", "/api/v1/connections", {"app": "keyed", "id": name, "secrets": {"api_key": f"key of {name}"}}
        )
        assert made[0] == 201, made
    _, _, client = await stand.web("POST", "/api/v1/clients", {"name": "runner", "connections": ["*"]})
    token = client.split('"token":"')[1].split('"')[0]
    assert (await stand.proxied("c0", token))[::2] == (200, "Bearer key of c0")
    leave, come_back = how(postgresql)
    with capture_logs() as logged:
        await asyncio.to_thread(leave)
        try:
            begun = time.monotonic()
            asked = [stand.proxied(name, token) for name in ids[1:]]
            routes = ("/api/v1/connections", "/api/v1/clients", "/readyz", "/connect/" + "x" * 43)
            (fresh, *refused), pages = await asyncio.gather(
                asyncio.gather(stand.proxied("c0", token), *asked),
                asyncio.gather(*(stand.web("GET", route) for route in routes)),
            )
            assert time.monotonic() - begun < BOUND
            assert fresh[::2] == (200, "Bearer key of c0")
            for status, headers, problem in refused:
                assert (status, problem["code"], headers["Retry-After"]) == (503, "overloaded", "1")
                assert "The store" in problem["detail"]
            assert [(status, "Retry-After" in headers) for status, headers, _ in pages] == [(503, True)] * len(routes)
            assert (await stand.web("GET", "/healthz"))[0] == 200
            assert (await stand.proxied("c0", token))[0] == 200
            for event in BESIDE:
                await until(f"{event} is logged", said(logged, event))
        finally:
            await asyncio.to_thread(come_back)

        async def is_ready() -> bool:
            return (await stand.web("GET", "/readyz"))[0] == 200

        await until("it is ready", is_ready)
        for name in ids:
            assert (await stand.proxied(name, token))[::2] == (200, f"Bearer key of {name}")
        # What goes on beside: the logs, the counts, the upkeep, the feed.
        async with await Store.open(store_url, migrate=False) as other:

            async def is_logged() -> bool:
                return {row.connection for row in (await other.requests.list()).items} >= set(ids)

            async def is_counted() -> bool:
                hour = int(time.time()) // 3600 * 3600
                return sum(row.requests for row in await other.tallies.series("all", since=hour - 1, step=3600)) >= 20

            async def is_seen_to() -> bool:
                return not await other.revocations.of(["gone"])

            async def is_refused() -> bool:
                return (await stand.proxied("c0", token))[0] == 401

            await until("requests are logged", is_logged)
            await until("requests are counted", is_counted)
            await other.revocations.add(
                RevocationRow(id="r", connection="gone", app="keyed", actor="a", created_at=1.0, next_try_at=1.0)
            )
            await until("what is due is done", is_seen_to)
            await other.clients.revoke("runner", now=time.time())
            await until("a revoked client is refused", is_refused, 1.0)
    assert not [entry for entry in logged if entry["event"] == "gateway.task_failed"]


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_a_server_that_stops_answering_in_the_middle_is_hung_up_on(
    store: Store,
    postgresql: Postgres,
    _hasty: None,  # noqa: PT019 - seconds instead of many
):
    """Also one who wanted to write and came to nothing gives the connection back."""
    for _ in range(2):
        try:
            async with asyncio.timeout(BOUND):
                with pytest.raises(StoreError, match="has stopped answering"):  # noqa: PT012 - the whole transaction
                    async with store.database.write() as connection:
                        await asyncio.to_thread(postgresql.hang)
                        await connection.execute(text("SELECT 1"))
        finally:
            postgresql.go_on()
        assert await store.connections.count() == 0


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("_hasty")
async def test_who_stands_still_with_a_lock_in_its_hands_is_ended_by_the_server(store: Store, store_url: str):
    """A replica that was stopped, or cut off, in the middle of a write: the others wait for a second, and go on."""
    async with await Store.open(store_url, migrate=False) as other:
        with pytest.raises(StoreError):  # noqa: PT012 - as above
            async with other.database.write() as connection:
                await in_order(connection)
                connection._alarm.cancel()  # it stands still, and so does its clock
                async with asyncio.timeout(BOUND):
                    while True:
                        with suppress(StoreError):
                            await store.clients.insert(a_client())
                            break
