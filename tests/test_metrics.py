"""The counts: what they say, what they cost, and that their number is bounded."""

import re
import subprocess
import sys
import time
from collections import Counter

import pytest

from gateway.metrics import Metrics
from gateway.metrics.counts import CODES
from gateway.metrics.families import FAMILIES, exposition, registry
from gateway.metrics.process import FIGURES, figures


def lines(metrics: Metrics) -> list[str]:
    return exposition(metrics).decode().splitlines()


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return registry(metrics).get_sample_value(name, labels)


def test_a_request_is_counted_under_its_entrance_status_class_and_code():
    metrics = Metrics()
    metrics.request("", 204, 0.01, "absolute")
    metrics.request("ok", 200, 0.01, "absolute")
    metrics.request("target_not_allowed", 403, 0.0001, "path")
    text = lines(metrics)
    assert 'gateway_requests_total{code="ok",entrance="absolute",status_class="2xx"} 2.0' in text
    assert 'gateway_requests_total{code="target_not_allowed",entrance="path",status_class="4xx"} 1.0' in text


def test_the_histogram_is_cumulative_and_a_bound_belongs_to_its_own_bucket():
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.0011, 500.0):
        metrics.request("ok", 200, seconds, "connect")
    text = lines(metrics)
    assert 'gateway_request_duration_seconds_bucket{entrance="connect",le="0.001"} 2.0' in text
    assert 'gateway_request_duration_seconds_bucket{entrance="connect",le="0.0025"} 3.0' in text
    assert 'gateway_request_duration_seconds_bucket{entrance="connect",le="120"} 3.0' in text
    assert 'gateway_request_duration_seconds_bucket{entrance="connect",le="+Inf"} 4.0' in text
    assert 'gateway_request_duration_seconds_count{entrance="connect"} 4.0' in text
    assert 'gateway_request_duration_seconds_sum{entrance="connect"} 500.0026' in text


def test_what_a_request_waits_for_is_told_apart_by_whether_it_was_sent_on():
    metrics = Metrics()
    metrics.request("ok", 200, 0.5, "connect", preparing=0.125, upstream=0.25)
    metrics.request("ok", 502, 0.5, "connect", preparing=0.125)
    assert sample(metrics, "gateway_request_preparing_seconds_total", entrance="connect") == 0.25
    assert sample(metrics, "gateway_upstream_wait_seconds_total", entrance="connect") == 0.25


def test_gauges_follow_what_is_open():
    metrics = Metrics()
    metrics.client_connections.inc()
    metrics.client_connections.inc(2)
    metrics.client_connections.dec()
    metrics.tunnels.inc()
    metrics.upstream_connections.inc()
    text = lines(metrics)
    assert "gateway_client_connections 2.0" in text
    assert "gateway_tunnels 1.0" in text
    assert "gateway_upstream_connections 1.0" in text


def test_refreshes_are_counted_by_app_and_outcome():
    metrics = Metrics()
    metrics.refresh("refreshed", "crm")
    metrics.refresh("refreshed", "crm")
    metrics.refresh("upstream_timeout", "mail")
    assert 'gateway_refreshes_total{app="crm",outcome="refreshed"} 2.0' in lines(metrics)
    assert 'gateway_refreshes_total{app="mail",outcome="upstream_timeout"} 1.0' in lines(metrics)


def test_what_was_throttled_is_counted_by_whose_limit_it_was_and_retries_from_the_first_scrape_on():
    metrics = Metrics()
    assert "gateway_retries_total 0.0" in lines(metrics)
    metrics.throttled("connection")
    metrics.throttled("app")
    metrics.throttled("app")
    metrics.retried()
    text = lines(metrics)
    assert 'gateway_throttled_total{scope="app"} 2.0' in text
    assert 'gateway_throttled_total{scope="connection"} 1.0' in text
    assert "gateway_retries_total 1.0" in text


def test_uses_of_the_store_are_timed_and_failures_counted():
    metrics = Metrics()
    metrics.store("read", 0.002, failed=False)
    metrics.store("write", 0.2, failed=True)
    assert sample(metrics, "gateway_store_operation_duration_seconds_bucket", operation="read", le="0.0025") == 1
    assert sample(metrics, "gateway_store_operation_duration_seconds_sum", operation="write") == 0.2
    assert sample(metrics, "gateway_store_errors_total", operation="write") == 1


def test_refused_admin_tokens_are_counted_by_why_from_the_first_scrape_on():
    metrics = Metrics()
    assert 'gateway_admin_refusals_total{code="rate_limited"} 0.0' in lines(metrics)
    metrics.admin_refused("unauthorized")
    metrics.admin_refused("rate_limited")
    metrics.admin_refused("rate_limited")
    assert 'gateway_admin_refusals_total{code="unauthorized"} 1.0' in lines(metrics)
    assert 'gateway_admin_refusals_total{code="rate_limited"} 2.0' in lines(metrics)


def test_what_is_looked_up_shows_once_it_was_and_not_before():
    metrics = Metrics()
    assert not [line for line in lines(metrics) if line.startswith(("gateway_connections{", "gateway_store_up "))]
    census = metrics.census
    census.store_up, census.feed_lag, census.given_up = False, 0.0, 3
    census.connections = {("crm", "active"): 5, ("mail", "needs_reauthorization"): 2}
    census.waiting, census.overdue = {"deliveries": 4}, {"renewals": 1.5}
    census.policies, census.faulty = 7, 1
    text = lines(metrics)
    assert 'gateway_connections{app="crm",status="active"} 5.0' in text
    assert 'gateway_connections{app="mail",status="needs_reauthorization"} 2.0' in text
    assert 'gateway_upkeep_waiting{chore="deliveries"} 4.0' in text
    assert 'gateway_upkeep_overdue_seconds{chore="renewals"} 1.5' in text
    assert 'gateway_policies{state="faulty"} 1.0' in text
    assert {"gateway_store_up 0.0", "gateway_change_feed_lag_seconds 0.0", "gateway_revocations_given_up 3.0"} < set(
        text
    )


def test_the_version_is_there():
    assert 'gateway_build_info{compiled="' in "\n".join(lines(Metrics()))


def test_a_process_knows_its_own_figures(tmp_path):
    before = figures()
    assert set(FIGURES) <= before.keys() | {"files", "resident", "virtual", "started"}
    if sys.platform == "linux":
        with (tmp_path / "one").open("w"), (tmp_path / "other").open("w"):
            after = figures()
        assert after["files"] == before["files"] + 2
        assert after["resident"] > 1_000_000
        assert 0 < time.time() - after["started"] < 86_400


def test_each_process_shows_its_figures_under_its_own_name():
    ours, worker = Metrics(), Metrics()
    ours.figures, worker.figures = {"cpu": 1.5, "lag": 0.0}, {"cpu": 2.5, "files": 9.0, "lag": 0.25}
    ours.heard(0, worker.export())
    text = lines(ours)
    assert 'process_cpu_seconds_total{process="main"} 1.5' in text
    assert 'process_cpu_seconds_total{process="0"} 2.5' in text
    assert 'process_open_fds{process="0"} 9.0' in text
    assert 'gateway_event_loop_lag_seconds{process="0"} 0.25' in text
    ours.ended(0)
    assert not [line for line in lines(ours) if 'process="0"' in line]


def test_ten_thousand_connections_of_a_thousand_apps_and_hostile_labels_add_no_series():
    """The bound of docs/observability.md: what is asked of the gateway doesn't decide how much a scrape is."""
    metrics = Metrics()
    census: Counter[tuple[str, str]] = Counter()
    for number in range(10_000):
        app = f"app-{number % 1000:03}"
        census[app, "active" if number % 10 else "needs_reauthorization"] += 1
        metrics.client_connections.inc()
        metrics.request("ok", 200, 0.1, ("absolute", "connect", "path")[number % 3])
        metrics.request(f"connection-{number}", 600 + number, 0.1, f"/c/connection-{number}")
        metrics.refresh("refreshed" if number % 7 else "upstream_timeout", app)
        metrics.throttled(f"connection-{number}")
    metrics.census.connections = census
    by_name = Counter(re.split(r"[ {]", line)[0] for line in lines(metrics) if not line.startswith("#"))
    assert by_name["gateway_requests_total"] == 4
    assert by_name["gateway_refreshes_total"] <= 2 * 101
    assert by_name["gateway_connections"] <= 4 * 101
    assert by_name["gateway_throttled_total"] == 9
    assert by_name.total() < 700
    assert len(metrics._memo) <= 2_048
    assert sample(metrics, "gateway_requests_total", code="other", entrance="other", status_class="other") == 10_000
    assert sum(value for _, value in metrics.refreshes.items()) == 10_000
    assert sample(metrics, "gateway_connections", app="other", status="active") == 900 * 9


def test_the_worst_that_can_be_made_of_it_is_a_scrape_of_four_thousand_lines():
    metrics = Metrics()
    for entrance in ("absolute", "connect", "path", "x"):
        for status in (100, 200, 300, 400, 500, 600):
            for code in (*CODES, "x"):
                metrics.request(code, status, 0.1, entrance)
    for app in range(200):
        for outcome in range(30):
            metrics.refresh(f"o{outcome}", f"a{app}")
    metrics.census.connections = {(f"a{app}", status): 1 for app in range(200) for status in "abcd"}
    assert 2_500 < len(lines(metrics)) < 4_000


def test_an_app_that_has_a_series_keeps_it_whatever_a_worker_sees_first():
    """Else a count would go down, which Prometheus takes for a restart and counts everything anew."""
    ours, worker = Metrics(), Metrics()
    for number in range(100):
        worker.refresh("refreshed", f"app-{number}")
    ours.heard(1, worker.export())
    assert sample(ours, "gateway_refreshes_total", app="app-99", outcome="refreshed") == 1
    other = Metrics()
    other.refresh("refreshed", "late")
    ours.heard(0, other.export())
    ours.refresh("refreshed", "later")
    assert sample(ours, "gateway_refreshes_total", app="app-99", outcome="refreshed") == 1
    assert sample(ours, "gateway_refreshes_total", app="other", outcome="refreshed") == 2


def test_two_objects_share_nothing():
    one, other = Metrics(), Metrics()
    one.request("ok", 200, 0.1, "absolute")
    assert not [line for line in lines(other) if line.startswith("gateway_requests_total{")]


def test_counting_a_request_costs_about_a_microsecond_at_most():
    metrics = Metrics()
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        for _ in range(20_000):
            metrics.request("ok", 200, 0.003, "absolute", preparing=0.001, upstream=0.001)
        best = min(best, (time.process_time() - start) / 20_000)
    assert best < 2e-6  # 0.4 µs on the machine this was written on; the margin is for slow ones


def test_counting_imports_no_prometheus():
    program = (
        "import sys, gateway.metrics; gateway.metrics.Metrics().request('ok', 200, .1, 'path'); print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "prometheus_client" not in modules


def test_what_a_worker_sends_is_shown_with_ones_own_and_stays_when_it_ends():
    ours, worker = Metrics(), Metrics()
    for one in (ours, worker):
        one.request("ok", 200, 0.003, "absolute", preparing=0.5)
        one.refresh("refreshed", "crm")
        one.store("read", 0.001, failed=False)
        one.client_connections.inc(2)
    assert sample(ours, "gateway_workers") == 1, "where there are no others, this process serves"
    ours.heard(0, worker.export())
    worker.request("ok", 200, 0.003, "absolute")
    ours.heard(0, worker.export())  # in place of the first, not beside it
    assert sample(ours, "gateway_client_connections") == 4
    assert counted(ours) == (3, 2, 2, 1.0)
    ours.ended(0)
    assert sample(ours, "gateway_client_connections") == 2
    assert (sample(ours, "gateway_workers"), sample(ours, "gateway_worker_deaths_total")) == (0, 1)
    assert counted(ours) == (3, 2, 2, 1.0)
    ours.heard(0, Metrics().export())  # the one that took its place begins at nothing
    assert counted(ours) == (3, 2, 2, 1.0)
    assert sample(ours, "gateway_workers") == 1
    ours.ended(0, died=False)
    assert sample(ours, "gateway_worker_deaths_total") == 1


def counted(metrics: Metrics) -> tuple[float | None, ...]:
    return (
        sample(metrics, "gateway_requests_total", entrance="absolute", status_class="2xx", code="ok"),
        sample(metrics, "gateway_refreshes_total", app="crm", outcome="refreshed"),
        sample(metrics, "gateway_store_operation_duration_seconds_count", operation="read"),
        sample(metrics, "gateway_request_preparing_seconds_total", entrance="absolute"),
    )


@pytest.mark.parametrize("line", [b"", b"ready\n", b"{}\n", b"[1]\n", Metrics().export().replace(b"[0,", b"[")])
def test_a_line_that_is_no_count_changes_nothing(line: bytes):
    metrics = Metrics()
    with pytest.raises((ValueError, KeyError, TypeError)):
        metrics.heard(0, line)
    assert metrics.export() == Metrics().export()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_name_says_its_unit_and_whether_it_only_grows(family):
    """https://prometheus.io/docs/practices/naming/: our own prefix, base units, `_total` for counters."""
    assert re.fullmatch(r"(gateway|process)_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") is (family.kind == "counter")
    assert not re.search(r"milli|micro|minutes|hours|kilo|percent", family.name)
    assert family.text.endswith(".")
    assert not set(family.labels) & {"connection", "client", "host", "path", "le", "job", "instance"}
