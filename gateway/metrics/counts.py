"""Every count of one process, and of the workers it has heard of.

The data plane counts in plain integers, because a request should cost well under a microsecond here; Prometheus' own
objects are built from them only when somebody scrapes (`families`).

Where several processes serve, each worker sends its counts to the first one (`export`, `heard`), whose `/metrics` shows
all of them together. What a worker that died has counted stays counted.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from gateway.errors import PROBLEMS
from gateway.metrics.census import Census
from gateway.metrics.kinds import BUCKETS, OTHER, Counts, Durations, Gauge

ENTRANCES = ("absolute", "connect", "path")
CODES = frozenset(PROBLEMS) | {"ok", "caller_gone"}
APPS = 100
"""Apps that have series of their own: whoever has more sees them in the pages, one by one."""

_STATUS_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_MEMO = 2_048
"""Raw (entrance, status, code) triples remembered; honest traffic has some dozens, a hostile upstream makes no more."""
_OUTCOMES = 16
_SCOPES = 8
MAIN = "main"
"""What the process that answers `/metrics` is called among those that have figures."""


class Requests(Durations):
    """The requests of one (entrance, status class, code).

    `preparing` are the seconds until they were sent, `upstream` those until the service began to answer, all together.
    """

    __slots__ = ("preparing", "upstream")

    def __init__(self) -> None:
        super().__init__()
        self.preparing = self.upstream = 0.0

    def plus(self, other: "Requests") -> None:
        """Add another's."""
        self.absorb(other)
        self.preparing += other.preparing
        self.upstream += other.upstream


class Metrics:
    """The counts. `census` and `workers_died` are of the process that answers `/metrics` alone."""

    def __init__(self) -> None:
        self.client_connections = Gauge()
        self.client_connections_limit = Gauge()
        self.upstream_connections = Gauge()
        self.tunnels = Gauge()
        self.requests: dict[tuple[str, str, str], Requests] = {}
        self.refreshes = Counts(APPS, _OUTCOMES)
        self.throttles = Counts(_SCOPES)
        self.retries = Counts()
        self.store_errors = Counts(2)
        self.store_seconds = {"read": Durations(), "write": Durations()}
        self.admin_refusals = Counts(2)
        for code in ("unauthorized", "rate_limited"):
            self.admin_refusals.add((code,), 0)
        self.feed_seen = 0
        """The newest change that this process has taken up."""
        self.figures: Mapping[str, float] = {}
        """What the system says of this process (`process.FIGURES`), and `lag`: how many seconds its loop was late."""
        self.census = Census()
        self.workers_died = 0
        self._memo: dict[tuple[str, int, str], Requests] = {}
        self._workers: dict[int, Metrics] = {}

    # What is counted.

    def request(
        self, code: str, status: int, seconds: float, entrance: str, *, preparing: float = 0.0, upstream: float = 0.0
    ) -> None:
        """Count one answered request.

        `code` is a code of `errors.PROBLEMS`, or `ok` (or empty) where upstream's answer went through; `entrance` is
        one of `ENTRANCES`. Anything else is counted as `other`.
        """
        series = self._memo.get((entrance, status, code))
        if series is None:
            series = self._find(entrance, status, code)
        series.buckets[bisect_left(BUCKETS, seconds)] += 1
        series.seconds += seconds
        series.preparing += preparing
        series.upstream += upstream

    def refresh(self, outcome: str, app: str) -> None:
        """Count one call of a token endpoint by how it ended."""
        self.refreshes.add((app, outcome))

    def throttled(self, scope: str) -> None:
        """Count one request that had to wait or was refused for a limit; `scope` is whose: of a few words of ours."""
        self.throttles.add((scope,))

    def retried(self) -> None:
        """Count one request that was sent once more for its policy's sake."""
        self.retries.add(())

    def store(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Count one `read` or `write` of the store, from asking for a connection to its end."""
        self.store_seconds[operation].observe(seconds)
        if failed:
            self.store_errors.add((operation,))

    def admin_refused(self, code: str) -> None:
        """Count one wrong admin token, or one that was not looked at: `unauthorized`, `rate_limited`."""
        self.admin_refusals.add((code,))

    # From process to process.

    def export(self) -> bytes:
        """Return the counts as one line of JSON, for `heard` in another process. Some 100 bytes for each series."""
        counts = {
            "requests": [[*key, one.dump(), one.preparing, one.upstream] for key, one in self.requests.items()],
            "counts": [one.dump() for one in self._counts()],
            "store": {operation: one.dump() for operation, one in self.store_seconds.items()},
            "gauges": [gauge.value for gauge in self.gauges()],
            "seen": self.feed_seen,
            "figures": dict(self.figures),
        }
        return json.dumps(counts, separators=(",", ":")).encode()

    def heard(self, worker: int, line: bytes) -> None:
        """Take the counts that a worker has sent in place of those it sent before.

        Raises `ValueError`, `KeyError`, `TypeError`: the line is none of ours.
        """
        counts, told = json.loads(line), Metrics()
        for entrance, status_class, code, dumped, preparing, upstream in counts["requests"]:
            one = told.requests[entrance, status_class, code] = Requests()
            one.load(dumped)
            one.preparing, one.upstream = float(preparing), float(upstream)
        for mine, dumped in zip(told._counts(), counts["counts"], strict=True):
            mine.load(dumped)
        for operation, dumped in counts["store"].items():
            told.store_seconds[operation].load(dumped)
        for gauge, value in zip(told.gauges(), counts["gauges"], strict=True):
            gauge.value = int(value)
        told.feed_seen = int(counts["seen"])
        told.figures = {name: float(value) for name, value in counts["figures"].items()}
        self._workers[worker] = told

    def ended(self, worker: int, *, died: bool = True) -> None:
        """Keep for good what a worker that is no more has counted; what it held open is closed."""
        self.workers_died += died
        told = self._workers.pop(worker, None)
        if told is not None:
            self._add(told)

    def total(self) -> "Metrics":
        """Return what all processes have counted together."""
        total, workers = Metrics(), tuple(self._workers.values())
        for mine, summed in zip(self._counts(), total._counts(), strict=True):
            summed.share(mine)
        for one in (self, *workers):
            total._add(one)
            for gauge, more in zip(total.gauges(), one.gauges(), strict=True):
                gauge.inc(more.value)
        return total

    def processes(self) -> Iterator[tuple[str, "Metrics"]]:
        """Yield each process and its own counts; workers are called by their numbers."""
        yield MAIN, self
        for number, one in sorted(self._workers.items()):
            yield str(number), one

    @property
    def workers(self) -> int:
        """How many workers are there; where none was ever heard of, this process is the one that serves."""
        return len(self._workers) if self._workers or self.workers_died else 1

    # Inside.

    def gauges(self) -> tuple[Gauge, ...]:
        """Return what goes up and down."""
        return self.client_connections, self.client_connections_limit, self.upstream_connections, self.tunnels

    def _counts(self) -> tuple[Counts, ...]:
        return self.refreshes, self.throttles, self.retries, self.store_errors, self.admin_refusals

    def _add(self, other: "Metrics") -> None:
        """Add what another has counted; its gauges tell of now and aren't counts."""
        for key, more in other.requests.items():
            self.requests.setdefault(key, Requests()).plus(more)
        for mine, counts in zip(self._counts(), other._counts(), strict=True):  # noqa: SLF001 - one of us
            mine.absorb(counts)
        for operation, durations in other.store_seconds.items():
            self.store_seconds[operation].absorb(durations)

    def _find(self, entrance: str, status: int, code: str) -> Requests:
        """Return the series for this triple, with every label brought to one of its known values."""
        key = (
            entrance if entrance in ENTRANCES else OTHER,
            _STATUS_CLASSES.get(status // 100, OTHER),
            (code or "ok") if (code or "ok") in CODES else OTHER,
        )
        series = self.requests.setdefault(key, Requests())
        if len(self._memo) < _MEMO:
            self._memo[entrance, status, code] = series
        return series
