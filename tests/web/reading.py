"""A reader of the live tail: one stream, event by event, as a client of server-sent events reads it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.store.rows import RequestRow
from gateway.web.tail import TAIL, Tail
from tests.web.harness import NOW, Web

PATIENCE = 10.0
"""Seconds to wait for anything."""


@dataclass(frozen=True, kw_only=True)
class Event:
    id: str = ""
    event: str = "message"
    data: str = ""
    comment: str = ""

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.data)

    @property
    def whats(self) -> list[str]:
        """The URLs and sentences of its entries."""
        return [entry["what"] for entry in self.told["entries"]]


class Reading:
    """One stream. `place` is where it stands, for whoever goes on with it."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.place = ""

    async def event(self) -> Event:
        """Return the next event or comment."""
        given: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while line := (await self.answer.content.readline()).decode():
                if line == "\n":
                    break
                name, _, text = line.rstrip("\n").partition(": ")
                given[name or "comment"] = text
            else:
                raise EOFError
        self.place = given.get("id", self.place)
        return Event(**given)

    async def told(self) -> Event:
        """Return the next event that isn't a mere sign of life."""
        while (event := await self.event()).comment:
            pass
        return event

    async def whats(self, count: int) -> list[str]:
        """Return what so many entries are about, in the order in which they come."""
        found: list[str] = []
        while len(found) < count:
            found += (await self.told()).whats
        return found

    async def ended(self) -> str:
        """Return why it ends; fails where it goes on behind that."""
        while (event := await self.event()).event != "end":
            pass
        async with asyncio.timeout(PATIENCE):
            assert await self.answer.content.read() == b""
        return event.data


@asynccontextmanager
async def reading(web: Web, query: str = "", *, place: str = "") -> AsyncIterator[Reading]:
    """Open a stream and wait until it stands."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place} if place else {})
    url = f"{web.server.url}/activity/stream?{query}"
    async with web._session.get(url, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        made = Reading(answer)
        yield made


def tail_of(web: Web) -> Tail:
    return web.server._runner.app[TAIL]


def request_row(url: str = "https://api.example.com/v1/users", at: float = NOW, **changes: Any) -> RequestRow:
    """Return one request that went well, but for what is said of it."""
    usual = {
        "request_id": "f00",
        "method": "GET",
        "status": 200,
        "seconds": 0.012,
        "entrance": "absolute",
        "app": "crm",
        "connection": "crm-ann",
        "client": "runner",
    }
    return RequestRow(at=at, url=url, **usual | changes)
