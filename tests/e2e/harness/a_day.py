"""A day of counts, as a working day has them, for charts to be drawn of."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from gateway.store import Store
from gateway.store.rows import TallyRow
from gateway.store.tallies import COARSE, FINE, SPANS

DAY = 86_400
QUIET = range(12, 15)
"""Hours ago in which nobody asked for anything."""


def busy(back: int) -> int:
    """Return how many requests there were in the five minutes that began `back` seconds ago: more around ten hours."""
    if back // 3_600 in QUIET:
        return 0
    swell = math.sin(math.pi * (DAY - back) / DAY) ** 2
    return int(40 + 260 * swell + 35 * math.sin(back / 1_700))


def counts(requests: int, at: int) -> dict[str, object]:
    """Return how these ended: a few refused, fewer failed, and slower the more there are."""
    failed, refused = requests // 90 if at % 4 else requests // 30, requests // 60
    slow = requests * requests // 4_000
    answered = requests - refused
    return {
        "requests": requests,
        "refused": refused,
        "failed": failed,
        "renewed": requests // 70,
        "not_renewed": int(requests > 250 and at % 7 == 0),
        "seconds": answered * 0.06,
        "latency": (0, answered // 3, answered - answered // 3 - slow, slow // 2, slow - slow // 2, *[0] * 5),
    }


def rows(now: float, shares: Mapping[tuple[str, str], float]) -> Iterator[TallyRow]:
    """Yield the rows of a day. `shares`: of each dimension and key, which part of all requests it has."""
    first = int(now) // COARSE * COARSE + COARSE
    for back in range(FINE, DAY + FINE, FINE):
        at = first - back
        if at > now:
            continue
        for (dimension, key), share in {("all", ""): 1.0, **shares}.items():
            for span in SPANS[dimension]:
                own = counts(int(busy(back) * share), back // FINE)
                yield TallyRow(dimension=dimension, key=key, at=at - at % span, span=span, **own)  # type: ignore[arg-type]


def add_a_day(store_url: str, shares: Mapping[tuple[str, str], float]) -> None:
    """Add a day of counts to a store that a server is using."""

    async def add() -> None:
        async with await Store.open(store_url, migrate=False) as store:
            await store.tallies.add(list(rows(time.time(), shares)))

    with ThreadPoolExecutor(1) as thread:  # the caller's own may have a loop that is running
        thread.submit(asyncio.run, add()).result()
