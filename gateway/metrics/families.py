"""The table of every metric, and how it is shown: `exposition` is what `/metrics` answers.

Names are Prometheus' way: `gateway_`, the thing, its base unit, `_total` for what only grows. Those of `process_` are
what Prometheus' own clients call them, so that what people have for any program works here too.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from gateway import __version__
from gateway.metrics import counts
from gateway.metrics.census import Census
from gateway.metrics.counts import Metrics, Requests
from gateway.metrics.kinds import BUCKETS, Counts, Durations

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
_COMPILED = "true" if (counts.__file__ or "").endswith((".so", ".pyd")) else "false"

Labels = tuple[str, ...]
Value = float | Durations


@dataclass(frozen=True, slots=True)
class Shown:
    """What a scrape shows: this process's own, and all processes' counts added up."""

    own: Metrics
    total: Metrics

    @property
    def census(self) -> Census:
        """The newest look at what isn't counted."""
        return self.own.census


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, as Prometheus names it. `read` gives its series: the labels' values, and the value."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    text: str
    read: Callable[[Shown], Iterable[tuple[Labels, Value]]]


def _one(value: float | None) -> Iterable[tuple[Labels, float]]:
    return () if value is None else (((), float(value)),)


def _by(found: Iterable[tuple[str, float]]) -> Iterable[tuple[Labels, float]]:
    return [((name,), value) for name, value in found]


def _of_process(figure: str) -> Callable[[Shown], Iterable[tuple[Labels, float]]]:
    def read(shown: Shown) -> Iterable[tuple[Labels, float]]:
        return _by((name, one.figures[figure]) for name, one in shown.own.processes() if figure in one.figures)

    return read


def _by_entrance(total: Metrics) -> dict[str, Requests]:
    found: dict[str, Requests] = {}
    for (entrance, _, _), requests in total.requests.items():
        found.setdefault(entrance, Requests()).plus(requests)
    return found


def _connections(census: Census) -> Iterable[tuple[Labels, int]]:
    """The first apps by their names have series of their own; which these are doesn't hang on what was seen before."""
    counted = Counts(counts.APPS, len(census.connections))
    for labels, count in sorted(census.connections.items()):
        counted.add(labels, count)
    return counted.items()


FAMILIES = (
    Family(
        "gateway_build_info",
        "gauge",
        ("version", "python", "compiled"),
        "1. What runs, and whether its data plane is machine code.",
        lambda _: [((__version__, platform.python_version(), _COMPILED), 1)],
    ),
    Family(
        "gateway_requests_total",
        "counter",
        ("entrance", "status_class", "code"),
        "Answered requests. `code` is `ok` where the service's answer went through, else why it didn't.",
        lambda shown: [(key, sum(one.buckets)) for key, one in shown.total.requests.items()],
    ),
    Family(
        "gateway_request_duration_seconds",
        "histogram",
        ("entrance",),
        "From a request's first byte to its answer's last.",
        lambda shown: [((entrance,), one) for entrance, one in _by_entrance(shown.total).items()],
    ),
    Family(
        "gateway_request_preparing_seconds_total",
        "counter",
        ("entrance",),
        "The part of that before a request was sent on: decided, its token renewed, a connection made.",
        lambda shown: _by((name, one.preparing) for name, one in _by_entrance(shown.total).items()),
    ),
    Family(
        "gateway_upstream_wait_seconds_total",
        "counter",
        ("entrance",),
        "The part of it from there until the service began to answer.",
        lambda shown: _by((name, one.upstream) for name, one in _by_entrance(shown.total).items()),
    ),
    Family(
        "gateway_throttled_total",
        "counter",
        ("scope",),
        "Requests that a limit of their policy held up or refused, by whose limit it was.",
        lambda shown: shown.total.throttles.items(),
    ),
    Family(
        "gateway_retries_total",
        "counter",
        (),
        "Requests that were sent once more because their policy says so.",
        lambda shown: shown.total.retries.items() or _one(0),
    ),
    Family(
        "gateway_client_connections",
        "gauge",
        (),
        "Connections from callers that are open.",
        lambda shown: _one(shown.total.client_connections.value),
    ),
    Family(
        "gateway_client_connections_limit",
        "gauge",
        (),
        "How many may be.",
        lambda shown: _one(shown.total.client_connections_limit.value),
    ),
    Family(
        "gateway_upstream_connections",
        "gauge",
        (),
        "Connections to services that are open.",
        lambda shown: _one(shown.total.upstream_connections.value),
    ),
    Family(
        "gateway_tunnels",
        "gauge",
        (),
        "CONNECT and upgrade tunnels that are open.",
        lambda shown: _one(shown.total.tunnels.value),
    ),
    Family(
        "gateway_refreshes_total",
        "counter",
        ("app", "outcome"),
        "Token endpoint calls by how they ended: `refreshed`, `needs_reauthorization`, `refused`, or what failed.",
        lambda shown: shown.total.refreshes.items(),
    ),
    Family(
        "gateway_connections",
        "gauge",
        ("app", "status"),
        "Connections in the store. The same on every replica: take the `max`.",
        lambda shown: _connections(shown.census),
    ),
    Family(
        "gateway_connections_retrying",
        "gauge",
        (),
        "Active ones whose last refresh failed and is tried again. The same on every replica.",
        lambda shown: _one(shown.census.retrying),
    ),
    Family(
        "gateway_upkeep_waiting",
        "gauge",
        ("chore",),
        "Revocations and webhook messages that are to be made, due or not yet. The same on every replica.",
        lambda shown: _by(shown.census.waiting.items()),
    ),
    Family(
        "gateway_upkeep_overdue_seconds",
        "gauge",
        ("chore",),
        "For how long the oldest piece of work has been due, renewals among them. The same on every replica.",
        lambda shown: _by(shown.census.overdue.items()),
    ),
    Family(
        "gateway_revocations_given_up",
        "gauge",
        (),
        "Tokens that nobody could revoke at their provider. The same on every replica.",
        lambda shown: _one(shown.census.given_up),
    ),
    Family(
        "gateway_store_up",
        "gauge",
        (),
        "1: the store answered when it was last asked.",
        lambda shown: _one(shown.census.store_up),
    ),
    Family(
        "gateway_store_operation_duration_seconds",
        "histogram",
        ("operation",),
        "Reads and writes of the store, from asking for a connection to its end.",
        lambda shown: [((name,), one) for name, one in shown.total.store_seconds.items()],
    ),
    Family(
        "gateway_store_errors_total",
        "counter",
        ("operation",),
        "Those that failed.",
        lambda shown: shown.total.store_errors.items(),
    ),
    Family(
        "gateway_change_feed_lag_seconds",
        "gauge",
        (),
        "For how long some process of this server hasn't heard of a change that is in the store.",
        lambda shown: _one(shown.census.feed_lag),
    ),
    Family(
        "gateway_policies",
        "gauge",
        ("state",),
        "Policies: those in use, and files with a fault, of which the last good state is in use.",
        lambda shown: [
            *((("loaded",), value) for _, value in _one(shown.census.policies)),
            *((("faulty",), value) for _, value in _one(shown.census.faulty)),
        ],
    ),
    Family(
        "gateway_ca_expiry_timestamp_seconds",
        "gauge",
        (),
        "When the certificate that callers of tunnels trust ends. The same on every replica.",
        lambda shown: _one(shown.census.ca_expires_at),
    ),
    Family(
        "gateway_data_key_created_timestamp_seconds",
        "gauge",
        (),
        "When the key that seals credentials was made. The same on every replica.",
        lambda shown: _one(shown.census.data_key_made_at),
    ),
    Family(
        "gateway_admin_refusals_total",
        "counter",
        ("code",),
        "Admin tokens refused: wrong, or one of too many tries.",
        lambda shown: shown.total.admin_refusals.items(),
    ),
    Family(
        "gateway_workers",
        "gauge",
        (),
        "Processes that serve the proxy port.",
        lambda shown: _one(shown.own.workers),
    ),
    Family(
        "gateway_workers_configured",
        "gauge",
        (),
        "How many there are to be.",
        lambda shown: _one(shown.census.workers),
    ),
    Family(
        "gateway_worker_deaths_total",
        "counter",
        (),
        "Workers that ended by themselves and were started again.",
        lambda shown: _one(shown.own.workers_died),
    ),
    Family(
        "gateway_event_loop_lag_seconds",
        "gauge",
        ("process",),
        "How late the event loop was at its latest in the last 15 seconds: what every request waits for.",
        _of_process("lag"),
    ),
    Family(
        "process_cpu_seconds_total",
        "counter",
        ("process",),
        "CPU time. `process` is `main`, which has the web listener, or a worker's number.",
        _of_process("cpu"),
    ),
    Family(
        "process_resident_memory_bytes",
        "gauge",
        ("process",),
        "Memory in use; what processes share counts in each.",
        _of_process("resident"),
    ),
    Family(
        "process_virtual_memory_bytes",
        "gauge",
        ("process",),
        "Address space.",
        _of_process("virtual"),
    ),
    Family("process_open_fds", "gauge", ("process",), "Open files, sockets among them.", _of_process("files")),
    Family("process_max_fds", "gauge", ("process",), "How many may be.", _of_process("files_limit")),
    Family(
        "process_start_time_seconds",
        "gauge",
        ("process",),
        "When the process began.",
        _of_process("started"),
    ),
)


def exposition(metrics: Metrics) -> bytes:
    """Return everything in Prometheus' text format 0.0.4."""
    from prometheus_client import generate_latest  # noqa: PLC0415 - 70 ms of imports that only a scrape needs

    return generate_latest(registry(metrics))


def registry(metrics: Metrics) -> "CollectorRegistry":
    """Return a registry of these counts alone."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - as above

    made = CollectorRegistry(auto_describe=False)
    made.register(_Collector(metrics))
    return made


class _Collector:
    """Gives the families as they stand (prometheus-client's collector protocol)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> "list[Metric]":
        """Return nothing: our names don't depend on what was counted, so registering need not collect."""
        return []

    def collect(self) -> "Iterator[Metric]":
        """Yield each family."""
        shown = Shown(self._metrics, self._metrics.total())
        for family in FAMILIES:
            yield _metric(family, shown)


def _metric(family: Family, shown: Shown) -> Any:
    from prometheus_client.core import (  # noqa: PLC0415 - as above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    metric: Any = kinds[family.kind](family.name, family.text, labels=family.labels)
    for labels, value in family.read(shown):
        if isinstance(value, Durations):
            metric.add_metric(labels, list(zip(_BOUNDS, accumulate(value.buckets), strict=True)), value.seconds)
        else:
            metric.add_metric(labels, value)
    return metric
