"""Which connections patterns cover just now, quickly for as many as there are: the ids are in order."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from gateway.access import Pattern

_LAST = "\x7f"
"""Behind every character that an id has."""


class Coverage:
    """The ids of connections, in the order of their characters, as `Connections.ids` gives them."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = list(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, patterns: Iterable[str]) -> list[str]:
        """Return the ids that any of the patterns covers, in order."""
        found = [self._covered(pattern) for pattern in dict.fromkeys(patterns)]
        return found[0] if len(found) == 1 else sorted(set().union(*found))

    def _covered(self, pattern: str) -> list[str]:
        """Look only at the ids that begin as the pattern does."""
        beginning, star, rest = pattern.partition("*")
        start = bisect_left(self._ids, beginning)
        if not star:
            return self._ids[start : start + 1] if self._ids[start : start + 1] == [pattern] else []
        some = self._ids[start : bisect_left(self._ids, beginning + _LAST)]
        if not rest.strip("*"):
            return some
        matches = Pattern.parse(pattern).matches
        return [one for one in some if matches(one)]
