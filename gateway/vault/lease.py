"""A refresh lease in the eyes of a process: one that it holds, and one that it watches lapse.

    0 s    20 s          30 s      35 s
    taken  the call has  the lease  who has watched it lie since then
           ended         lapses     takes it

Two processes whose clocks are less than 15 s apart never call the provider with one token: `tests/vault/model.py`.
"""

from dataclasses import dataclass

from gateway.store.rows import ConnectionRow

LEASE_SECONDS = 30.0  # design.md, "Tokens"
WATCH_SECONDS = 5.0  # longer than an owner pauses between two tries to write what it has in hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that is ours. `call_until`, by the loop's time, is counted from before it was asked for."""

    fence: int
    call_until: float


class Watch:
    """How long a lapsed lease has lain untouched before our eyes.

    Only what was waited between two looks counts, not how long a look took: the store was away then, for the owner too.
    """

    def __init__(self) -> None:
        self._fence: int | None = None
        self._seconds = 0.0

    def is_free(self, row: ConnectionRow, now: float) -> bool:
        """Whether the lease may be taken."""
        if row.lease_until is None:
            return True
        if row.lease_until >= now:
            self._fence = None
        elif row.fence != self._fence:
            self._fence, self._seconds = row.fence, 0.0
        return self._fence is not None and self._seconds >= WATCH_SECONDS

    def waited(self, seconds: float) -> None:
        """Count what was waited since the last look."""
        self._seconds += seconds
