"""Who listens to what happens: one look at the store a second, for as long as somebody listens, handed to everybody.

It works with any number of workers and replicas, since all of them write into the store. Nobody's memory grows: a
listener keeps the newest entries that wait for it and counts what it left out, and there are only so many listeners.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from gateway.errors import ClientError, Refusal, StoreError
from gateway.store.log_pages import LIMIT_MAX
from gateway.store.rows import EventRow
from gateway.store.store import Store
from gateway.web.logs import Entry, News, Place, Wanted, latest, newer
from gateway.web.wire import Bounds

KEPT = 200
"""Entries that a page with a tail has, and that wait for one: what is older falls off its end."""
A_LOOK = 50
"""Entries of one look, which is a second's: more than anybody reads."""

log = structlog.get_logger("gateway.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a listener is told at once, oldest first. `left_out` were wanted; `skipped` weren't looked at."""

    entries: tuple[Entry, ...]
    place: Place
    left_out: int
    skipped: int


class Listener:
    """Somebody who listens, from a place on that `begin` says. `ended`: there is nothing more to come."""

    def __init__(self, wanted: Wanted, session: str) -> None:
        self.session = session
        self.ended = False
        self._wanted = wanted
        self._place = Place(requests=0, events=0)
        self._early: list[News] | None = []
        self._waiting: deque[Entry] = deque()
        self._left_out = self._skipped = 0
        self._turn = asyncio.Event()
        self._abort: Callable[[], None] | None = None

    def begin(self, after: Place, past: News) -> None:
        """Begin behind a place, with what is behind it by now; what was offered meanwhile may overlap with that."""
        self._place = after
        early, self._early = self._early, None
        self.offer(past, most=KEPT)
        for news in early or ():
            self.offer(news, most=A_LOOK)
        self.wake()

    @property
    def is_choosy(self) -> bool:
        """Whether what it wants has to be looked for among the rest."""
        return bool(self._wanted.given)

    def offer(self, news: News, *, most: int) -> None:
        """Take what is wanted and wasn't taken yet, the newest `most` of it."""
        if self._early is not None:
            self._early.append(news)
            return
        if news.place.requests <= self._place.requests and news.place.events <= self._place.events:
            return  # it has all of that, what was skipped too
        wanted = [entry for entry in news.entries if self._is_new(entry) and self._wanted.takes(entry)]
        self._left_out += max(0, len(wanted) - most)
        self._skipped += news.skipped
        self._waiting.extend(wanted[-most:])
        while len(self._waiting) > KEPT:
            self._waiting.popleft()
            self._left_out += 1
        self._place = Place(
            requests=max(self._place.requests, news.place.requests), events=max(self._place.events, news.place.events)
        )

    def take(self) -> Batch:
        """Return what waits, and where that leads to."""
        batch = Batch(entries=tuple(self._waiting), place=self._place, left_out=self._left_out, skipped=self._skipped)
        self._waiting.clear()
        self._left_out = self._skipped = 0
        return batch

    async def turn(self) -> None:
        """Wait for the next look, whatever it sees."""
        await self._turn.wait()
        self._turn.clear()

    def wake(self) -> None:
        """Let whoever waits look."""
        self._turn.set()

    def sending(self, abort: Callable[[], None] | None) -> None:
        """Say that something is being sent, and how that can be broken off; None: it has been sent."""
        self._abort = abort

    def end(self) -> None:
        """End it: what it waits for won't come, and whoever doesn't take what is sent isn't waited for."""
        self.ended = True
        self._turn.set()
        if self._abort is not None:
            self._abort()

    def _is_new(self, entry: Entry) -> bool:
        return entry.id > (self._place.events if isinstance(entry, EventRow) else self._place.requests)


class Tail:
    """The listeners of this process."""

    def __init__(self, store: Store, bounds: Bounds) -> None:
        self._store = store
        self._bounds = bounds
        self._listeners: set[Listener] = set()
        self._place: Place | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def listening(self, wanted: Wanted, *, session: str, after: Place | None) -> AsyncIterator[Listener]:
        """Listen, from behind a place or from now on. Raises `ClientError` where too many do, and `StoreError`."""
        self._require_room(session)
        listener = Listener(wanted, session)
        self._listeners.add(listener)
        try:
            await self._begin(listener, after)
            yield listener
        finally:
            self._listeners.discard(listener)

    async def look(self) -> None:
        """Look once, and hand on what there is."""
        try:
            news = await newer(self._store, self._place or await latest(self._store), most=self._most())
        except StoreError as error:  # what it has then comes with a later look
            log.warning("tail.store_away", detail=error.refusal.detail)
        else:
            self._place = news.place
            for listener in self._listeners:
                listener.offer(news, most=A_LOOK)
        for listener in self._listeners:
            listener.wake()

    async def close(self) -> None:
        """End every listener, and take no more."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _begin(self, listener: Listener, after: Place | None) -> None:
        """Give a listener its start, no later than the newest entries: the store may be another one by now."""
        now = self._place or await latest(self._store)
        self._place = self._place or now
        if self._looking is None and not self._closed:
            self._looking = asyncio.create_task(self._keep_looking(), name="tail")
        if after is None:
            listener.begin(now, News(entries=(), place=now))
        else:
            start = Place(requests=min(after.requests, now.requests), events=min(after.events, now.events))
            listener.begin(start, await newer(self._store, start))

    def _most(self) -> int:
        """Return how many entries of each log are read: no more than are shown, where nobody chooses among them."""
        return LIMIT_MAX if any(listener.is_choosy for listener in self._listeners) else A_LOOK

    async def _keep_looking(self) -> None:
        while self._listeners:
            await asyncio.sleep(self._bounds.look)
            try:
                await self.look()
            except Exception:  # the last line: the next look is made all the same
                log.exception("tail.fault")
        self._place = self._looking = None

    def _require_room(self, session: str) -> None:
        if self._closed:
            raise ClientError(Refusal(code="overloaded", detail="The gateway is stopping.", retry_after=5))
        if sum(listener.session == session for listener in self._listeners) >= self._bounds.streams_each:
            detail = f"{self._bounds.streams_each} pages of this session follow what happens already."
            raise ClientError(Refusal(code="rate_limited", detail=detail, hint="Close one of them.", retry_after=5))
        if len(self._listeners) >= self._bounds.streams:
            detail = f"{self._bounds.streams} pages follow what happens already."
            hint = "Load the page again from time to time, or wait until another one is closed."
            raise ClientError(Refusal(code="overloaded", detail=detail, hint=hint, retry_after=5))


TAIL = web.AppKey("tail", Tail)
