"""The gateways as processes and the database they share: started, killed, started again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.link import Ends, Link
from tests.chaos.provider import POLICY
from tests.chaos.replica import write_clock
from tests.postgres import Postgres, postgres

ROOT = Path(__file__).parents[2]
MASTER = "00" * 31 + "07"
ADMIN = "gwa_chaos-admin-token-of-this-run-alone-000000000"
APP = "chaos"
START_SECONDS = 60.0


@dataclass(kw_only=True)
class Replica:
    """One gateway: its directory, its ports, its two lines, and the process where it runs."""

    number: int
    home: Path
    proxy: int
    web: int
    store: Link
    provider: Link
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.home / "log"

    @property
    def url(self) -> str:
        """The provider's origin as this replica reaches it."""
        return f"http://127.0.0.1:{self.provider.port}"

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def set_clock(self, ahead: float) -> None:
        """Set the clock of its machine."""
        write_clock(self.home / "clock", ahead)

    def start(self, pace: float) -> None:
        """Start it; it isn't ready yet."""
        kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("GATEWAY_")}
        given = {
            "PYTHONPATH": str(ROOT),
            "GATEWAY_DATA_DIR": str(self.home / "data"),
            "GATEWAY_POLICIES_DIR": str(self.home / "policies"),
            "GATEWAY_PROXY__LISTEN": f"127.0.0.1:{self.proxy}",
            "GATEWAY_WEB__LISTEN": f"127.0.0.1:{self.web}",
            "GATEWAY_STORE__URL": f"postgresql://postgres@127.0.0.1:{self.store.port}/postgres",
            "GATEWAY_KEYS__SOURCE": "env:CHAOS_KEY",
            "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.0/8",
            "GATEWAY_ADMIN_TOKEN": ADMIN,
            "GATEWAY_LOG__FORMAT": "json",
            "CHAOS_KEY": MASTER,
        }
        command = [sys.executable, "-m", "tests.chaos.replica", str(self.home / "clock"), str(pace), "serve"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=kept | given, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.starts += 1

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Fleet:
    """All of it, and a session to ask the admin API with."""

    def __init__(self, database: Postgres, replicas: list[Replica], pace: float) -> None:
        self.database = database
        self.replicas = replicas
        self.pace = pace
        self._session: aiohttp.ClientSession | None = None

    async def start(self, replica: Replica) -> None:
        """Start a replica, again and again where it can't, and wait until it is ready."""
        end = time.monotonic() + START_SECONDS
        while True:
            if not replica.is_up:
                replica.start(self.pace)
            if await self._is_ready(replica):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"replica {replica.number} doesn't start: {replica.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)  # another process: there is nothing to wait on

    async def api(self, replica: Replica, method: str, path: str, given: Any = None) -> Any:
        """Call the admin API; raise `RuntimeError` where it says no, `aiohttp.ClientError` where it isn't there."""
        url = f"http://127.0.0.1:{replica.web}/api/v1{path}"
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with self.session.request(method, url, json=given, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {text}")
            return await answer.json() if text else None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session; made where it is first used."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return self._session

    async def close(self) -> None:
        """End the replicas and everything between."""
        for replica in self.replicas:
            replica.kill()
            await replica.store.close()
            await replica.provider.close()
        if self._session is not None:
            await self._session.close()

    async def _is_ready(self, replica: Replica) -> bool:
        try:
            async with self.session.get(f"http://127.0.0.1:{replica.web}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


@asynccontextmanager
async def fleet(
    place: Path, ports: list[int], free_port: Callable[[], int], *, pace: float, margin: float
) -> AsyncIterator[Fleet]:
    """Make a database and as many replicas as the provider has ports; none runs yet."""
    server = postgres()
    database = await asyncio.to_thread(server.__enter__)
    try:
        replicas = []
        for number, port in enumerate(ports):
            store, provider = Link(partial(asyncio.open_unix_connection, database.socket)), Link(_dial(port))
            await store.open()
            await provider.open()
            home = place / f"replica-{number}"
            (home / "policies").mkdir(parents=True)
            (home / "data").mkdir()
            one = Replica(number=number, home=home, proxy=free_port(), web=free_port(), store=store, provider=provider)
            (home / "policies" / f"{APP}.toml").write_text(POLICY.format(url=one.url, margin=margin))
            replicas.append(one)
        made = Fleet(database, replicas, pace)
        try:
            yield made
        finally:
            await made.close()
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


def _dial(port: int) -> Callable[[], Any]:
    async def dial() -> Ends:
        return await asyncio.open_connection("127.0.0.1", port, family=socket.AF_INET)

    return dial
