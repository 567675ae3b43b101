"""Who counts what goes out: the store, for all replicas; or this process alone, where there is no other or none to ask.

A store that is away stops nothing: each process goes on by its own counting, and asks again every few seconds.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import structlog

from gateway.errors import GatewayError
from gateway.store.limits import Ask, Limits, Reserved

PATIENCE = 2.0
"""Seconds for an answer of the store's: a request waits for it."""
_ASK_AGAIN = 5.0
"""Seconds for which a store that is away isn't asked."""
_AT_ONCE = 100
"""Asks in one transaction: it holds as many rows until it ends."""
RENEW_EVERY = 5.0
"""Seconds: two renewals of a lease may fail."""
Answer = TypeVar("Answer")
_log = structlog.get_logger("gateway.proxy")


class Timer(Protocol):
    """The part of an event loop that knows the time."""

    def time(self) -> float:
        """Return monotonic seconds."""

    def call_at(self, when: float, callback: Callable[..., Any], /, *args: Any) -> asyncio.TimerHandle:
        """Call back then."""


class Ledger(Protocol):
    """What is counted over all replicas, as one process sees it. Raises `StoreError`."""

    async def reserve(self, ask: Ask) -> Reserved:
        """Reserve turns."""

    async def share(self, key: str, *, in_use: int, wanted: int, spare: int, limit: int) -> int:
        """Return how many may be under way here."""

    async def pause(self, key: str, seconds: float) -> None:
        """Tell all that a service wants to be left alone."""

    async def paused(self, key: str) -> float:
        """Return for how many seconds more it does."""

    async def renew(self) -> bool:
        """Keep the slots that this process has; False: they are gone."""

    def let_lapse(self) -> None:
        """Take note that this process has no slots: before the next, it needs a lease anew."""

    async def contended(self) -> Sequence[str]:
        """Return of which keys somebody else has less than it needs."""

    async def leave(self) -> None:
        """Give back all slots."""


class StoreLedger:
    """The store's counting, for one process: `owner` is what it is called there, `clock` gives epoch seconds."""

    def __init__(self, limits: Limits, *, owner: str, clock: Callable[[], float]) -> None:
        self._limits, self._owner, self._clock = limits, owner, clock
        self._has_lease = False
        self._asks: list[tuple[Ask, asyncio.Future[Reserved]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def reserve(self, ask: Ask) -> Reserved:
        """As `Limits.reserve`. What is asked for while the store is at it goes along with the next call, together."""
        answer: asyncio.Future[Reserved] = asyncio.get_running_loop().create_future()
        self._asks.append((ask, answer))
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._reserve())
        return await answer

    async def _reserve(self) -> None:
        try:
            while self._asks:
                some = [
                    (ask, answer) for ask, answer in self._asks[:_AT_ONCE] if not answer.done()
                ]  # some may have gone
                self._asks = self._asks[_AT_ONCE:]
                try:
                    got = await self._limits.reserve([ask for ask, _ in some], now=self._clock())
                except GatewayError as error:
                    for _, answer in some:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for (_, answer), reserved in zip(some, got, strict=True):
                        if not answer.done():
                            answer.set_result(reserved)
        finally:
            self._asking = None

    async def share(self, key: str, *, in_use: int, wanted: int, spare: int, limit: int) -> int:
        """As `Limits.share`, under a lease."""
        if not self._has_lease:
            await self.renew()
        return await self._limits.share(
            key, owner=self._owner, in_use=in_use, wanted=wanted, spare=spare, limit=limit, now=self._clock()
        )

    async def pause(self, key: str, seconds: float) -> None:
        """As `Limits.pause`."""
        await self._limits.pause(key, seconds, now=self._clock())

    async def paused(self, key: str) -> float:
        """As `Limits.paused`."""
        return await self._limits.paused(key, now=self._clock())

    async def renew(self) -> bool:
        """As `Limits.renew`."""
        kept = await self._limits.renew(self._owner, now=self._clock())
        self._has_lease = True
        return kept

    def let_lapse(self) -> None:
        """Renew it no more, until there are slots again."""
        self._has_lease = False

    async def contended(self) -> Sequence[str]:
        """As `Limits.contended`."""
        return await self._limits.contended(self._owner)

    async def leave(self) -> None:
        """As `Limits.leave`."""
        if self._asking is not None:
            self._asking.cancel()
        if self._has_lease:
            self._has_lease = False
            await self._limits.leave(self._owner)


class Desk:
    """Where the gates of a process ask. `back` is called when the store is there again."""

    def __init__(self, ledger: Ledger | None, timer: Timer, *, back: Callable[[], None]) -> None:
        self.timer = timer
        self._ledger, self._back = ledger, back
        self._is_away = False
        self._alone_until = 0.0
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def ledger(self) -> Ledger | None:
        """Whom to ask; None: nobody."""
        if self._is_away and self.timer.time() < self._alone_until:
            return None
        return self._ledger

    def ask(self, question: Coroutine[Any, Any, None]) -> None:
        """Ask beside; whoever wants to know waits for what comes of it."""
        task = asyncio.get_running_loop().create_task(question)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def answer(self, question: Coroutine[Any, Any, Answer]) -> Answer | None:
        """Return what the store says; None where it says nothing in time. Either is taken note of."""
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await question
        except (GatewayError, TimeoutError) as error:
            self.lost(error)
            return None
        self._found()
        return answer

    def lost(self, error: Exception) -> None:
        """Take note that there was no answer."""
        self._alone_until = self.timer.time() + _ASK_AGAIN
        if not self._is_away:
            self._is_away = True
            detail = error.refusal.detail if isinstance(error, GatewayError) else "The store did not answer in time."
            hint = "Until it is back, each process counts [limits] alone: together they may send more."
            _log.warning("limits.alone", detail=detail, hint=hint)

    def close(self) -> None:
        """Ask nothing any more."""
        for task in self._asking:
            task.cancel()

    def _found(self) -> None:
        if self._is_away:
            self._is_away = False
            self._back()
            _log.info("limits.together")
