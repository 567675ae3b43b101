"""Who may send when, and how much at a time: the two rules that all replicas reckon by. Pure.

Turns follow the generic cell rate algorithm: one number for each thing that is counted, the time at which it would be
quite unused again. It is the next turn's time, less what may go out at once.

Slots are shared by need: who needs little gets that, and the rest is divided evenly among who needs more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_ROTATION = 2.0
"""Seconds for which what can't be divided stays with the same ones."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What was reserved: `count` turns, one each interval, of which the first is in `start` seconds, or was due before.

    Where `count` is 0, nothing was reserved, for the next turn is as far away as `start` says.
    """

    count: int
    start: float


def reserve(
    free_at: float, *, now: float, turns: int, interval: float, burst: int, ahead: float
) -> tuple[float, Turns]:
    """Reserve up to so many turns of those due within `ahead` seconds; return the new `free_at`, and the turns."""
    free_at = max(free_at, now)
    start = free_at - (burst - 1) * interval - now
    if start > ahead:
        return free_at, Turns(0, start)
    count = min(turns, int((ahead - start) / interval) + 1)
    return free_at + count * interval, Turns(count, start)


def fair_share(owner: str, wanted: Mapping[str, int], *, limit: int, now: float) -> int:
    """Return how many of `limit` slots an owner gets, where each wants as many as `wanted` says.

    What is left when all have the same goes to some of them, and by and by to others.
    """
    left, waiting = limit, sorted(wanted, key=lambda name: (wanted[name], name))
    while waiting and wanted[waiting[0]] * len(waiting) <= left:
        left -= wanted[waiting[0]]
        if waiting.pop(0) == owner:
            return wanted[owner]
    each, over = divmod(left, len(waiting))
    place = (sorted(waiting).index(owner) + int(now / _ROTATION)) % len(waiting)
    return each + (place < over)
