"""A gateway whose sockets all lead to one recorder, whatever they were for; which host and port, is written down."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.egress import Egress
from gateway.errors import Refusal, UpstreamError
from gateway.policy.match import Matcher
from tests.proxy.harness import Gateway
from tests.vectors.recorder import Recorder, echo
from tests.vectors.speaking import BASIC, all_of, recorded
from tests.vectors.strict import Message, read_answer

_PATIENCE = 5.0  # seconds; only a fault waits that long


class Everywhere(Egress):
    """A way out that resolves and checks as ever, writes down where to, and then dials the recorder."""

    def __init__(self) -> None:
        super().__init__(allow_networks=["0.0.0.0/0", "::/0"], resolver=_resolved)
        self.service: Recorder | None = None
        self.secure = False  # TLS is to come, which the recorder doesn't speak: it is enough to know where to
        self.dialled: list[str] = []

    async def dial(self, host: str, port: int) -> socket.socket:
        await self.resolve(host, port)
        self.dialled.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if self.secure:
            raise UpstreamError(Refusal(code="upstream_connect", detail="It stops here."))
        assert self.service is not None
        dialled = socket.create_connection(("127.0.0.1", self.service.port))
        dialled.setblocking(False)
        return dialled


async def _resolved(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


class Asked(NamedTuple):
    """What came of a request: the code of a refusal or "", and which hosts, `Host` fields and targets it led to."""

    code: str
    dialled: list[str]
    hosts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()


class World:
    """A gateway that thinks it can go everywhere, with one request on a connection: each has to say where it goes."""

    def __init__(self, gateway: Gateway, service: Recorder, egress: Everywhere) -> None:
        self._gateway, self._service, self._egress = gateway, service, egress
        self.says(None)

    def says(self, answer: bytes | None) -> None:
        """Let the recorder answer with this; None: with the target it was asked for."""
        plain = lambda request, _on: echo(request).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)  # noqa: E731
        self._service.answer = plain if answer is None else lambda _request, _on: answer

    async def ask(self, request: bytes, *, secure: bool = False, connect: str = "") -> Asked:
        """Send one request, in a tunnel to `connect` if that is given."""
        self._egress.secure = secure
        self._egress.dialled.clear()
        self._service.requests.clear()
        caller = await self._gateway.open()
        if connect:
            await caller.send(f"CONNECT {connect} HTTP/1.1\r\nHost: {connect}\r\n".encode() + BASIC + b"\r\n")
            opened = await caller.receive()
            if not opened.startswith(b"HTTP/1.1 200 "):
                await caller.close()
                refused = read_answer(opened)
                assert refused is not None, opened
                return Asked(_code(refused), [])
        await caller.send(request)
        try:
            received = await asyncio.wait_for(all_of(caller), _PATIENCE)
        except TimeoutError:
            return Asked("no answer", list(self._egress.dialled))
        finally:
            await caller.close()
        assert not self._service.unclear
        answer, requests = read_answer(received), self._service.requests
        assert answer is not None, received
        return Asked(
            _code(answer),
            list(self._egress.dialled),
            tuple(host for request in requests for host in request.all("host")),
            tuple(request.start[1] for request in requests),
            tuple(answer.all("location")),
        )


def _code(answer: Message) -> str:
    said = "".join(answer.all("proxy-status"))
    return said.partition('details="')[2].rstrip('"')


@contextlib.asynccontextmanager
async def everywhere(tmp_path: Path, matcher: Matcher, **changes: Any) -> AsyncIterator[World]:
    """Such a gateway, with what its one connection allows."""
    egress = Everywhere()
    async with recorded(tmp_path, egress) as (gateway, service):
        egress.service = service
        gateway.connect(matcher=matcher, **changes)
        yield World(gateway, service, egress)


def head(target: str, host: str = "elsewhere.test", tag: bytes = BASIC) -> bytes:
    """A request that is its caller's last."""
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode() + tag + b"\r\n"
