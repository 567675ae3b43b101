"""A gateway in this process with one account connected, and a call through it."""

import asyncio
import base64
from pathlib import Path

from gateway.app.serving import Running
from gateway.settings import Egress, Listen, Proxy, Settings, Store, Web
from tests.deploy.conftest import Service

ANY = Listen("127.0.0.1", 0)
OPENED = (b"HTTP/1.1 200 OK", "Bearer hush")
"""What `call` returns where the credential was opened and sent."""


def settings_in(place: Path, service: Service, store: str = "sqlite:///{data_dir}/gateway.db") -> Settings:
    (place / "policies").mkdir(parents=True, exist_ok=True)
    (place / "policies" / "keyed.toml").write_text(service.policy)
    return Settings(
        data_dir=place / "data",
        policies_dir=place / "policies",
        proxy=Proxy(listen=ANY),
        web=Web(listen=ANY),
        store=Store(url=store),
        egress=Egress(allow_networks="127.0.0.1"),
    )


async def connected(now: Running) -> str:
    """Connect an account; return the token of a client that may use it."""
    await now.gateway.vault.connect("keyed", connection_id="keyed-1", secrets={"api_key": "hush"}, actor="test")
    return (await now.gateway.access.create("client", ("keyed-*",), None)).reveal()


async def call(now: Running, token: str, service: Service, port: int | None = None) -> tuple[bytes, str | None]:
    """Call the service through the gateway, or through what listens on `port` in front of it.

    Returns the status line, and the credential that arrived.
    """
    tag = base64.b64encode(f"keyed-1:{token}".encode()).decode()
    request = (
        f"GET http://127.0.0.1:{service.port}/v1 HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Proxy-Authorization: Basic {tag}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port or now.proxy.port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n")[0], service.seen[-1] if service.seen else None
