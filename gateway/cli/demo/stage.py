"""Where the demo plays: a temporary place, the sandbox service, and a gateway beside it as a process of its own.

The commands are run as a person would type them, so that what is shown is what there is.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.demo.sandbox import CLIENT_ID, Sandbox, sandbox

CONNECTION, CLIENT = "demo", "demo-runner"
PATIENCE = 10.0
"""Seconds for anything here: the whole demo takes less."""

POLICY = """\
name = "Sandbox"
base_url = "{https}/v1"

[allow]
urls = ["{http}/v1", "{https}/v1"]

[[fields]]
name = "client_secret"
label = "Client secret"
secret = true

[auth]
grant = "client_credentials"
client_id = "{client_id}"
client_secret = {{ field = "client_secret" }}

[auth.token]
url = "{https}/oauth/token"

[test]
url = "/me"

[connection]
label = "{{{{ test.name }}}}"
unique_id = "{{{{ test.id }}}}"

[inject.headers]
Authorization = "Bearer {{{{ access_token }}}}"

[[examples]]
url = "{http}/v1/users/42"
allowed = true

[[examples]]
url = "{http}/admin"
allowed = false
"""

PROGRAM = """\
import json, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "type": answer.headers["Content-Type"], "body": answer.read().decode()}))
"""
"""A program that knows nothing of gateways: all it has is what urllib does with HTTP_PROXY and SSL_CERT_FILE."""


class Unmet(Exception):
    """A step didn't do what it says."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has run to its end."""

    status: int
    out: str
    err: str


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything that the steps act on."""

    place: Path
    service: Sandbox
    proxy: str
    web: str
    environment: Mapping[str, str]
    token: str = ""
    server: asyncio.subprocess.Process | None = None

    async def gateway(self, *arguments: str, stdin: str = "", trusts_service: bool = True) -> Ended:
        """Run a gateway command. `trusts_service`: with the service's CA, which a real one wouldn't need."""
        environment = dict(self.environment)
        if not trusts_service:
            del environment["SSL_CERT_FILE"]
        return await _run([sys.executable, "-m", "gateway", *arguments], environment, self.place, stdin)

    async def call(self, url: str) -> tuple[int, Any]:
        """Call a URL from a program that only has HTTP_PROXY; return the status and the JSON."""
        plain = {name: value for name, value in self.environment.items() if not name.startswith("GATEWAY_")}
        proxy = f"http://{CONNECTION}:{self.token}@{self.proxy}"
        done = await _run(program(url), plain | {"HTTP_PROXY": proxy, "http_proxy": proxy}, self.place)
        return answer_of(done)

    async def start(self) -> float:
        """Start the gateway; return the seconds until both of its ports answered."""
        began = time.perf_counter()
        with (self.place / "gateway.log").open("wb") as log:
            self.server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve"),
                cwd=self.place,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        for address in (self.proxy, self.web):
            await self._answers(address)
        return time.perf_counter() - began

    async def stop(self) -> int | None:
        """End the gateway as a service manager does; return its status."""
        if self.server is None:
            return None
        if self.server.returncode is None:
            self.server.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.server.wait(), PATIENCE)
        except TimeoutError:
            self.server.kill()
            return await self.server.wait()

    def log(self) -> str:
        """Return the end of what the gateway said."""
        return (self.place / "gateway.log").read_text(errors="replace")[-2000:]

    async def _answers(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        end = time.perf_counter() + PATIENCE
        while time.perf_counter() < end and self.server is not None and self.server.returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise Unmet("the gateway did not start")


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Build it up; take everything away at the end."""
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as name:
        place = Path(name)
        async with sandbox(place) as service:
            (place / "policies").mkdir()
            policy = POLICY.format(http=service.http, https=service.https, client_id=CLIENT_ID)
            (place / "policies" / "sandbox.toml").write_text(policy)
            proxy, web = free_addresses(2)
            built = Stage(
                place=place, service=service, proxy=proxy, web=web, environment=_environment(place, proxy, web)
            )
            try:
                yield built
            finally:
                await built.stop()


def program(url: str) -> list[str]:
    """Return the command line of the program."""
    return [sys.executable, "-c", PROGRAM, url]


def answer_of(done: Ended) -> tuple[int, Any]:
    """Return the status and the JSON that the program printed."""
    if done.status:
        raise Unmet(f"the program failed: {done.err.strip().splitlines()[-1:] or done.status}")
    said = json.loads(done.out)
    return said["status"], json.loads(said["body"])


def free_addresses(count: int) -> list[str]:
    """Return addresses on loopback that nobody listens on."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{holder.getsockname()[1]}" for holder in holders]
    for holder in holders:
        holder.close()
    return addresses


def _environment(place: Path, proxy: str, web: str) -> dict[str, str]:
    """Return the surroundings without proxies and gateway settings of the person's own, and with the demo's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GATEWAY_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        "GATEWAY_DATA_DIR": str(place / "data"),
        "GATEWAY_POLICIES_DIR": str(place / "policies"),
        "GATEWAY_PROXY__LISTEN": proxy,
        "GATEWAY_WEB__LISTEN": web,
        "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1/32",
        "GATEWAY_TIMEOUTS__SHUTDOWN": "2s",
        "SSL_CERT_FILE": str(place / "sandbox-ca.pem"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


async def _run(command: list[str], environment: Mapping[str, str], place: Path, stdin: str = "") -> Ended:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        cwd=place,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unmet(f"{' '.join(command[2:4])} took longer than {PATIENCE:g} s") from None
    return Ended(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
