"""Steady requests for every connection through each replica in turn; each answer's owner is compared."""

import asyncio
import base64
import json
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.fleet import Replica

OK = "ok"
WRONG = "the answer is another connection's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One request that wasn't answered as it should be. Times are monotonic seconds; `what` is a code or a status."""

    began: float
    ended: float
    replica: int
    connection: str
    what: str
    detail: str = ""


@dataclass(kw_only=True)
class Tally:
    """How many were answered in each second (whole, monotonic) by each replica, and what failed."""

    answered: Counter[tuple[int, int]] = field(default_factory=Counter)
    failed: Counter[tuple[int, int]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.answered.values()) + len(self.failures)


class Caller:
    """Asks through the replicas. `patience`: seconds until a request counts as failed."""

    def __init__(self, replicas: list[Replica], token: str, *, patience: float) -> None:
        self._replicas = replicas
        self._token = token
        self._patience = patience
        self._idle: dict[int, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {
            replica.number: [] for replica in replicas
        }
        self.tally = Tally()

    async def ask(self, connection: str, replica: Replica) -> str:
        """Ask once, and count it; return what came of it."""
        began = time.monotonic()
        what, detail = await self._answer(connection, replica)
        ended = time.monotonic()
        place = (int(ended), replica.number)
        if what == OK:
            self.tally.answered[place] += 1
            self.tally.seconds.append(ended - began)
        else:
            self.tally.failed[place] += 1
            failure = Failure(
                began=began, ended=ended, replica=replica.number, connection=connection, what=what, detail=detail
            )
            self.tally.failures.append(failure)
        return what

    async def steadily(self, connections: list[str], rate: float, stop: asyncio.Event) -> None:
        """Ask so many times a second, whatever becomes of it, until told to stop; then wait for what is under way."""
        under_way: set[asyncio.Task[str]] = set()
        number, begin = 0, time.monotonic()
        while not stop.is_set():
            connection = connections[number % len(connections)]
            replica = self._replicas[(number + number // len(connections)) % len(self._replicas)]
            task = asyncio.create_task(self.ask(connection, replica))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
            await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        await asyncio.gather(*under_way)

    def close(self) -> None:
        """Close every connection."""
        for idle in self._idle.values():
            for _, writer in idle:
                writer.transport.abort()

    async def _answer(self, connection: str, replica: Replica) -> tuple[str, str]:
        try:
            async with asyncio.timeout(self._patience):
                return await self._exchange(connection, replica)
        except TimeoutError:
            return "timeout", ""
        except ConnectionRefusedError:
            return "refused", ""
        except (OSError, asyncio.IncompleteReadError):
            return "reset", ""

    async def _exchange(self, connection: str, replica: Replica) -> tuple[str, str]:
        idle = self._idle[replica.number]
        while idle and (idle[-1][0].at_eof() or idle[-1][0].exception() or idle[-1][1].is_closing()):
            idle.pop()[1].close()  # its replica has died since
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", replica.proxy)
        is_good = False
        try:
            tag = base64.b64encode(f"{connection}:{self._token}".encode()).decode()
            authority = replica.url.removeprefix("http://")
            writer.write(
                f"GET {replica.url}/v1/me HTTP/1.1\r\nHost: {authority}\r\n"
                f"Proxy-Authorization: Basic {tag}\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            body = await reader.readexactly(_length(head))
            is_good = "\r\nconnection: close" not in head
            return _outcome(int(head.split(" ", 2)[1]), json.loads(body), connection)
        finally:
            if is_good:
                idle.append((reader, writer))
            else:
                writer.transport.abort()


def _length(head: str) -> int:
    return next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))


def _outcome(status: int, body: dict[str, str], connection: str) -> tuple[str, str]:
    if "code" in body:
        return body["code"], body.get("detail", "")
    if status != 200:
        return str(status), ""
    if body["owner"] != connection:
        return WRONG, f"{body['owner']} for {connection}"
    return OK, ""
