"""What a server does beside: nothing of it is lost where the server ends in the middle of it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.app import chores
from gateway.app.chores import store_requests
from gateway.proxy.access_log import AccessLog, Entry
from gateway.proxy.tally import Tally
from gateway.store.rows import RequestRow


class Slow:
    """A store's part that takes its time, and keeps nothing of what is broken off."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.kept: list[str] = []

    async def add_many(self, rows: list[RequestRow]) -> None:
        self.begun.set()
        await self.go_on.wait()
        self.kept += [row.request_id for row in rows]

    async def touch(self, connections: tuple[str, ...], *, now: float) -> None:
        """Take note of nothing."""


def entry(request_id: str) -> Entry:
    at, sent, refreshed = 1.0, 0, False
    return Entry(at, request_id, "path", "", "c", "a", "GET", "http://x.test", "/", 200, "", 0.1, sent, sent, refreshed)


async def test_requests_that_are_being_stored_when_the_server_ends_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "FLUSH_SECONDS", 0)
    slow, requests = Slow(), AccessLog(json=True, tally=Tally())
    gateway: Any = SimpleNamespace(store=SimpleNamespace(requests=slow, connections=slow))
    requests.add(entry("first"))
    storing = asyncio.create_task(store_requests(gateway, requests))
    await slow.begun.wait()
    requests.add(entry("last"))
    storing.cancel()
    await asyncio.sleep(0)
    slow.go_on.set()
    await asyncio.gather(storing, return_exceptions=True)
    assert slow.kept == ["first", "last"]
