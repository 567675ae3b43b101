"""Counts of every request, for the tallies of the store: kept in plain integers until somebody comes for them.

A request is one cell's: of its five minutes, app, connection and client. What each of these has is added up when it is
written, so that a request costs one look-up here.

A caller names connections as it likes; counted by name are those that were let in, which have an app, and the clients
whose token was shown. There may be `MOST` cells; what comes then is counted for its app and for all.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.store.rows import LATENCIES, LATENCY

if TYPE_CHECKING:
    from gateway.proxy.access_log import Entry

SPAN = 300
"""Seconds of a cell: the shortest span that the store has."""
MOST = 20_000
"""Cells between two writes, some 8 MB: nobody has as many connections at work in five seconds."""
REFUSED, FAILED, REFRESHED, RENEWED, NOT_RENEWED, FIRST = range(6)
"""Where in a cell's counts: how it ended, and from `FIRST` on how long it took."""

_SIZE = FIRST + len(LATENCIES)
_CALLER_GONE = 499

Key = tuple[int, str, str, str]
"""Number of the span since the epoch, app, connection, client; empty where it isn't known."""


class Cell:
    """The counts of one key. `seconds` are those of all that were not refused."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * _SIZE
        self.seconds = 0.0


class Tally:
    """The counts since they were last taken."""

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}

    def add(self, entries: "Iterable[Entry]") -> None:
        """Count these requests."""
        cells = self._cells
        for entry in entries:
            app = entry.app
            key = (int(entry.at) // SPAN, app, entry.connection if app else "", entry.client)
            cell = cells.get(key)
            if cell is None:
                cell = self._cell(key)
            status, code = entry.status, entry.code
            if status >= 500 or (code and status < 400):  # noqa: PLR2004 - server errors; an answer that was cut off
                cell.counts[FAILED] += 1
            elif code and status != _CALLER_GONE:
                cell.counts[REFUSED] += 1
                continue
            cell.counts[FIRST + bisect_left(LATENCY, entry.seconds)] += 1
            cell.seconds += entry.seconds
            if entry.refreshed:
                cell.counts[REFRESHED] += 1

    def turned_away(self, at: float) -> None:
        """Count a request of nobody that we know, or of no HTTP, which the log hasn't."""
        self._cell((int(at) // SPAN, "", "", "")).counts[REFUSED] += 1

    def renewal(self, at: float, app: str, connection: str, *, renewed: bool) -> None:
        """Count one call of a token endpoint."""
        cell = self._cell((int(at) // SPAN, app, connection, ""))
        cell.counts[RENEWED if renewed else NOT_RENEWED] += 1

    def take(self) -> dict[Key, Cell]:
        """Return what was counted, and begin anew."""
        cells, self._cells = self._cells, {}
        return cells

    def _cell(self, key: Key) -> Cell:
        """Return the cell of this key, or the one of its app where there are too many."""
        if key not in self._cells and len(self._cells) >= MOST:
            key = (key[0], key[1], "", "")
        return self._cells.setdefault(key, Cell())
