"""Upstreams that answer 401 to a token just made for them: the token isn't what is wrong, and no other is asked for."""

from collections.abc import Callable

FIRST = 2.0  # seconds without a forced refresh after the first strike, doubled with each further one
LONGEST = 300.0
KEPT = 10_000  # connections


class Strikes:
    """Counts refreshes that didn't help, by connection. `clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._struck: dict[str, tuple[int, float]] = {}

    def add(self, connection_id: str) -> None:
        """Note one more where none counts for now; they are forgotten when the last one is long ago."""
        now = self._clock()
        count, until = self._struck.get(connection_id, (0, 0.0))
        if now < until:
            return  # those who asked at the same time are told the same once
        self._struck.pop(connection_id, None)
        count = 1 if now > until + LONGEST else count + 1
        if len(self._struck) >= KEPT:
            del self._struck[next(iter(self._struck))]
        self._struck[connection_id] = (count, now + min(FIRST * float(1 << min(count - 1, 20)), LONGEST))

    def are_out(self, connection_id: str) -> bool:
        """Whether a 401 is to be let through without a refresh for now."""
        struck = self._struck.get(connection_id)
        return struck is not None and self._clock() < struck[1]
