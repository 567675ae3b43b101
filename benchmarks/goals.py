"""Goals: a figure of one contender beside another's of the same run, or beside a number. Pure.

Where the other contender wasn't measured there is no verdict, which is neither met nor missed.
"""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.figures import Outcome


class Word(StrEnum):
    """What became of a goal."""

    MET = "met"
    MISSED = "missed"
    OPEN = "not measured"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`of`'s median over `against`'s, or alone where that is empty, must be at most (or at least) `limit`."""

    text: str
    key: str
    of: str = "gateway"
    against: str = ""
    at_most: float | None = None
    at_least: float | None = None
    digits: int = 2

    def verdict(self, outcome: Outcome) -> "Verdict":
        """Return whether it is met."""
        value = self._value(outcome)
        if value is None:
            return Verdict(goal=self, word=Word.OPEN, value=None)
        is_met = (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)
        return Verdict(goal=self, word=Word.MET if is_met else Word.MISSED, value=value)

    def _value(self, outcome: Outcome) -> float | None:
        own = outcome.spread(self.of, self.key)
        if own is None or not self.against:
            return own and own.median
        other = outcome.spread(self.against, self.key)
        if other is None or not other.median:
            return None
        return own.median / other.median


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal and what it came to."""

    goal: Goal
    word: Word
    value: float | None

    def __str__(self) -> str:
        return self.word if self.value is None else f"{self.word} {self.value:.{self.goal.digits}f}"
