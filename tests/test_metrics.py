"""The counts: what they say, what they cost, and that their number is bounded."""

import subprocess
import sys
import time

import pytest

from gateway.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.exposition().decode().splitlines()


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
    assert 'gateway_request_seconds_bucket{entrance="connect",le="0.001"} 2.0' in text
    assert 'gateway_request_seconds_bucket{entrance="connect",le="0.0025"} 3.0' in text
    assert 'gateway_request_seconds_bucket{entrance="connect",le="120"} 3.0' in text
    assert 'gateway_request_seconds_bucket{entrance="connect",le="+Inf"} 4.0' in text
    assert 'gateway_request_seconds_count{entrance="connect"} 4.0' in text
    assert 'gateway_request_seconds_sum{entrance="connect"} 500.0026' in text


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


def test_refreshes_are_counted_by_outcome():
    metrics = Metrics()
    metrics.refresh("refreshed")
    metrics.refresh("refreshed")
    metrics.refresh("failed")
    assert 'gateway_refreshes_total{outcome="refreshed"} 2.0' in lines(metrics)
    assert 'gateway_refreshes_total{outcome="failed"} 1.0' in lines(metrics)


def test_refused_admin_tokens_are_counted_by_why_from_the_first_scrape_on():
    metrics = Metrics()
    assert 'gateway_admin_refusals_total{code="rate_limited"} 0.0' in lines(metrics)
    metrics.admin_refused("unauthorized")
    metrics.admin_refused("rate_limited")
    metrics.admin_refused("rate_limited")
    assert 'gateway_admin_refusals_total{code="unauthorized"} 1.0' in lines(metrics)
    assert 'gateway_admin_refusals_total{code="rate_limited"} 2.0' in lines(metrics)


def test_process_metrics_and_the_version_are_there():
    text = "\n".join(lines(Metrics()))
    assert "process_resident_memory_bytes " in text
    assert 'gateway_build_info{version="' in text


def test_ten_thousand_connections_and_hostile_labels_add_no_series():
    metrics = Metrics()
    metrics.request("ok", 200, 0.1, "absolute")
    metrics.request("bad", 999, 0.1, "bad")
    metrics.refresh("refreshed")
    for number in range(100):
        metrics.refresh(f"outcome-{number}")
    before = len(lines(metrics))
    for number in range(10_000):
        metrics.client_connections.inc()
        metrics.request("ok", 200, 0.1, "absolute")
        metrics.request(f"connection-{number}", 600 + number, 0.1, f"/c/connection-{number}")
        metrics.refresh(f"connection-{number}")
    assert len(lines(metrics)) == before
    assert len(metrics._memo) <= 2_048
    assert 'gateway_requests_total{code="other",entrance="other",status_class="other"} 10001.0' in lines(metrics)


def test_two_objects_do_not_share_a_registry():
    one, other = Metrics(), Metrics()
    one.request("ok", 200, 0.1, "absolute")
    assert not [line for line in lines(other) if line.startswith("gateway_requests_total{")]


def test_counting_a_request_costs_about_a_microsecond_at_most():
    metrics = Metrics()
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        for _ in range(20_000):
            metrics.request("ok", 200, 0.003, "absolute")
        best = min(best, (time.process_time() - start) / 20_000)
    assert best < 2e-6  # 0.3 µs on the machine this was written on; the margin is for slow ones


def test_counting_imports_no_prometheus():
    program = (
        "import sys, gateway.metrics; gateway.metrics.Metrics().request('ok', 200, .1, 'path'); print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "prometheus_client" not in modules


def test_what_a_worker_sends_is_shown_with_ones_own_and_stays_when_it_ends():
    ours, worker = Metrics(), Metrics()
    for one in (ours, worker):
        one.request("ok", 200, 0.003, "absolute")
        one.refresh("refreshed")
        one.client_connections.inc(2)
    ours.heard(0, worker.export())
    worker.request("ok", 200, 0.003, "absolute")
    ours.heard(0, worker.export())  # in place of the first, not beside it
    assert ours.registry.get_sample_value("gateway_client_connections") == 4
    assert counted(ours) == (3, 2)
    ours.ended(0)
    assert ours.registry.get_sample_value("gateway_client_connections") == 2
    assert counted(ours) == (3, 2)
    ours.heard(0, Metrics().export())  # the one that took its place begins at nothing
    assert counted(ours) == (3, 2)


def counted(metrics: Metrics) -> tuple[float | None, float | None]:
    labels = {"entrance": "absolute", "status_class": "2xx", "code": "ok"}
    requests = metrics.registry.get_sample_value("gateway_requests_total", labels)
    return requests, metrics.registry.get_sample_value("gateway_refreshes_total", {"outcome": "refreshed"})


@pytest.mark.parametrize("line", [b"", b"ready\n", b"{}\n", b"[1]\n"])
def test_a_line_that_is_no_count_changes_nothing(line: bytes):
    metrics = Metrics()
    with pytest.raises((ValueError, KeyError, TypeError)):
        metrics.heard(0, line)
    assert metrics.export() == Metrics().export()
