"""One thing that is counted, a connection or an app: who may send now, who waits, and until when nobody may.

Turns and slots are had ahead of their use, in batches that grow with what is needed, so that what a busy gate does for
a request is to look at what it has. Turns that nobody takes are dropped, slots that nobody needs go back.

Who has to wait stands behind the others of the same client, and the clients take turns: none is held up by what another
has lined up. Who couldn't be let in within its time is turned away at once.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from gateway.policy.limits import Quota
from gateway.proxy.ledger import Desk, Ledger
from gateway.store.limits import Ask
from gateway.store.turns import Turns, reserve

MOST_WAITING = 256  # of one client, at one gate
MOST_WAITING_IN_ALL = 2048
_AHEAD = 0.1  # seconds' worth of turns that are had at once: a gate asks twice in that time, at most
_HOLD = 1.0  # seconds for which turns are kept that nobody takes
_SHARE_AGAIN = 0.25  # seconds after which a full gate asks for slots again
_KEEP = 10  # looks, a second apart, for which slots are kept that nobody here or elsewhere needs
_SPARE = 8  # a part of so many of the slots is had ahead, where nobody else needs it
_NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Turned:
    """Why somebody was turned away, and after how many seconds to come back."""

    why: str  # "paused", "rate", "concurrency", "queue"
    seconds: float


class Waiter:
    """Who waits at a gate, and until when. The future's result: None, let in; else why not."""

    __slots__ = ("client", "future", "timer", "until")

    def __init__(self, client: str, until: float) -> None:
        self.client, self.until = client, until
        self.future: asyncio.Future[Turned | None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def tell(self, turned: Turned | None) -> None:
        """End the wait."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            self.future.set_result(turned)


class Gate:
    """`in_use` is how many are under way, `paused_until` in the timer's seconds."""

    def __init__(self, key: str, desk: Desk, quota: Quota, wait: float) -> None:
        self.key = key
        self.in_use = 0
        self.paused_until = 0.0
        self._desk, self._timer = desk, desk.timer
        self._turns: deque[float] = deque()  # when each is due
        self._turns_until = 0.0
        self._free_at = 0.0  # what this process reckons by while it counts alone
        self._slots = 0
        self._is_written = False  # whether the store has slots down as ours, whatever we know of them
        self._looks = self._most_in_use = 0  # since it was last seen to
        self._is_known = desk.ledger is None  # whether the store was asked for a pause
        self._waiting: dict[str, deque[Waiter]] = {}  # by client, in the order in which they are let in
        self._count = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER
        self._turned_away_for = 0.0
        self._is_reserving = self._is_sharing = self._is_learning = False
        self._obey(quota, wait)

    def obey(self, quota: Quota, wait: float) -> None:
        """Go by what the policy says now."""
        if quota is not self._quota or wait != self._wait:
            self._obey(quota, wait)

    def _obey(self, quota: Quota, wait: float) -> None:
        self._quota, self._wait = quota, wait
        self._interval, self._burst, self._limit = quota.interval, quota.at_once, quota.concurrency or 0
        self._turns.clear()
        self._most = max(1, int(_AHEAD / self._interval)) if self._interval else 1  # turns in a batch
        self._ahead = wait or (_AHEAD if self._most > 1 else 0.0)
        self._size = self._batch = 1  # of the next one and of the last one
        self._due_at = self._reserve_again_at = self._share_again_at = 0.0
        self._slots = 0

    # What those who want to go through ask of it.

    def enter(self, now: float) -> bool:
        """Go through, if that can be without waiting."""
        if self._count or not self._is_open(now):
            return False
        self._take()
        return True

    async def wait(self, client: str, until: float) -> Turned | None:
        """Wait to go through; return None then, else why not."""
        line = self._waiting.get(client)
        if self._count >= MOST_WAITING_IN_ALL or (line is not None and len(line) >= MOST_WAITING):
            return Turned("queue", 1.0)
        waiter = Waiter(client, until)
        self._waiting.setdefault(client, deque()).append(waiter)
        self._count += 1
        now = self._timer.time()
        if until > now:
            waiter.timer = self._timer.call_at(until, self._overdue, waiter)
        self._turned_away_for = 0.0
        self._look(now)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled() and waiter.future.result() is None:
                self.put_back()  # it was let in a moment ago
            else:
                self._remove(waiter)
            raise

    def leave(self) -> None:
        """Make room: what went through has come to its end."""
        self.in_use -= 1
        if self._count:
            self._look(self._timer.time())

    def put_back(self) -> None:
        """Make room, and leave the turn to somebody else: nothing was sent."""
        if self._interval:
            self._turns.appendleft(0.0)
        self.leave()

    # What the others ask of it.

    def pause(self, until: float) -> bool:
        """Let nobody through until then. False: that is so already, or nearly."""
        if until <= self.paused_until + _HOLD / 2:
            return False
        self.paused_until = until
        if self._count:
            self._look(self._timer.time())
        return True

    def learn(self) -> bool:
        """Ask the store for how long the service wants to be left alone. True: there is nobody to ask."""
        ledger = self._desk.ledger
        if ledger is None:
            self._is_known = True
            return True
        if not self._is_learning:
            self._is_learning = True
            self._desk.ask(self._learn(ledger))
        return False

    def forget_slots(self) -> None:
        """Begin again with none: those that were had may be somebody else's now. The next look sees to it."""
        self._slots, self._share_again_at, self._looks = 0, 0.0, _KEEP

    def look_at_slots(self, *, contended: bool) -> None:
        """Give back what others need more; and what wasn't needed for a while. Once a second."""
        self._looks += 1
        if not (contended or self._looks >= _KEEP):
            return
        needed = max(self._most_in_use, self.in_use + self._count)
        self._looks, self._most_in_use = 0, self.in_use
        if contended or not needed or not self.in_use <= self._slots <= needed + self._spare:
            self._share()

    def is_idle(self, now: float) -> bool:
        """Whether it can be forgotten, and be made anew when it is needed."""
        busy = self._count or self.in_use or self._is_reserving or self._is_sharing or self._is_learning
        return not busy and not self._is_written and now > max(self._turns_until, self.paused_until, self._free_at)

    @property
    def holds_slots(self) -> bool:
        """Whether the store has any down as this process's, or is asked for some."""
        return self._is_written

    # Inside.

    @property
    def _spare(self) -> int:
        return max(1, self._limit // _SPARE)

    def _is_open(self, now: float) -> bool:
        if now < self.paused_until or not (self._is_known or self.learn()):
            return False
        if self._limit and self.in_use >= self._slots and not self._has_room_alone():
            return False
        if not self._interval:
            return True
        turns = self._turns
        if turns and now > self._turns_until:
            turns.clear()
        return turns[0] <= now if turns else self._reserve_alone(now)

    def _take(self) -> None:
        self.in_use += 1
        self._most_in_use = max(self._most_in_use, self.in_use)
        if self._interval:
            self._turns.popleft()
            if self._batch > 1 and len(self._turns) <= self._batch // 2:
                self._reserve(self._timer.time())

    def _look(self, now: float) -> None:
        """Let in whoever may, and see to what the others wait for."""
        while self._count and self._is_open(now):
            waiter = self._next()
            if not waiter.future.done():  # else it has left, and its task is yet to say so
                self._take()
            waiter.tell(None)
        if self._count:
            self._see_to_more(now)
            self._turn_away(now)

    def _see_to_more(self, now: float) -> None:
        if now < self.paused_until:
            self._wake(self.paused_until)
        elif self._is_learning:
            pass  # it looks again by itself
        elif self._limit and self.in_use >= self._slots:
            if now < self._share_again_at:
                self._wake(self._share_again_at)
            else:
                self._share()
        elif self._turns:
            self._wake(self._turns[0])
        elif self._desk.ledger is None:
            self._wake(self._due_at)
        elif now < self._reserve_again_at:
            self._wake(self._reserve_again_at)
        else:
            self._reserve(now)

    def _turn_away(self, now: float) -> None:
        """Turn away whoever can't be let in within its time."""
        if self._is_reserving or self._is_sharing or self._is_learning:
            return  # in a moment it is known
        earliest = self._earliest()
        if self._wait and earliest <= self._turned_away_for:
            return  # who stands here has been looked at for that, and the rest is for its timer
        self._turned_away_for = earliest
        turned = self._turned(now)
        for line in list(self._waiting.values()):
            for waiter in [one for one in line if one.until <= now or one.until < earliest]:
                self._remove(waiter)
                waiter.tell(turned)

    def _earliest(self) -> float:
        """Return before when nobody can be let in, as far as that is known."""
        due = 0.0
        if self._interval:
            due = self._turns[0] if self._turns else self._due_at
        return max(due, self.paused_until)

    def _turned(self, now: float) -> Turned:
        if now < self.paused_until:
            return Turned("paused", self.paused_until - now)
        if self._limit and self.in_use >= self._slots:
            return Turned("concurrency", 1.0)
        return Turned("rate", max(0.0, self._earliest() - now))

    def _overdue(self, waiter: Waiter) -> None:
        now = self._timer.time()
        self._look(now)  # it may be let in at the last moment
        if not waiter.future.done():
            self._remove(waiter)
            waiter.tell(self._turned(now))

    def _next(self) -> Waiter:
        """Return who is next: the first of the client whose turn it is."""
        client = next(iter(self._waiting))
        line = self._waiting.pop(client)
        waiter = line.popleft()
        if line:
            self._waiting[client] = line
        self._count -= 1
        return waiter

    def _remove(self, waiter: Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        line = self._waiting.get(waiter.client)
        if line is not None and waiter in line:
            line.remove(waiter)
            self._count -= 1
            if not line:
                del self._waiting[waiter.client]

    def _wake(self, at: float) -> None:
        """Look again then."""
        if at >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._timer.call_at(at, self._woken)

    def _woken(self) -> None:
        self._alarm, self._alarm_at = None, _NEVER
        self._look(self._timer.time())

    # Turns.

    def _reserve_alone(self, now: float) -> bool:
        """Have turns by this process's own counting; False: none is due, or the store is to be asked."""
        if self._desk.ledger is not None:
            return False
        self._free_at, turns = reserve(
            self._free_at, now=now, turns=self._most, interval=self._interval, burst=self._burst, ahead=0.0
        )
        self._got(turns, now)
        return turns.count > 0

    def _reserve(self, now: float) -> None:
        ledger = self._desk.ledger
        if ledger is None or self._is_reserving or now < self._reserve_again_at:
            return
        if now > self._turns_until:
            self._size = 1  # there was little to do lately
        self._batch = max(self._size, min(self._count, self._burst))
        self._size = min(self._most, self._size * 2)
        self._is_reserving = True
        self._desk.ask(self._reserve_there(ledger, self._quota, self._batch))

    async def _reserve_there(self, ledger: Ledger, quota: Quota, count: int) -> None:
        ask = Ask(key=self.key, turns=count, interval=quota.interval, burst=quota.at_once, ahead=self._ahead)
        try:
            reserved = await self._desk.answer(ledger.reserve(ask))
            if reserved is not None and quota is self._quota:
                now = self._timer.time()
                self.paused_until = max(self.paused_until, now + reserved.paused)
                self._got(reserved.turns, now)
        finally:
            self._is_reserving = False
        self._look(self._timer.time())

    def _got(self, turns: Turns, now: float) -> None:
        first = now + turns.start
        if turns.count < self._batch and self._most > 1:
            self._reserve_again_at = now + _AHEAD / 2  # what comes free until then is had at once
        if not turns.count:
            self._due_at, self._reserve_again_at = first, max(self._reserve_again_at, first - self._ahead)
            return
        self._turns.extend([max(now, first + number * self._interval) for number in range(turns.count)])
        self._turns_until = self._turns[-1] + _HOLD
        self._free_at = first + (turns.count + self._burst - 1) * self._interval

    # Slots.

    def _has_room_alone(self) -> bool:
        if self._desk.ledger is None:
            self._slots = self._limit
        return self.in_use < self._slots

    def _share(self) -> None:
        ledger = self._desk.ledger
        if ledger is None or self._is_sharing:
            return
        self._is_sharing = self._is_written = True
        self._slots = min(self._slots, self.in_use)  # nobody is let in meanwhile on what may be taken away
        self._desk.ask(self._share_there(ledger, self._quota))

    async def _share_there(self, ledger: Ledger, quota: Quota) -> None:
        wanted, in_use = self.in_use + self._count, self.in_use
        share = ledger.share(
            self.key,
            in_use=in_use,
            wanted=min(wanted, self._limit),
            spare=self._spare if wanted else 0,
            limit=self._limit,
        )
        try:
            held = await self._desk.answer(share)
            if held is not None:
                self._is_written = bool(held or in_use or wanted)
                if quota is self._quota:
                    self._slots = held
        finally:
            self._is_sharing = False
        now = self._timer.time()
        if self.in_use >= self._slots:
            self._share_again_at = now + _SHARE_AGAIN
        self._look(now)

    async def _learn(self, ledger: Ledger) -> None:
        try:
            seconds = await self._desk.answer(ledger.paused(self.key))
            if seconds is not None:
                self.paused_until = max(self.paused_until, self._timer.time() + seconds)
        finally:
            self._is_learning, self._is_known = False, True
        self._look(self._timer.time())
