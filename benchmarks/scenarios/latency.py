"""What a proxy adds to the time of one request: one connection, against asking upstream directly in the same round."""

from benchmarks.bench import PATH, TOKEN, Bench
from benchmarks.contenders import Running, prove
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.goals import Goal
from benchmarks.rounds import in_turn, under_load
from benchmarks.scenarios.scenario import CPU, OTHERS, Scenario
from benchmarks.scenarios.small import start
from benchmarks.wrk import Load, drive


def _latency(bench: Bench) -> Outcome:
    target = bench.origin + PATH
    direct = Load(target=PATH, headers=(f"Authorization: Bearer {TOKEN}",), connections=1)

    def measure(one: Running, seconds: int) -> Sample:
        # Directly asked right before each contender: the two of a pair have met the same machine.
        base = drive(bench.port, direct, seconds=1, work=bench.work)
        sample = under_load(one, Load(target=target, headers=one.headers, connections=1), seconds=seconds, bench=bench)
        added = {"p50_us": (sample["p50_ms"] - base.p50_ms) * 1e3, "p99_us": (sample["p99_ms"] - base.p99_ms) * 1e3}
        return {**sample, **added, "direct_p50_us": base.p50_ms * 1e3, "direct_p99_us": base.p99_ms * 1e3}

    starts = {name: start(name, bench) for name in ("gateway", "nginx", "envoy")}
    return in_turn(bench, starts, lambda one: prove(one, target, TOKEN), measure)


LATENCY = Scenario(
    name="latency",
    what="latency that is added, one connection, a small JSON answer",
    columns=(
        Column(key="p50_us", title="added p50 µs", digits=0, spread=True),
        Column(key="p99_us", title="added p99 µs", digits=0, spread=True),
        Column(key="direct_p50_us", title="direct p50 µs", digits=0),
        Column(key="direct_p99_us", title="direct p99 µs", digits=0),
        CPU,
        OTHERS,
    ),
    plot="p50_us",
    run=_latency,
    goals=(
        Goal(text="added at p50, of Envoy's", key="p50_us", against="envoy", at_most=1),
        Goal(text="added at p99, of Envoy's", key="p99_us", against="envoy", at_most=1),
    ),
)
