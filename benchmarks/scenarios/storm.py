"""A revoked token, and a thousand callers who find out at the same moment.

Each has asked before on the connection that it keeps. All of them must be answered 200, after exactly one call to the
token endpoint, which takes its time.
"""

import json
import urllib.request
from functools import partial

from benchmarks.bench import PROVIDER_SECONDS, Bench
from benchmarks.callers import ask_at_once, crowd, request_of
from benchmarks.contenders import Running
from benchmarks.figures import Column, Outcome, Sample, percentile
from benchmarks.gateway_under_test import NOT_PROXIED, gateway
from benchmarks.goals import Goal
from benchmarks.proc import cpu_seconds
from benchmarks.rounds import in_turn
from benchmarks.scenarios.scenario import Scenario

CALLERS = 1_000
ROOM_MS = 250


def _storm(bench: Bench) -> Outcome:
    def ask_once(one: Running) -> None:
        with crowd(one, 1) as single:
            ask_at_once(single, request_of(one, f"{bench.sink}/guarded"))

    def measure(one: Running, _: int) -> Sample:
        request = request_of(one, f"{bench.sink}/guarded")
        with crowd(one, CALLERS) as callers:
            ask_at_once(callers, request)
            before, spent = _tell(bench, "POST", "/revoke"), cpu_seconds(one.pid)
            took = ask_at_once(callers, request)
            calls = _tell(bench, "GET", "/issued") - before
        return {
            "token_calls": calls,
            "p50_ms": percentile(took, 0.5) * 1e3,
            "p99_ms": percentile(took, 0.99) * 1e3,
            "last_ms": max(took) * 1e3,
            "cpu_ms": (cpu_seconds(one.pid) - spent) * 1e3,
        }

    starts = {"gateway": partial(gateway, bench.home, bench.work, connection="storm")}
    return in_turn(bench, starts, ask_once, measure)


def _tell(bench: Bench, method: str, path: str) -> int:
    """Ask the provider; returns how many token calls it has had."""
    with NOT_PROXIED.open(urllib.request.Request(bench.sink + path, method=method), timeout=10) as answer:
        return int(json.load(answer)["issued"])


STORM = Scenario(
    name="storm",
    what=f"{CALLERS:,} callers at once, their token revoked; the token endpoint takes {PROVIDER_SECONDS * 1e3:.0f} ms",
    columns=(
        Column(key="token_calls", title="token calls", digits=0, spread=True),
        Column(key="p50_ms", title="p50 ms", digits=0),
        Column(key="p99_ms", title="p99 ms", digits=0, spread=True),
        Column(key="last_ms", title="last ms", digits=0),
        Column(key="cpu_ms", title="CPU ms", digits=0),
    ),
    run=_storm,
    goals=(
        Goal(text="token calls", key="token_calls", at_most=1, at_least=1, digits=0),
        Goal(text="ms at p99", key="p99_ms", at_most=PROVIDER_SECONDS * 1e3 + ROOM_MS, digits=0),
    ),
)
