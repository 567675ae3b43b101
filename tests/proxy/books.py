"""A clock that the test turns, and counting over replicas in memory, by the store's own rules."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

from gateway.errors import Refusal, StoreError
from gateway.store.limits import Ask, Reserved
from gateway.store.turns import fair_share, reserve


class Handle:
    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """An event loop's `time` and `call_at`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, Handle]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> Any:
        handle = Handle(callback, args)
        heapq.heappush(self._calls, (when, next(self._numbers), handle))
        return handle

    async def forward(self, seconds: float) -> None:
        """Let time pass, and everything happen in it that is due."""
        end = self.now + seconds
        await settle()
        while self._calls and self._calls[0][0] <= end:
            when, _, handle = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if handle.callback is not None:
                handle.callback(*handle.args)
                await settle()
        self.now = end
        await settle()


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


class Books:
    """What all replicas have written down. `away` is the store's being away."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.free_at: dict[str, float] = {}
        self.paused_until: dict[str, float] = {}
        self.slots: dict[str, dict[str, tuple[int, int]]] = {}
        self.away = False
        self.asked: list[str] = []
        self.turns_asked: list[int] = []
        self.told: list[str] = []
        self.hold: Callable[[], Awaitable[None]] | None = None

    def page(self, owner: str) -> "Page":
        return Page(self, owner)


class Page:
    """The books as one replica sees them."""

    def __init__(self, books: Books, owner: str) -> None:
        self._books, self._owner = books, owner
        self.lease_lost = False

    async def _open(self, what: str) -> None:
        self._books.asked.append(what)
        if self._books.hold is not None:
            await self._books.hold()
        await asyncio.sleep(0)
        if self._books.away:
            raise StoreError(Refusal(code="overloaded", detail="The store is away."))

    async def reserve(self, ask: Ask) -> Reserved:
        await self._open("reserve")
        books, now = self._books, self._books.clock.now
        books.turns_asked.append(ask.turns)
        books.free_at[ask.key], got = reserve(
            books.free_at.get(ask.key, 0.0),
            now=now,
            turns=ask.turns,
            interval=ask.interval,
            burst=ask.burst,
            ahead=ask.ahead,
        )
        return Reserved(got, books.paused_until.get(ask.key, 0.0) - now)

    async def share(self, key: str, *, in_use: int, wanted: int, spare: int, limit: int) -> int:
        await self._open("share")
        rows = self._books.slots.setdefault(key, {})
        others = {name: row for name, row in rows.items() if name != self._owner}
        needs = {name: row[1] for name, row in others.items()} | {self._owner: wanted}
        free = limit - sum(row[0] for row in others.values())
        share = fair_share(self._owner, needs, limit=limit, now=self._books.clock.now)
        granted = max(0, min(free, share + min(spare, max(0, limit - sum(needs.values())))))
        rows[self._owner] = (max(in_use, granted), wanted)
        return granted

    async def pause(self, key: str, seconds: float) -> None:
        await self._open("pause")
        self._books.paused_until[key] = self._books.clock.now + seconds
        self._books.told.append(key)

    async def paused(self, key: str) -> float:
        await self._open("paused")
        return self._books.paused_until.get(key, 0.0) - self._books.clock.now

    async def renew(self) -> bool:
        await self._open("renew")
        if self.lease_lost:
            for rows in self._books.slots.values():
                rows.pop(self._owner, None)
        lost, self.lease_lost = self.lease_lost, False
        return not lost

    def let_lapse(self) -> None:
        """A page has no lease but the one that the test takes away."""

    async def contended(self) -> Sequence[str]:
        await self._open("contended")
        return [
            key
            for key, rows in self._books.slots.items()
            if self._owner in rows and any(row[1] > row[0] for name, row in rows.items() if name != self._owner)
        ]

    async def leave(self) -> None:
        for rows in self._books.slots.values():
            rows.pop(self._owner, None)
