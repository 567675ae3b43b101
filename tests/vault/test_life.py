"""The whole life of connections: real processes, the real proxy, and a provider that forgives nothing."""

import asyncio
import base64
import json
import sqlite3
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from gateway.secret import Secret
from gateway.vault.webhook import signature
from tests.cli.programs import Server, serving
from tests.vault.harness import PASSWORD
from tests.vault.provider import StrictProvider

CALLERS = 20


def policy_at(url: str) -> str:
    return PASSWORD.replace("https://id.test", url).replace("https://api.test", url)


@asynccontextmanager
async def server(place: Path, shared: Path | None = None, **environment: str) -> AsyncIterator[Server]:
    """A `gateway serve` in `place`, on the store and the policies of `shared`."""
    home = shared or place
    given = {
        "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.0/8",
        "GATEWAY_DATA_DIR": str(home / "data"),
        "GATEWAY_POLICIES_DIR": str(home / "policies"),
        "APP_SECRET": "app-s3cret",
    }
    manager = serving(place, given | environment)
    running = await asyncio.to_thread(manager.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def put_policy(place: Path, provider: StrictProvider, app: str = "legacy") -> None:
    (place / "policies").mkdir(exist_ok=True)
    (place / "policies" / f"{app}.toml").write_text(policy_at(provider.url))


async def api(home: Path, at: Server, method: str, path: str, given: Any = None) -> Any:
    """Call the admin API."""
    headers = {"Authorization": "Bearer " + (home / "data" / "admin.token").read_text().strip()}
    content = None if given is None else json.dumps(given).encode()
    url = f"http://127.0.0.1:{at.web}{'' if path == '/metrics' else '/api/v1'}{path}"
    request = urllib.request.Request(url, content, headers | {"Content-Type": "application/json"}, method=method)

    def call() -> Any:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text

    return await asyncio.to_thread(call)


async def connected(home: Path, at: Server, app: str = "legacy", connection: str = "c") -> str:
    """Connect the provider's account; return a client's token."""
    body = {"app": app, "id": connection, "fields": {"username": "ann"}, "secrets": {"password": "ann-passw0rd"}}
    await api(home, at, "POST", "/connections", body)
    made = await api(home, at, "POST", "/clients", {"name": f"for-{connection}", "connections": [connection]})
    return str(made["token"])


class Caller:
    """A program with a keep-alive connection to the proxy, which asks for one URL again and again."""

    def __init__(self, proxy: int, provider: StrictProvider, token: str) -> None:
        self._proxy, self._authority = proxy, urlsplit(provider.url).netloc
        self._tag = base64.b64encode(f"c:{token}".encode()).decode()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._proxy)
        return self

    async def reopen(self) -> None:
        await self.__aexit__()
        await asyncio.sleep(0.05)  # what another process did is heard of by and by
        await self.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def send(self) -> None:
        head = f"GET http://{self._authority}/v1/me HTTP/1.1\r\nHost: {self._authority}\r\n"
        self._writer.write(f"{head}Proxy-Authorization: Basic {self._tag}\r\n\r\n".encode())
        await self._writer.drain()

    async def ask(self) -> tuple[int, int]:
        """Return the status, and the number of the token that the API was given."""
        status, body = await self.answer()
        return status, body.get("number", 0)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of an answer."""
        await self.send()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        return int(head.split()[1]), json.loads(await self._reader.readexactly(length))


async def rotate(provider: StrictProvider, proxies: list[int], token: str, rotations: int) -> list[int]:
    """Let 20 callers ask without end while token after token is made useless; return every status they got.

    The next one is made useless as soon as each caller has had an answer with the one before.
    """
    seen, statuses = [0] * CALLERS, []
    moved = asyncio.Condition()

    async def call(number: int) -> None:
        async with Caller(proxies[number % len(proxies)], provider, token) as caller:
            while (await caller.ask())[0] in {407, 429}:  # another process made this client a moment ago
                await caller.reopen()
            while True:
                status, seen[number] = await caller.ask()
                statuses.append(status)
                async with moved:
                    moved.notify_all()

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(call(number)) for number in range(CALLERS)]
        for _ in range(rotations):
            wanted = provider.number + 1
            provider.expire()
            async with moved:
                await moved.wait_for(lambda wanted=wanted: min(seen) >= wanted)
        for task in callers:
            task.cancel()
    return statuses


def nothing_was_lost(provider: StrictProvider, rotations: int) -> None:
    assert provider.reused == 0, "a refresh token was used twice, and the family is gone"
    assert provider.number == rotations + 1, "one to connect, one for each rotation"
    assert provider.spent == [f"rt-{number}-secret" for number in range(1, rotations + 1)]


async def counted(home: Path, at: Server, *, until: int) -> int:
    """The refreshes that /metrics shows, asked for until they are as many or ten seconds are over."""
    end, count = time.monotonic() + 10, -1
    while count != until and time.monotonic() < end:
        lines = (await api(home, at, "GET", "/metrics")).splitlines()
        count = sum(int(float(line.split()[1])) for line in lines if line.startswith("gateway_refreshes_total{"))
    return count


async def test_fifty_rotations_in_a_row_under_twenty_callers_lose_none(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider:
        put_policy(tmp_path, provider)
        async with server(tmp_path) as gateway:
            token = await connected(tmp_path, gateway)
            statuses = await rotate(provider, [gateway.proxy], token, 50)
    nothing_was_lost(provider, 50)
    assert set(statuses) == {200}
    assert len(statuses) >= 50 * CALLERS


async def test_four_workers_refresh_once_between_them_and_metrics_count_them_all(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider:
        put_policy(tmp_path, provider)
        async with server(tmp_path, GATEWAY_WORKERS="4") as gateway:
            token = await connected(tmp_path, gateway)
            statuses = await rotate(provider, [gateway.proxy], token, 10)
            assert await counted(tmp_path, gateway, until=10) == 10
            await asyncio.to_thread(gateway.stop)
    nothing_was_lost(provider, 10)
    assert set(statuses) == {200}
    asked = "SELECT dimension, span, sum(requests - refused), sum(renewed) FROM tallies GROUP BY dimension, span"
    with closing(sqlite3.connect(tmp_path / "data" / "gateway.db")) as database:
        tallied = {(dimension, span): counts for dimension, span, *counts in database.execute(asked)}
    (answered, renewed), others = tallied.pop(("all", 300)), list(tallied.values())
    first = len(statuses) + CALLERS  # each caller's first answer isn't among the statuses
    assert first <= answered <= first + CALLERS, "and each was asking when it was ended"
    others.remove([answered, renewed])  # all by the hour
    known = max(requests for requests, count in others if count)  # who was ended while it waited has no app yet
    assert answered - CALLERS <= known <= answered
    assert others.count([known, renewed]) == 3, "the app by both, the connection"
    assert renewed == 10


async def test_two_servers_on_one_store_refresh_once_between_them_and_sweep_what_nobody_uses(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider, StrictProvider(expires_in=2).serving() as idle:
        put_policy(tmp_path, provider)
        put_policy(tmp_path, idle, "idle")
        for place in ("one", "two"):
            (tmp_path / place).mkdir()
        async with server(tmp_path / "one", tmp_path) as one, server(tmp_path / "two", tmp_path) as two:
            token = await connected(tmp_path, one)
            await connected(tmp_path, two, "idle", "unused")
            statuses = await rotate(provider, [one.proxy, two.proxy], token, 10)
            await idle.until(lambda: idle.number >= 3)
    nothing_was_lost(provider, 10)
    assert set(statuses) == {200}
    assert idle.reused == 0
    assert len(idle.spent) == len(set(idle.spent))


async def test_a_refresh_whose_caller_goes_away_lands(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider:
        put_policy(tmp_path, provider)
        async with server(tmp_path) as gateway:
            token = await connected(tmp_path, gateway)
            provider.expire()
            provider.gate = asyncio.Event()
            async with Caller(gateway.proxy, provider, token) as caller:
                await caller.send()
                await provider.until(lambda: provider.number == 2)
            provider.gate.set()
            async with Caller(gateway.proxy, provider, token) as caller:
                assert await caller.ask() == (200, 2)
            shown = await api(tmp_path, gateway, "GET", "/connections/c")
            assert (shown["status"], shown["token_version"]) == ("active", 2)
    assert provider.spent == ["rt-1-secret"]


async def test_reconnecting_keeps_the_id_the_history_and_the_clients_rights(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider:
        put_policy(tmp_path, provider)
        async with server(tmp_path) as gateway:
            token = await connected(tmp_path, gateway)
            before = await api(tmp_path, gateway, "GET", "/connections/c")
            provider.expire()
            provider.reused = 1  # somebody else used the refresh token: the provider has ended everything
            async with Caller(gateway.proxy, provider, token) as caller:
                status, problem = await caller.answer()
                assert (status, problem["code"]) == (502, "reauthorization_required")
                assert f"http://127.0.0.1:{gateway.web}" in problem["hint"]
                provider.reused = 0
                account = {"fields": {"username": "ann"}, "secrets": {"password": "ann-passw0rd"}}
                after = await api(tmp_path, gateway, "POST", "/connections", {"app": "legacy", "id": "c", **account})
                assert await caller.ask() == (200, 2), "the same client, on the same connection"
            trail = await api(tmp_path, gateway, "GET", "/events?connection=c")
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert [event["kind"] for event in reversed(trail["items"])] == [
        "connection.created",
        "connection.needs_reauthorization",
        "connection.updated",
    ]


async def test_disconnecting_outlives_a_restart_and_the_webhook_hears_of_everything(tmp_path: Path) -> None:
    async with StrictProvider().serving() as provider, AsyncExitStack() as stack:
        put_policy(tmp_path, provider)
        hook = {"GATEWAY_WEBHOOK__URL": f"{provider.url}/hook", "GATEWAY_WEBHOOK__SECRET": "hush-hush"}
        gateway = await stack.enter_async_context(server(tmp_path, **hook))
        await connected(tmp_path, gateway)
        provider.revocation_status = 503
        await api(tmp_path, gateway, "DELETE", "/connections/c")
        await provider.until(lambda: bool(provider.revoked) and len(provider.hooked) == 2)
        while not (left := (await api(tmp_path, gateway, "GET", "/connections/c"))["revocation"])["attempts"]:
            pass  # the answer is on its way to the store
        assert left["state"] == "pending"
        assert "503" in left["last_error"]
        assert gateway.stop() == 0
        tried, provider.revocation_status = len(provider.revoked), 200
        gateway = await stack.enter_async_context(server(tmp_path, **hook))
        await provider.until(lambda: len(provider.revoked) > tried)
        while (await api(tmp_path, gateway, "GET", "/connections/c"))["revocation"] is not None:
            pass  # as above
        trail = await api(tmp_path, gateway, "GET", "/events?connection=c")
        assert [event["kind"] for event in reversed(trail["items"])] == [
            "connection.created",
            "connection.disconnected",
            "connection.revocation_failed",
            "connection.revoked",
        ]
        assert [json.loads(body)["type"] for _, body in provider.hooked] == [
            "connection.connected",
            "connection.disconnected",
        ]
    for headers, body in provider.hooked:
        expected = signature(
            Secret("hush-hush"),
            message_id=headers["webhook-id"],
            timestamp=int(headers["webhook-timestamp"]),
            body=body.decode(),
        )
        assert headers["webhook-signature"] == expected
        assert not any(secret in body for secret in (b"secret", b"passw0rd", b"hush"))
    said = (tmp_path / "err.txt").read_text() + (tmp_path / "out.txt").read_text()
    assert not any(secret in said for secret in ("hush-hush", "at-1-secret", "rt-1-secret", "passw0rd"))
