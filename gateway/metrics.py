"""What the gateway counts, and how it is shown to Prometheus.

The data plane counts in plain integers, because a request should cost well under a microsecond here; Prometheus' own
objects are built from them only when somebody scrapes. One event loop counts, so nothing is locked.

Where several processes serve, each worker sends its counts to the first one (`export`, `heard`), whose `/metrics` shows
all of them together. What a worker that died has counted stays counted.

No label ever holds a connection, client, app, host or path: the number of series is bounded, whatever is asked of the
gateway.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.errors import PROBLEMS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

ENTRANCES = ("absolute", "connect", "path")
CODES = frozenset(PROBLEMS) | {"ok"}
OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Upper bounds in seconds: from an answer on loopback to a language model that takes its time."""

_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
_STATUS_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
_MEMO = 2_048
"""Raw (entrance, status, code) triples remembered; honest traffic has some dozens, a hostile upstream makes no more."""
_OUTCOMES = 16
"""Refresh outcomes that get a series of their own."""


class Gauge:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add to it."""
        self.value += amount

    def dec(self, amount: int = 1) -> None:
        """Take from it."""
        self.value -= amount


class _Series:
    """The requests of one (entrance, status class, code): how many in each bucket, and their seconds together."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Metrics:
    """Every count of one process, and of the workers it has heard of. `exposition()` is what `/metrics` answers."""

    def __init__(self) -> None:
        self.client_connections = Gauge()
        self.upstream_connections = Gauge()
        self.tunnels = Gauge()
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._memo: dict[tuple[str, int, str], _Series] = {}
        self._refreshes: dict[str, int] = {}
        self._admin_refusals = {"unauthorized": 0, "rate_limited": 0}
        self._workers: dict[int, Metrics] = {}
        self._registry: CollectorRegistry | None = None

    def request(self, code: str, status: int, seconds: float, entrance: str) -> None:
        """Count one answered request.

        `code` is a code of `errors.PROBLEMS`, or `ok` (or empty) where upstream's answer went through; `entrance` is
        one of `ENTRANCES`. Anything else is counted as `other`.
        """
        series = self._memo.get((entrance, status, code))
        if series is None:
            series = self._find(entrance, status, code)
        series.buckets[bisect_left(BUCKETS, seconds)] += 1
        series.seconds += seconds

    def refresh(self, outcome: str) -> None:
        """Count one call of a token endpoint by how it ended."""
        if outcome not in self._refreshes and len(self._refreshes) >= _OUTCOMES:
            outcome = OTHER
        self._refreshes[outcome] = self._refreshes.get(outcome, 0) + 1

    def admin_refused(self, code: str) -> None:
        """Count one wrong admin token, or one that was not looked at: `unauthorized`, `rate_limited`."""
        self._admin_refusals[code] += 1

    def export(self) -> bytes:
        """Return the counts as one line of JSON, for `heard` in another process. Some 100 bytes for each series."""
        counts = {
            "series": [[*key, series.buckets, series.seconds] for key, series in self._series.items()],
            "refreshes": self._refreshes,
            "gauges": [gauge.value for gauge in self._gauges()],
        }
        return json.dumps(counts, separators=(",", ":")).encode()

    def heard(self, worker: int, line: bytes) -> None:
        """Take the counts that a worker has sent in place of those it sent before. Raises `ValueError`."""
        counts, told = json.loads(line), Metrics()
        for entrance, status_class, code, buckets, seconds in counts["series"]:
            series = told._series[entrance, status_class, code] = _Series()
            series.buckets, series.seconds = buckets, seconds
        told._refreshes = counts["refreshes"]
        for gauge, value in zip(told._gauges(), counts["gauges"], strict=True):
            gauge.value = value
        self._workers[worker] = told

    def ended(self, worker: int) -> None:
        """Keep for good what a worker that is no more has counted; what it held open is closed."""
        told = self._workers.pop(worker, None)
        if told is not None:
            self._add(told)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format 0.0.4."""
        from prometheus_client import generate_latest  # noqa: PLC0415  (70 ms of imports that only a scrape needs)

        return generate_latest(self.registry)

    @property
    def registry(self) -> "CollectorRegistry":
        """The registry of this object alone, made when first asked for."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415  (see `exposition`)

            registry = CollectorRegistry(auto_describe=False)
            registry.register(self)
            ProcessCollector(registry=registry)
            self._registry = registry
        return self._registry

    def describe(self) -> "list[Metric]":
        """Return nothing: our names don't depend on what was counted, so registering need not collect."""
        return []

    def collect(self) -> "Iterator[Metric]":
        """Yield the metric families as they stand now (prometheus-client's collector protocol)."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily  # noqa: PLC0415  (see `exposition`)

        yield InfoMetricFamily("gateway_build", "The program.", value={"version": __version__})
        total = Metrics()
        for one in (self, *self._workers.values()):
            total._add(one)
            for gauge, more in zip(total._gauges(), one._gauges(), strict=True):  # noqa: SLF001 - one of us
                gauge.inc(more.value)
        yield from total._requests_families()
        yield self._admin_family()
        for name, text, gauge in (
            ("gateway_client_connections", "Connections from callers that are open.", total.client_connections),
            ("gateway_upstream_connections", "Connections to services that are open.", total.upstream_connections),
            ("gateway_tunnels", "CONNECT and upgrade tunnels that are open.", total.tunnels),
        ):
            yield GaugeMetricFamily(name, text, value=gauge.value)

    def _requests_families(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415  (see `exposition`)

        requests = CounterMetricFamily(
            "gateway_requests", "Answered requests.", labels=["entrance", "status_class", "code"]
        )
        seconds = HistogramMetricFamily(
            "gateway_request_seconds", "Request's first byte to answer's last byte.", labels=["entrance"]
        )
        totals: dict[str, _Series] = {}
        for (entrance, status_class, code), series in self._series.items():
            requests.add_metric([entrance, status_class, code], sum(series.buckets))
            total = totals.setdefault(entrance, _Series())
            total.buckets = [a + b for a, b in zip(total.buckets, series.buckets, strict=True)]
            total.seconds += series.seconds
        for entrance, total in totals.items():
            buckets = list(zip(_BOUNDS, accumulate(total.buckets), strict=True))
            seconds.add_metric([entrance], buckets, total.seconds)
        refreshes = CounterMetricFamily(
            "gateway_refreshes", "Token endpoint calls by how they ended.", labels=["outcome"]
        )
        for outcome, count in self._refreshes.items():
            refreshes.add_metric([outcome], count)
        yield from (requests, seconds, refreshes)

    def _admin_family(self) -> "Metric":
        """Return what the web listener counts. It is in one process: no worker has any of it."""
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  (see `exposition`)

        refusals = CounterMetricFamily(
            "gateway_admin_refusals", "Admin tokens refused: wrong, or one of too many tries.", labels=["code"]
        )
        for code, count in self._admin_refusals.items():
            refusals.add_metric([code], count)
        return refusals

    def _gauges(self) -> tuple[Gauge, ...]:
        return self.client_connections, self.upstream_connections, self.tunnels

    def _add(self, other: "Metrics") -> None:
        """Add what another has counted; its gauges tell of now and aren't counts."""
        for key, more in other._series.items():  # noqa: SLF001 - one of us
            series = self._series.setdefault(key, _Series())
            series.buckets = [a + b for a, b in zip(series.buckets, more.buckets, strict=True)]
            series.seconds += more.seconds
        for outcome, count in other._refreshes.items():  # noqa: SLF001 - as above
            self._refreshes[outcome] = self._refreshes.get(outcome, 0) + count

    def _find(self, entrance: str, status: int, code: str) -> _Series:
        """Return the series for this triple, with every label brought to one of its known values."""
        key = (
            entrance if entrance in ENTRANCES else OTHER,
            _STATUS_CLASSES.get(status // 100, OTHER),
            (code or "ok") if (code or "ok") in CODES else OTHER,
        )
        series = self._series.setdefault(key, _Series())
        if len(self._memo) < _MEMO:
            self._memo[entrance, status, code] = series
        return series
