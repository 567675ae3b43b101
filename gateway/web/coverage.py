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
        self._found: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, patterns: Iterable[str]) -> list[str]:
        """Return the ids that any of the patterns covers, in order."""
        found = [self._known(pattern) for pattern in dict.fromkeys(patterns)]
        return found[0] if len(found) == 1 else sorted(set().union(*found))

    def _known(self, pattern: str) -> list[str]:
        """Look once for each pattern: many clients have the same."""
        if pattern not in self._found:
            self._found[pattern] = self._covered(pattern)
        return self._found[pattern]

    def _covered(self, pattern: str) -> list[str]:
        """Look only at the ids that begin as the pattern does, and closely at those that end so."""
        beginning, star, rest = pattern.partition("*")
        start = bisect_left(self._ids, beginning)
        if not star:
            return self._ids[start : start + 1] if self._ids[start : start + 1] == [pattern] else []
        some = self._ids[start : bisect_left(self._ids, beginning + _LAST)]
        if not rest.strip("*"):
            return some
        end, matches = rest.rpartition("*")[2], Pattern.parse(pattern).matches
        return [one for one in some if one.endswith(end) and matches(one)]
