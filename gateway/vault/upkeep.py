"""What is done beside, whether anybody asks or not: renewals, revocations, messages.

A chore says when it is next due, lets itself be claimed a few at a time, and does one. Each chore goes on by itself: a
webhook that hangs holds up no renewal. The claims are rows of the store, so that servers that share one share the work,
and a server that dies leaves it to the next.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import structlog

from gateway.errors import GatewayError

AT_ONCE = 16  # of each chore; with a provider that takes a second that is 57,600 an hour
LONGEST = 5.0  # seconds until the next look: what another process has put off, or begun and not ended, is seen by then
TOLD_LONGEST = 60.0  # for a chore whose new work is in the change feed: whoever writes it wakes us
SHORTEST = 0.05  # seconds between two looks that found nothing to take
AWAY_LONGEST = 30.0  # seconds between looks at a store that is away

_log = structlog.get_logger()


class Chore(Protocol):
    """One kind of work. Times are epoch seconds; everything raises `StoreError` while the store is away."""

    name: str
    longest: float
    """Seconds until the next look, though nobody woke it."""

    async def next_at(self) -> float | None:
        """Return when the next piece is due; None: there is none."""

    async def claim(self, limit: int) -> Sequence[Any]:
        """Take up to `limit` pieces that are due; nobody else is given them for a while."""

    async def do(self, piece: Any) -> None:
        """Do one piece, and write down what came of it."""


class Upkeep:
    """Does the chores until cancelled. `clock` gives epoch seconds; `random` keeps servers from marching in step."""

    def __init__(self, chores: Sequence[Chore], *, clock: Callable[[], float], random: Random) -> None:
        self._chores = tuple(chores)
        self._clock = clock
        self._random = random
        self._woken = {chore.name: asyncio.Event() for chore in chores}

    def wake(self) -> None:
        """Look now: something was written that is due at once."""
        for event in self._woken.values():
            event.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as together:
            for chore in self._chores:
                together.create_task(self._follow(chore), name=f"upkeep {chore.name}")

    async def catch_up(self) -> None:
        """Do everything that is due now, and return. Raises `StoreError`."""
        for chore in self._chores:
            while pieces := (await self._take(chore, AT_ONCE))[0]:
                await asyncio.gather(*(_do(chore, piece) for piece in pieces))

    async def _follow(self, chore: Chore) -> None:
        busy: set[asyncio.Task[None]] = set()
        loop, woken = asyncio.get_running_loop(), self._woken[chore.name]

        def ended(task: asyncio.Task[None]) -> None:
            busy.discard(task)
            loop.call_later(SHORTEST, woken.set)  # it may have made way for the next: a connection's later messages

        away = 1.0
        try:
            while True:
                try:
                    pieces, pause = await self._take(chore, AT_ONCE - len(busy))
                    away = 1.0
                except GatewayError as error:
                    pieces, pause = (), away * self._random.uniform(0.5, 1.0)
                    away = min(away * 2, AWAY_LONGEST)
                    _log.warning("upkeep.delayed", chore=chore.name, reason=error.refusal.detail)
                for piece in pieces:
                    task = asyncio.create_task(_do(chore, piece))
                    busy.add(task)
                    task.add_done_callback(ended)
                await self._rest(pause, busy, woken)
        finally:
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)

    async def _take(self, chore: Chore, limit: int) -> tuple[Sequence[Any], float]:
        """Return what was claimed, and the seconds until the next look. Where nothing is due, that is one read."""
        due = await chore.next_at()
        now = self._clock()
        if due is None or due > now:
            return (), chore.longest if due is None else min(due - now, chore.longest)
        pieces = await chore.claim(limit)
        return pieces, 0.0 if pieces else SHORTEST

    async def _rest(self, seconds: float, busy: set[asyncio.Task[None]], woken: asyncio.Event) -> None:
        """Wait for the time, for somebody who wakes us, and at any rate for a free hand."""
        if len(busy) >= AT_ONCE:
            await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            return
        woken.clear()


async def _do(chore: Chore, piece: Any) -> None:
    """Do a piece; one that fails is logged, and comes again when its claim lapses."""
    try:
        await chore.do(piece)
    except GatewayError as error:
        _log.warning("upkeep.failed", chore=chore.name, reason=error.refusal.detail)
    except Exception:  # noqa: BLE001 -- a fault of ours in one piece must not end the chore; it is logged whole
        _log.exception("upkeep.broken", chore=chore.name)
