"""Samples and what is said of them: the median, with the least and the most beside it. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Sample = Mapping[str, float]
"""One measurement of one contender: figures by their key."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The middle of some samples, and how far apart they were."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure as it is shown. `scale` turns what was measured into the unit."""

    key: str
    title: str
    digits: int = 1
    spread: bool = False

    def text(self, spread: Spread) -> str:
        """Return the median, with least and most where they are wanted."""
        middle = f"{spread.median:,.{self.digits}f}"
        if not self.spread:
            return middle
        return f"{middle} ({spread.low:,.{self.digits}f} to {spread.high:,.{self.digits}f})"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a scenario gave: the samples of each contender, round by round, and why others have none."""

    samples: Mapping[str, Sequence[Sample]]
    refused: Mapping[str, str] = field(default_factory=dict)
    absent: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def spread(self, contender: str, key: str) -> Spread | None:
        """Return a contender's figure; None: it has none."""
        values = [sample[key] for sample in self.samples.get(contender, ()) if key in sample]
        return Spread.of(values) if values else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below or at which this share of the values lies: the nearest rank, no value made up."""
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(rank, 1) - 1]
