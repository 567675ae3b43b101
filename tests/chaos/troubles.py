"""What goes wrong: each trouble is made, lasts, is mended, and noted with its times."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random

from tests.chaos.fleet import Fleet
from tests.chaos.link import State
from tests.chaos.provider import Provider
from tests.chaos.verdict import EVERYONE, Trouble

Ends = Callable[[float], None]


class Troubles:
    """Makes them. `noted` has those that are over; `heard` is told of each as it begins."""

    def __init__(self, fleet: Fleet, provider: Provider, heard: Callable[[str], None] = lambda _: None) -> None:
        self._fleet = fleet
        self._provider = provider
        self._heard = heard
        self.noted: list[Trouble] = []

    async def kill(self, replica: int, *, down: float) -> None:
        """`kill -9`; after a while it is started again."""
        async with self._noting("killed", replica):
            self._fleet.replicas[replica].kill()
            await asyncio.sleep(down)
            await self._fleet.start(self._fleet.replicas[replica])

    async def restart_database(self, *, crash: bool) -> None:
        """Stop the database and start it; `crash`: as after a power cut."""
        async with self._noting("database restarted", EVERYONE):
            await asyncio.to_thread(self._fleet.database.restart, crash=crash)

    async def cut_database(self, replicas: Iterable[int], seconds: float, state: State = State.REFUSED) -> None:
        """Cut replicas off from the database."""
        kind = "database cut off" if state is State.REFUSED else "database silent"
        await self._cut(kind, replicas, seconds, state)

    async def cut_provider(self, replicas: Iterable[int], seconds: float, state: State = State.REFUSED) -> None:
        """Cut replicas off from the provider."""
        kind = "provider cut off" if state is State.REFUSED else "provider silent"
        await self._cut(kind, replicas, seconds, state)

    async def fail_provider(self, seconds: float) -> None:
        """Let the provider answer everything with 503."""
        async with self._noting("provider failing", EVERYONE):
            self._provider.failing = True
            await asyncio.sleep(seconds)
            self._provider.failing = False

    async def slow_provider(self, seconds: float, *, delay: float) -> None:
        """Let every token take so long."""
        async with self._noting("provider slow", EVERYONE):
            self._provider.delay = delay
            await asyncio.sleep(seconds)
            self._provider.delay = 0.0

    async def set_clock(self, replica: int, ahead: float) -> None:
        """Set a machine's clock."""
        async with self._noting("clock set", replica):
            self._fleet.replicas[replica].set_clock(ahead)

    async def _cut(self, kind: str, replicas: Iterable[int], seconds: float, state: State) -> None:
        numbers = tuple(replicas)
        everyone = len(numbers) == len(self._fleet.replicas)
        lines = [self._fleet.replicas[number] for number in numbers]
        ends = [one.store if kind.startswith("database") else one.provider for one in lines]
        began = time.monotonic()
        self._heard(f"{kind}: {'all' if everyone else numbers}")
        for link in ends:
            link.be(state)
        try:
            await asyncio.sleep(seconds)
        finally:
            for link in ends:
                link.be(State.OPEN)
            ended = time.monotonic()
            for number in (EVERYONE,) if everyone else numbers:
                self.noted.append(Trouble(kind=kind, began=began, ended=ended, replica=number))

    @asynccontextmanager
    async def _noting(self, kind: str, replica: int) -> AsyncIterator[None]:
        began = time.monotonic()
        self._heard(f"{kind}: {'all' if replica == EVERYONE else replica}")
        try:
            yield
        finally:
            self.noted.append(Trouble(kind=kind, began=began, ended=time.monotonic(), replica=replica))


async def in_short(troubles: Troubles) -> None:
    """Each trouble once, one after the other, within some ten seconds; for a run whose times are a tenth."""
    await troubles.set_clock(2, -240.0)
    await troubles.kill(0, down=0.3)
    await troubles.cut_database((1,), 0.8)
    await troubles.fail_provider(0.6)
    await troubles.cut_provider((2,), 0.6)
    await troubles.restart_database(crash=True)
    await troubles.set_clock(1, 600.0)
    await troubles.slow_provider(1.0, delay=0.8)
    await troubles.cut_database((0, 1, 2), 1.0, State.SILENT)
    await asyncio.sleep(0.5)


async def at_length(troubles: Troubles, *, minutes: float, random: Random) -> None:
    """One trouble after the other, at times two at once, drawn by chance, with some quiet between."""
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        kinds = list(_kinds(troubles, random))
        random.shuffle(kinds)
        for first, second in zip(kinds, [*kinds[1:], None], strict=True):
            if time.monotonic() > end:
                return
            both = [first()]
            if second is not None and random.random() < 0.25:
                both.append(_after(random.uniform(0.0, 5.0), second))
            await asyncio.gather(*both)
            await asyncio.sleep(random.uniform(3.0, 9.0))


async def _after(seconds: float, work: Callable[[], object]) -> None:
    await asyncio.sleep(seconds)
    await work()  # type: ignore[misc]


def _kinds(troubles: Troubles, random: Random) -> Iterable[Callable[[], object]]:
    """Return one of each, with a length and a place by chance. A round takes some three minutes."""

    def one() -> int:
        return random.randrange(3)

    yield lambda: troubles.kill(one(), down=random.uniform(0.0, 6.0))
    yield lambda: troubles.kill(one(), down=random.uniform(0.0, 6.0))
    yield lambda: troubles.restart_database(crash=False)
    yield lambda: troubles.restart_database(crash=True)
    yield lambda: troubles.cut_database((one(),), random.uniform(2.0, 12.0))
    yield lambda: troubles.cut_database((one(),), random.uniform(2.0, 9.0), State.SILENT)
    yield lambda: troubles.cut_database((0, 1, 2), random.uniform(5.0, 45.0))
    yield lambda: troubles.cut_database((0, 1, 2), random.uniform(2.0, 15.0), State.SILENT)
    yield lambda: troubles.fail_provider(random.uniform(5.0, 15.0))
    yield lambda: troubles.slow_provider(random.uniform(10.0, 20.0), delay=random.uniform(2.0, 15.0))
    yield lambda: troubles.cut_provider((one(),), random.uniform(3.0, 12.0))
    yield lambda: troubles.cut_provider((0, 1, 2), random.uniform(3.0, 12.0))
    yield lambda: troubles.cut_provider((one(),), random.uniform(2.0, 10.0), State.SILENT)
    for number in range(3):
        ahead = random.uniform(-600.0, 600.0)
        yield lambda number=number, ahead=ahead: troubles.set_clock(number, ahead)
