"""The kinds of numbers: each is counted by one event loop, so nothing is locked, and can be sent and added up.

`dump` gives what JSON holds, `load` takes that back in another process, `absorb` adds another's to one's own.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

OTHER = "other"

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Upper bounds in seconds: from an answer on loopback to a language model that takes its time."""


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add to it."""
        self.value += amount

    def dec(self, amount: int = 1) -> None:
        """Take from it."""
        self.value -= amount


class Counts:
    """Events by the values of their labels.

    `most` is how many values each label may have; what comes beyond is `other`. A value that has a series keeps it:
    else a count would seem to have been begun anew.
    """

    __slots__ = ("_counts", "_known", "_most")

    def __init__(self, *most: int) -> None:
        self._most = most
        self._known: tuple[set[str], ...] = tuple([set() for _ in most])
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        """Count events."""
        if labels not in self._counts:
            labels = self._named(labels)
        self._counts[labels] = self._counts.get(labels, 0) + amount

    def items(self) -> Iterable[tuple[tuple[str, ...], int]]:
        """Return each combination of values with its count."""
        return self._counts.items()

    def share(self, names: "Counts") -> None:
        """Let the values that have a series be the same here and there, now and later."""
        self._known = names._known  # noqa: SLF001 - one of us

    def dump(self) -> Any:
        """Return what JSON holds."""
        return [[list(labels), count] for labels, count in self._counts.items()]

    def load(self, dumped: Any) -> None:
        """Take what another has dumped. Raises `ValueError`, `TypeError`."""
        for labels, count in dumped:
            self.add(tuple(labels), int(count))

    def absorb(self, other: "Counts") -> None:
        """Add another's."""
        for labels, count in other.items():
            self.add(labels, count)

    def _named(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        named = []
        for value, known, most in zip(labels, self._known, self._most, strict=True):
            if value in known or len(known) < most:
                known.add(value)
                named.append(value)
            else:
                named.append(OTHER)
        return tuple(named)


class Durations:
    """How long something took: how many in each bucket, and their seconds together."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def dump(self) -> Any:
        """Return what JSON holds."""
        return [self.buckets, self.seconds]

    def load(self, dumped: Any) -> None:
        """Take what another has dumped. Raises `ValueError`, `TypeError`."""
        buckets, seconds = dumped
        if len(buckets) != len(self.buckets):
            raise ValueError("these are other buckets")
        self.buckets, self.seconds = [int(count) for count in buckets], float(seconds)

    def absorb(self, other: "Durations") -> None:
        """Add another's."""
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
