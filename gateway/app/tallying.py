"""What a process has counted, on its way into the store: every few seconds, and once more at the end.

A store that is away costs nothing at first: the counts are kept and written later. Those of connections and clients are
given up before those of the apps and of all, which are few.
"""

import asyncio
from itertools import islice

import structlog

from gateway.app.compose import Gateway
from gateway.app.tasks import tasks
from gateway.errors import GatewayError
from gateway.proxy.tally import FAILED, FIRST, NOT_RENEWED, REFRESHED, REFUSED, RENEWED, SPAN, Cell, Key
from gateway.store.rows import TallyRow
from gateway.store.tallies import SPANS

WRITE_SECONDS = 5.0
"""A chart of five minutes' steps needs no sooner; a busy connection is one write in it and not a thousand."""
WAITING = 50_000
"""Counts of connections and clients that wait for a store that is away; as many again may be of apps and of all."""
PRUNE_SECONDS = 3_600
CELLS, ROWS = 100, 500
"""Added up, and written in one transaction, before whoever else has something to do gets its turn: requests come
meanwhile, and so may a rotated token that has to be written."""

RowKey = tuple[str, str, int, int]
"""Dimension, key, beginning, span."""

log = structlog.get_logger()


async def store_tallies(gateway: Gateway) -> None:
    """Write the counts every few seconds until cancelled, then once more; remove what is old, once an hour."""
    tallying = Tallying(gateway)
    # Beside: it is patient with the store, and the counts mustn't wait for it where that hangs.
    async with tasks(_prune(tallying)):
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                # Who is cancelled while it commits doesn't know whether it did, and would add the same once more.
                await asyncio.shield(tallying.write())
        except asyncio.CancelledError:
            await tallying.write()
            raise


async def _prune(tallying: "Tallying") -> None:
    while True:
        await asyncio.sleep(WRITE_SECONDS)
        await tallying.prune()


class Tallying:
    """The counts that have been taken and not been written."""

    def __init__(self, gateway: Gateway) -> None:
        self._tally, self._store, self._clock = gateway.tally, gateway.store, gateway.clock
        self._waiting: dict[RowKey, Cell] = {}
        self._prune_at = 0.0
        self._writing = asyncio.Lock()

    async def write(self) -> None:
        """Take what was counted, and add it to the store; what can't be added is there the next time. One at a time."""
        async with self._writing:
            await self._gather(self._tally.take())
            while self._waiting:
                some = list(islice(self._waiting, ROWS))
                try:
                    await self._store.tallies.add([_row(key, self._waiting[key]) for key in some])
                except GatewayError as error:
                    log.warning("tallies.not_stored", count=len(self._waiting), detail=error.refusal.detail)
                    return
                for key in some:
                    del self._waiting[key]

    async def prune(self) -> None:
        """Remove what is old."""
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        try:
            await self._store.tallies.prune(now=now)
        except GatewayError as error:
            log.warning("store.not_pruned", detail=error.refusal.detail)

    async def _gather(self, cells: dict[Key, Cell]) -> None:
        lost = 0
        for number, (key, cell) in enumerate(cells.items(), start=1):
            lost += sum(not self._add(row, cell) for row in _rows_of(key))
            if number % CELLS == 0:
                await asyncio.sleep(0)
        if lost:
            log.warning("tallies.lost", count=lost, hint="The store has been away for long.")

    def _add(self, row: RowKey, cell: Cell) -> bool:
        """Add a cell to its row; False: too many wait."""
        waiting = self._waiting.get(row)
        if waiting is None:
            few = row[0] in {"all", "app"}
            if len(self._waiting) >= (2 * WAITING if few else WAITING):
                return False
            waiting = self._waiting[row] = Cell()
        for at, count in enumerate(cell.counts):
            if count:
                waiting.counts[at] += count
        waiting.seconds += cell.seconds
        return True


def _rows_of(key: Key) -> list[RowKey]:
    """Return every row that a cell counts in."""
    number, app, connection, client = key
    at = number * SPAN
    named = {"all": "", "app": app, "connection": connection, "client": client}
    return [
        (dimension, name, at - at % span, span)
        for dimension, name in named.items()
        if name or dimension == "all"
        for span in SPANS[dimension]
    ]


def _row(key: RowKey, cell: Cell) -> TallyRow:
    dimension, name, at, span = key
    counts = cell.counts
    return TallyRow(
        dimension=dimension,
        key=name,
        at=at,
        span=span,
        requests=counts[REFUSED] + sum(counts[FIRST:]),
        refused=counts[REFUSED],
        failed=counts[FAILED],
        refreshed=counts[REFRESHED],
        renewed=counts[RENEWED],
        not_renewed=counts[NOT_RENEWED],
        seconds=cell.seconds,
        latency=tuple(counts[FIRST:]),
    )
