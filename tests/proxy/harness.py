"""A data plane on real sockets, with a vault and clients of the test's own, and a service that records bytes."""

import asyncio
import base64
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace as dataclass_replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.access import Client
from gateway.app.sockets import bound
from gateway.egress import Egress
from gateway.errors import GatewayError
from gateway.http.scrub import Scrubber
from gateway.metrics import Metrics
from gateway.policy.context import Context
from gateway.policy.inject import render
from gateway.policy.load import load
from gateway.policy.match import Matcher
from gateway.policy.model import Policy
from gateway.proxy.access_log import AccessLog
from gateway.proxy.certs import Authority, _create, _moment
from gateway.proxy.limiter import Limiter
from gateway.proxy.server import ProxyServer
from gateway.proxy.tally import Tally
from gateway.proxy.tracing import Tracer
from gateway.secret import Secret
from gateway.settings import Settings
from gateway.store.rows import ClientRow, Status
from gateway.vault.live import Live

TOKEN = "gwc_right"
GATEWAY_ID = "test"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Service:
    """A raw HTTP server. Each request's bytes are recorded; answers come from a script, the last one for good."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.script: list[Answer] = [OK]
        self.raw: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
        self.arrived = asyncio.Event()
        self.closed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, **tls: Any) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, **tls)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.raw is not None:
                await self.raw(reader, writer)
                return
            while request := await read_message(reader):
                self.requests.append(request)
                self.arrived.set()
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if callable(answer):
                    await answer(reader, writer)
                else:
                    writer.write(answer)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # by `stop`: the streams of Python 3.11 would log each with its traceback
        finally:
            self.closed.set()
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """One message as it came: head, and content by its framing."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    return head + await read_content(reader, head)


async def read_content(reader: asyncio.StreamReader, head: bytes) -> bytes:
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        content = b""
        while not content.endswith(b"0\r\n\r\n"):
            content += await reader.readuntil(b"\r\n")
        return content
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


class Caller:
    """One connection of a caller's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> bytes:
        """The next answer, whole, by its framing."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status < 200 or status in {204, 304} or (b"200 Connection" in head):
            return head
        return head + await read_content(self.reader, head)

    async def ask(self, request: bytes) -> bytes:
        await self.send(request)
        return await self.receive()

    async def rest(self) -> bytes:
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class FakeVault:
    """Lives by id, and a script for what happens at a refresh."""

    def __init__(self) -> None:
        self.lives: dict[str, Live] = {}
        self.unloaded: set[str] = set()
        self.refreshes = 0
        self.refreshed: Callable[[Live], Live | None] = lambda _live: None
        self.error: GatewayError | None = None
        self.renewals: list[str] = []
        self.hold: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.refused: list[str] = []

    def peek(self, connection_id: str) -> Live | None:
        return None if connection_id in self.unloaded else self.lives.get(connection_id)

    async def live(self, connection_id: str) -> Live | None:
        await asyncio.sleep(0)
        self.unloaded.discard(connection_id)
        return self.lives.get(connection_id)

    async def fresh(self, live: Live) -> Live:
        renewed = await self.after_401(live)
        assert renewed is not None
        return renewed

    def refused_again(self, live: Live) -> None:
        self.refused.append(live.connection_id)

    def renew_soon(self, live: Live) -> None:
        self.renewals.append(live.connection_id)

    async def after_401(self, live: Live) -> Live | None:
        self.refreshes += 1
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        renewed = self.refreshed(live)
        if renewed is not None:
            self.lives[live.connection_id] = renewed
        return renewed


class FakeAccess:
    def __init__(self) -> None:
        self.generation = 0
        self.clients = {
            TOKEN: Client.of(ClientRow(name="runner", token_hash=b"", patterns=("crm-*",), created_at=0.0)),
        }

    def client_for(self, token: str) -> Client | None:
        return self.clients.get(token)

    def revoke(self) -> None:
        """Revoke every client, as a change that was heard of."""
        self.clients.clear()
        self.generation += 1


@cache
def policy_of(text: str) -> Policy:
    """The policy that this text is, read once: a thousand tests have the same few."""
    loaded = load(text, app="crm", file="crm.toml")
    assert loaded.policy is not None, loaded.findings
    return loaded.policy


def make_live(
    policy_text: str, *, secret: str = "tok_abcdefgh", connection_id: str = "crm-ann", **changes: Any
) -> Live:
    policy = policy_of(policy_text)
    context = Context(fields={"api_key": Secret(secret)}, token={"access_token": secret}, connection_id=connection_id)
    injection = render(policy, context)
    live = Live(
        connection_id=connection_id,
        app="crm",
        status=Status.ACTIVE,
        reason=None,
        token_version=1,
        policy=policy,
        matcher=Matcher.compile(policy.allow, {}),
        injection=injection,
        scrubber=Scrubber(injection.secrets),
        base_url=policy.base_url,
        cookies=policy.allow.cookies,
        scrub_body=policy.allow.scrub_body,
        expires_at=None,
        renew_at=None,
        retry_at=None,
        refreshable=False,
        refusal=None,
        limits=policy.limits,
        retry=policy.retry,
    )
    return dataclass_replace(live, **changes)


class Gateway:
    """The data plane under test."""

    def __init__(
        self, server: ProxyServer, vault: FakeVault, access: FakeAccess, service: Service, log: AccessLog
    ) -> None:
        self.server, self.vault, self.access, self.service, self.log = server, vault, access, service, log

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    @property
    def metrics(self) -> Metrics:
        return self.server._listener.services.metrics

    @property
    def limiter(self) -> Limiter:
        return self.server._listener.services.limiter

    def policy(
        self,
        *,
        allow: str = "",
        inject: str = '[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\n',
        urls: str | None = None,
    ) -> str:
        urls = urls or f'["{self.origin}"]'
        return (
            f'name = "CRM"\nbase_url = "{self.origin}/v1"\n[allow]\nurls = {urls}\n{allow}\n'
            f'[[fields]]\nname = "api_key"\nsecret = true\n[auth]\ngrant = "api_key"\n{inject}\n'
        )

    def connect(self, policy: str | None = None, **changes: Any) -> Live:
        live = make_live(policy or self.policy(), **changes)
        self.vault.lives[live.connection_id] = live
        return live

    async def open(self) -> Caller:
        return Caller(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20))

    def request(
        self,
        method: str = "GET",
        path: str = "/v1/users",
        *,
        headers: bytes = b"",
        content: bytes = b"",
        connection: str = "crm-ann",
        token: str = TOKEN,
    ) -> bytes:
        tag = base64.b64encode(f"{connection}:{token}".encode()).decode()
        return (
            (
                f"{method} {self.origin}{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.service.port}\r\n"
                f"Proxy-Authorization: Basic {tag}\r\n"
            ).encode()
            + headers
            + b"\r\n"
            + content
        )


def settings(tmp_path: Path, **sections: Any) -> Settings:
    values: dict[str, Any] = {"proxy": {"listen": "127.0.0.1:0"}, "egress": {"allow_networks": ["127.0.0.0/8"]}}
    given = orjson.dumps(values | sections, option=orjson.OPT_SORT_KEYS)
    return _settings(given).model_copy(update={"data_dir": tmp_path})


@cache
def _settings(sections: bytes) -> Settings:
    """The settings of these sections, read once: they are looked for in the environment, too."""
    return Settings(**orjson.loads(sections))


@cache
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The certificate and the key that every gateway here intercepts TLS by."""
    return _create(_moment(time.time()))


@contextlib.asynccontextmanager
async def running(
    configured: Settings,
    service: Service,
    *,
    egress: Egress | None = None,
    limiter: Limiter | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[Gateway]:
    vault, access, metrics = FakeVault(), FakeAccess(), Metrics()
    way_out = egress or Egress(allow_networks=["127.0.0.0/8"])
    log = AccessLog(json=True, tally=Tally(), stream=io.StringIO())
    server = ProxyServer(
        vault=vault,  # type: ignore[arg-type]
        access=access,  # type: ignore[arg-type]
        egress=way_out,
        settings=configured,
        metrics=metrics,
        certs=Authority(*authority(), time.time),
        gateway_id=GATEWAY_ID,
        log=log,
        clock=time.time,
        tracer=tracer,
        limiter=limiter or Limiter(None, asyncio.get_running_loop(), metrics),
        chance=lambda: 0.0,
    )
    await server.start(bound(configured.proxy.listen))
    gateway = Gateway(server, vault, access, service, log)
    try:
        yield gateway
    finally:
        await server.stop(0)
        await way_out.close()
