"""What came of an import: for each provider a policy or none, what it lacks, and all of it counted."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_T = TypeVar("_T")
Told = Callable[[int, int], None]
"""What is told how many are done, and of how many."""
_LONGEST = 200  # characters of what a file says that are repeated in a reason


class Outcome(StrEnum):
    """How much of a provider the policy says."""

    WHOLE = "whole"
    PART = "part"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that couldn't be expressed. `what` is the same for every provider that lacks it, `detail` its own."""

    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.detail[:_LONGEST]})" if self.detail else self.what


class NotImportable(Exception):
    """What couldn't be expressed is needed for every request, so there is no policy; `lack` says what it is."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.lack = Lack(what, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One provider. `kind` is its file's word for how it authenticates; `text` the policy, None: there is none.

    `lacks` says what the policy lacks, or why there is none; `notes` what to know about it, though nothing is missing.
    """

    name: str
    kind: str
    text: str | None = None
    lacks: tuple[Lack, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """How much of the provider the policy says."""
        if self.text is None:
            return Outcome.NONE
        return Outcome.PART if self.lacks else Outcome.WHOLE


def untold(_done: int, _all: int) -> None:
    """Nobody wants to know how far it is."""


def each(entries: Sequence[_T], convert: Callable[[_T], Imported], told: Told) -> list[Imported]:
    """Convert one entry after the other, and tell how far it is."""
    found = []
    for number, entry in enumerate(entries):
        found.append(convert(entry))
        told(number + 1, len(entries))
    return found


def by_kind(found: Iterable[Imported]) -> Mapping[str, Mapping[Outcome, int]]:
    """Count the outcomes of each kind, the most frequent kind first."""
    kinds: dict[str, Counter[Outcome]] = {}
    for one in found:
        kinds.setdefault(one.kind, Counter())[one.outcome] += 1
    return dict(sorted(kinds.items(), key=lambda item: (-item[1].total(), item[0])))


def ranked(found: Iterable[Imported]) -> list[tuple[str, list[str]]]:
    """Return every reason with the providers that have it, the most frequent first."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        for what in dict.fromkeys(lack.what for lack in one.lacks):
            reasons.setdefault(what, []).append(one.name)
    return sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
