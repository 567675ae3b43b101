"""A B C, A B C: every contender in turn, round after round, so that what the machine does meanwhile meets them all.

All of them run the whole time; the ones that nobody asks cost nothing. The first round only warms up.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial

from benchmarks.bench import Bench
from benchmarks.contenders import Running
from benchmarks.figures import Outcome, Sample
from benchmarks.peers import Absent
from benchmarks.proc import cpu_busy, cpu_seconds, resident
from benchmarks.processes import PROXY_CPU, Refused
from benchmarks.wrk import Driven, Load, drive

WARM_UP_SECONDS = 1

Start = Callable[[], AbstractContextManager[Running]]
Measure = Callable[[Running, int], Sample]
"""Takes a sample of so many seconds. Raises `Refused`."""


def in_turn(
    bench: Bench,
    starts: Mapping[str, Start],
    proof: Callable[[Running], None],
    measure: Measure,
    *,
    warm_up: bool = True,
) -> Outcome:
    """Start all, let each prove itself, and measure them in turn."""
    refused: dict[str, str] = {}
    absent: list[str] = []
    with ExitStack() as stack:
        ready: dict[str, Running] = {}
        for name, start in starts.items():
            try:
                ready[name] = stack.enter_context(start())
                proof(ready[name])
            except Absent:
                absent.append(name)
            except Refused as reason:
                refused[name] = str(reason)
        alive = [one for name, one in ready.items() if name not in refused]
        samples = _rounds(bench, alive, measure, refused, warm_up=warm_up)
    versions = {name: one.version for name, one in ready.items() if one.version}
    return Outcome(samples=samples, refused=refused, absent=absent, versions=versions)


def anew(
    bench: Bench, starts: Mapping[str, Start], proof: Callable[[Running], None], measure: Measure, *, times: int
) -> Outcome:
    """Measure in turn as well, but start everything anew for each sample: what a process keeps is not met again."""
    once = replace(bench, pace=replace(bench.pace, rounds=1))
    outcome = Outcome(samples={})
    for _ in range(times):
        outcome = joined(outcome, in_turn(once, starts, proof, measure, warm_up=False))
    return outcome


def joined(one: Outcome, other: Outcome) -> Outcome:
    """Return both outcomes' samples as one."""
    names = [*one.samples, *(name for name in other.samples if name not in one.samples)]
    return Outcome(
        samples={name: [*one.samples.get(name, ()), *other.samples.get(name, ())] for name in names},
        refused={**one.refused, **other.refused},
        absent=list(dict.fromkeys([*one.absent, *other.absent])),
        versions={**one.versions, **other.versions},
    )


def one_process(
    bench: Bench, start: Start, variants: Sequence[str], proof: Callable[[Running], None], measure: Measure
) -> Outcome:
    """Measure several ways to ask one process, as if each were a contender: no luck of the start is between them."""
    with ExitStack() as stack:
        running = stack.enter_context(start())
        starts: dict[str, Start] = {name: partial(nullcontext, replace(running, name=name)) for name in variants}
        return in_turn(bench, starts, proof, measure)


def _rounds(
    bench: Bench, contenders: Sequence[Running], measure: Measure, refused: dict[str, str], *, warm_up: bool
) -> dict[str, list[Sample]]:
    """Measure those that aren't refused, which `refused` gets while it goes on."""
    samples: dict[str, list[Sample]] = {one.name: [] for one in contenders}
    for number in range(0 if warm_up else 1, bench.pace.rounds + 1):
        for one in contenders:
            if one.name in refused:
                continue
            try:
                sample = measure(one, bench.pace.seconds if number else WARM_UP_SECONDS)
            except Refused as reason:
                refused[one.name] = str(reason)
                bench.say(f"  {one.name} is refused: {reason}")
                continue
            if number:
                samples[one.name].append(sample)
                shown = ", ".join(f"{key} {value:,.2f}" for key, value in sample.items())
                bench.say(f"  {number}/{bench.pace.rounds} {one.name}: {shown}")
    return {name: some for name, some in samples.items() if some and name not in refused}


def under_load(one: Running, load: Load, *, seconds: int, bench: Bench) -> Sample:
    """Drive a contender with wrk, and return what it cost."""
    sample, _ = with_cost(one, lambda: drive(one.port, load, seconds=seconds, work=bench.work))
    return sample


def with_cost(one: Running, work: Callable[[], Driven]) -> tuple[Sample, Driven]:
    """Do work through a contender, and return what it cost. Raises `Refused` where it had no part in it."""
    one.shorten_log()
    spent, busy, clock = cpu_seconds(one.pid), cpu_busy(PROXY_CPU), time.monotonic()
    driven = work()
    spent = cpu_seconds(one.pid) - spent
    busy, clock = cpu_busy(PROXY_CPU) - busy, time.monotonic() - clock
    if not spent:
        raise Refused(f"process {one.pid} did no work: something else answers on port {one.port}")
    sample = {
        "cpu_us": spent * 1e6 / driven.requests,
        "rate": driven.requests / driven.seconds,
        "p50_ms": driven.p50_ms,
        "p99_ms": driven.p99_ms,
        "rss_mib": resident(one.pid) / 2**20,
        "others": max(0.0, busy - spent) / clock * 100,
    }
    return sample, driven
