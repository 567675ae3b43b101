"""Four ways of speaking to the gateway about one service, `ok.test`, each as the bytes that a caller sends.

The service's name has a public address, and the egress guard has its defaults: nothing is allowed that a new gateway
wouldn't allow. Only the last step, the dialling of an address that was checked, ends at a service of the test's own.
"""

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.egress import Egress
from gateway.vault.live import Live
from tests.proxy.harness import TOKEN, Caller, Gateway, Service, running, settings

ABSOLUTE, PATH, TUNNEL, TLS_TUNNEL = "absolute", "path", "tunnel", "tls-tunnel"
ENTRANCES = (ABSOLUTE, PATH, TUNNEL, TLS_TUNNEL)
TUNNELS = (TUNNEL, TLS_TUNNEL)

PUBLIC = "100.63.255.254"  # just below 100.64/10: must pass (http-rules.md, "Vectors to start from")
BEARER = '[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\n'
URLS = ("http://ok.test", "https://ok.test")
CREDENTIAL = b"Authorization: Bearer tok_abcdefgh\r\n"
VIA = b"Via: 1.1 gateway-test\r\n"


class Detour(Egress):
    """The way out. Names and addresses are resolved and checked as ever; what is dialled then is the test's service."""

    def __init__(self, service: Service, tls: ssl.SSLContext, **options: Any) -> None:
        self.names: dict[str, list[list[str]]] = {"ok.test": [[PUBLIC]]}
        self.dialled: list[str] = []
        super().__init__(resolver=self._look_up, **options)
        self._service = service
        self.tls_context = tls

    async def _look_up(self, host: str, _port: int) -> list[str]:
        """The answers to a name, one after the other; the last one stays."""
        answers = self.names.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def dial(self, host: str, port: int) -> socket.socket:
        infos = await self.resolve(host, port)
        self.dialled.append(f"{infos[0][4][0]} {port}")
        connected = socket.socket()
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", self._service.port))
        return connected


class Entrance:
    """One entrance of a running gateway, with `ok.test` behind it."""

    def __init__(self, name: str, gateway: Gateway, egress: Detour) -> None:
        self.name, self.gateway, self.egress = name, gateway, egress
        self.service = gateway.service
        self.in_tunnel = name in TUNNELS
        self.scheme = "https" if name == TLS_TUNNEL else "http"
        self._callers: list[Caller] = []

    @property
    def requests(self) -> list[bytes]:
        """What reached the service."""
        return self.service.requests

    def connect(self, *, allow: str = "", inject: str = BEARER, urls: tuple[str, ...] = URLS, **changes: Any) -> Live:
        """Make a connection whose policy says this."""
        policy = (
            f'name = "CRM"\nbase_url = "{urls[0].rstrip("/")}/v1"\n[allow]\nurls = {json.dumps(urls)}\n{allow}\n'
            f'[[fields]]\nname = "api_key"\nsecret = true\n[auth]\ngrant = "api_key"\n{inject}\n'
        )
        return self.gateway.connect(policy, **changes)

    async def open(self, *, connection: str = "crm-ann") -> Caller:
        """A caller's connection, with its tunnel up where this entrance has one."""
        caller = await self.outside()
        if self.in_tunnel:
            port = 443 if self.scheme == "https" else 80
            answer = await caller.ask(connect(f"ok.test:{port}", connection=connection))
            assert answer == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        if self.name == TLS_TUNNEL:
            await caller.writer.start_tls(self.trust(), server_hostname="ok.test")
        return caller

    async def outside(self) -> Caller:
        """A caller's connection of which nothing was asked yet."""
        caller = await self.gateway.open()
        self._callers.append(caller)
        return caller

    async def fetch(self, host: str, *, port: str | None = None, path: str = "/v1") -> bytes:
        """Ask for a URL on any host, as it is written; the answer is the CONNECT's where that is refused."""
        authority = host if port is None else f"{host}:{port}"
        origin = f"{self.scheme}://{authority}"
        caller = await self.outside()
        match self.name:
            case "absolute":
                request = self.raw(f"GET {origin}{path} HTTP/1.1".encode())
            case "path":
                request = self.raw(f"GET /c/crm-ann/{origin}{path} HTTP/1.1".encode())
            case _:
                default = "443" if self.scheme == "https" else "80"
                opened = await caller.ask(connect(f"{host}:{default if port is None else port}"))
                if not opened.startswith(b"HTTP/1.1 200 "):
                    return opened
                request = self.raw(f"GET {path} HTTP/1.1".encode(), host=authority.encode())
        if self.name == TLS_TUNNEL:
            trust = self.trust()
            trust.check_hostname = False  # whose name is written in odd ways here
            await caller.writer.start_tls(trust, server_hostname=host.strip("[]"))
        return await caller.ask(request)

    def trust(self) -> ssl.SSLContext:
        """What a caller needs that trusts this gateway."""
        return ssl.create_default_context(cadata=self.gateway.server.certificate_pem.decode())

    def request(
        self,
        method: str = "GET",
        path: str = "/v1/users",
        *,
        fields: bytes = b"",
        content: bytes = b"",
        host: bytes | None = b"ok.test",
        version: bytes = b"HTTP/1.1",
        connection: str = "crm-ann",
    ) -> bytes:
        """A request for a path of the service's."""
        return self.raw(
            b"%b %b %b" % (method.encode(), self.target(path), version),
            fields=fields,
            content=content,
            host=host,
            connection=connection,
        )

    def target(self, path: str) -> bytes:
        """A path of the service's, as this entrance has it in the request line."""
        match self.name:
            case "absolute":
                return f"http://ok.test{path}".encode()
            case "path":
                return f"/c/crm-ann/http://ok.test{path}".encode()
        return path.encode()

    def raw(
        self,
        line: bytes,
        *,
        fields: bytes = b"",
        content: bytes = b"",
        host: bytes | None = b"ok.test",
        connection: str = "crm-ann",
    ) -> bytes:
        """A request with this request line, tagged as this entrance has it."""
        named = b"" if host is None else b"Host: %b\r\n" % host
        if self.name == PATH:
            line = line.replace(b"/c/crm-ann", f"/c/{connection}".encode(), 1)
        return b"%b\r\n%b%b%b\r\n%b" % (line, named, self.tag(connection), fields, content)

    def tag(self, connection: str = "crm-ann") -> bytes:
        """The field that shows who calls; in a tunnel the CONNECT has shown it."""
        match self.name:
            case "absolute":
                return tagged(connection)
            case "path":
                return f"X-Api-Key: {TOKEN}\r\n".encode()
        return b""

    async def close(self) -> None:
        """Close every connection that was opened."""
        for caller in self._callers:
            caller.writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await caller.writer.wait_closed()


def tagged(connection: str = "crm-ann", token: str = TOKEN) -> bytes:
    """Proxy-Authorization, as a client has it that was given a proxy with a user and a password."""
    return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(f"{connection}:{token}".encode())


def connect(authority: str, *, connection: str = "crm-ann", fields: bytes = b"") -> bytes:
    """A CONNECT."""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + tagged(connection) + fields + b"\r\n"


def problem(answer: bytes) -> tuple[int, str]:
    """The status and the code of an answer of the gateway's own."""
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"\r\nProxy-Status: connection-gateway; error=" in head
    return int(head[9:12]), str(json.loads(content)["code"])


REJECTED = (400, "request_rejected")
INVALID = (400, "target_invalid")
NOT_ALLOWED = (403, "target_not_allowed")


async def assert_ends(caller: Caller) -> None:
    """The gateway has closed the connection, cleanly, and said nothing more."""
    async with asyncio.timeout(5):
        assert await caller.rest() == b""


@contextlib.asynccontextmanager
async def entering(
    name: str, tmp_path: Path, server: ssl.SSLContext, client: ssl.SSLContext, **sections: Any
) -> AsyncIterator[Entrance]:
    """A running gateway and one of its entrances. `server` and `client` are the TLS of the service's side."""
    service = Service()
    await service.start(**({"ssl": server} if name == TLS_TUNNEL else {}))
    own: set[tuple[str, int]] = set()
    egress = Detour(service, client, own_listeners=lambda: own)
    async with running(settings(tmp_path, egress={}, **sections), service, egress=egress) as gateway:
        own.update(gateway.server.addresses)
        entrance = Entrance(name, gateway, egress)
        entrance.connect()
        yield entrance
        await entrance.close()
    await service.stop()
