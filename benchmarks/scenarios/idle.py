"""What a caller's connection costs in memory while nothing is asked on it. Each sample has a process of its own.

Some connections come and go first, so that what is made once for all of them isn't counted as theirs.
"""

import time

from benchmarks.bench import PATH, TOKEN, Bench
from benchmarks.callers import ask_in_turn, crowd, request_of
from benchmarks.contenders import Running, prove
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.goals import Goal
from benchmarks.proc import proportional
from benchmarks.rounds import anew
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.small import start

COUNT, FIRST = 2_000, 100
SETTLE_SECONDS = 1.0


def _idle(bench: Bench) -> Outcome:
    target = bench.origin + PATH

    def measure(one: Running, _: int) -> Sample:
        request = request_of(one, target)
        with crowd(one, FIRST) as some:
            ask_in_turn(some, request)
        time.sleep(SETTLE_SECONDS)
        before = proportional(one.pid)
        with crowd(one, COUNT) as callers:
            ask_in_turn(callers, request)
            time.sleep(SETTLE_SECONDS)
            after = proportional(one.pid)
        return {"kib": (after - before) / COUNT / 1024, "before_mib": before / 2**20, "after_mib": after / 2**20}

    starts = {name: start(name, bench) for name in ("gateway", "nginx", "envoy")}
    return anew(bench, starts, lambda one: prove(one, target, TOKEN), measure, times=3 if bench.pace.is_full else 1)


IDLE = Scenario(
    name="idle",
    what=f"memory (PSS) for each of {COUNT:,} connections that made one request and stay open",
    columns=(
        Column(key="kib", title="KiB per connection", spread=True),
        Column(key="before_mib", title="before, MiB", digits=0),
        Column(key="after_mib", title="with them, MiB", digits=0),
    ),
    plot="kib",
    run=_idle,
    goals=(Goal(text="memory per idle connection, of Envoy's", key="kib", against="envoy", at_most=1),),
)
