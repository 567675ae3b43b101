"""Callers of the three entrances: each says the same request in its own way, and keeps every byte that comes back."""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.egress import Egress
from tests.proxy.harness import TOKEN, Caller, Gateway, running, settings
from tests.vectors.recorder import Recorder

SECRET = "tok_abcdefgh"
BASIC = b"Proxy-Authorization: Basic " + base64.b64encode(f"crm-ann:{TOKEN}".encode()) + b"\r\n"


class Speaker:
    """One entrance to a gateway that has the recorder behind it."""

    def __init__(self, gateway: Gateway, entrance: str) -> None:
        self._gateway, self._entrance = gateway, entrance
        self.authority = f"127.0.0.1:{gateway.service.port}"
        self.tag = {"absolute": BASIC, "tunnel": b"", "path": f"X-Api-Key: {TOKEN}\r\n".encode()}[entrance]
        self.host = "gateway" if entrance == "path" else self.authority

    def target(self, path: str) -> str:
        """The request target that means this path of the service."""
        match self._entrance:
            case "absolute":
                return f"http://{self.authority}{path}"
            case "tunnel":
                return path
            case _:
                return f"/c/crm-ann/http://{self.authority}{path}"

    def words(self, path: str) -> dict[str, str]:
        """What the tables' placeholders are here."""
        return {
            "target": self.target(path),
            "path": path,
            "authority": self.authority,
            "host": self.host,
            "tag": self.tag.decode(),
        }

    def request(self, path: str, method: str = "GET", fields: bytes = b"") -> bytes:
        """One plain request."""
        start = f"{method} {self.target(path)} HTTP/1.1\r\nHost: {self.host}\r\n".encode()
        return start + self.tag + fields + b"\r\n"

    async def open(self) -> Caller:
        """A new connection, through a new tunnel where that is the entrance."""
        caller = await self._gateway.open()
        if self._entrance == "tunnel":
            await caller.send(
                f"CONNECT {self.authority} HTTP/1.1\r\nHost: {self.authority}\r\n".encode() + BASIC + b"\r\n"
            )
            assert (await caller.receive()).startswith(b"HTTP/1.1 200 ")
        return caller


async def all_of(caller: Caller) -> bytes:
    """All that comes until the gateway closes; what came before a reset counts."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := await caller.reader.read(1 << 16):
            data += piece
    return data


@contextlib.asynccontextmanager
async def recorded(tmp_path: Path, egress: Egress | None = None) -> AsyncIterator[tuple[Gateway, Recorder]]:
    """A gateway, and a recorder behind it. At the end every connection between them is closed."""
    service = Recorder()
    await service.start()
    try:
        async with running(settings(tmp_path), service, egress=egress) as gateway:  # type: ignore[arg-type]
            gateway.connect()
            yield gateway, service
    finally:
        await service.stop()
