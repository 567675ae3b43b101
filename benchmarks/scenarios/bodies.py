"""Bodies in both directions: mebibytes per CPU second, and how much memory two gibibytes take on their way through.

Memory: the peak of resident memory is reset, one body passes, and what counts is the peak above what was resident.
"""

import subprocess
from collections.abc import Callable
from dataclasses import replace

from benchmarks.bench import FILES, TOKEN, Bench
from benchmarks.contenders import Running, prove
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.goals import Goal
from benchmarks.install import find
from benchmarks.proc import peak, reset_peak, resident
from benchmarks.processes import LOAD_CPU, Refused, environment, pinned
from benchmarks.rounds import anew, in_turn, joined, under_load
from benchmarks.scenarios.scenario import OTHERS, Scenario
from benchmarks.scenarios.small import start
from benchmarks.wrk import Load

MIB = 2**20
CONNECTIONS = {"100k": 32, "10m": 4}
PATIENCE = 120


def _bodies(bench: Bench) -> Outcome:
    """Throughput in turn; then, with programs started anew each time, the memory."""
    starts = {name: start(name, bench) for name in ("gateway", "envoy")}

    def check(one: Running) -> None:
        prove(one, f"{bench.origin}/v1/users/42", TOKEN)
        prove(one, f"{bench.sink}/sink", TOKEN, body="x" * 1024)

    throughput = in_turn(bench, starts, check, lambda one, seconds: _throughput(bench, one, seconds))
    memory = anew(bench, starts, check, lambda one, _: _memory(bench, one), times=3 if bench.pace.is_full else 1)
    return joined(throughput, memory)


def _throughput(bench: Bench, one: Running, seconds: int) -> Sample:
    sample: dict[str, float] = {}
    for size, connections in CONNECTIONS.items():
        down = Load(target=f"{bench.origin}/files/{size}", headers=one.headers, connections=connections)
        up = replace(down, target=f"{bench.sink}/sink", method="POST", body_bytes=FILES[size])
        for way, load in (("down", down), ("up", up)):
            cost = under_load(one, load, seconds=seconds, bench=bench)
            sample[f"{way}_{size}"] = FILES[size] / MIB / (cost["cpu_us"] / 1e6)
            sample["others"] = max(sample.get("others", 0.0), cost["others"])
    return sample


def _memory(bench: Bench, one: Running) -> Sample:
    one.shorten_log()
    return {
        "down_mib": _growth(one, lambda: _curl(one, f"{bench.origin}/files/2g")),
        "up_mib": _growth(one, lambda: _curl(one, f"{bench.sink}/sink", "-T", str(bench.work / "files" / "2g"))),
        "rss_mib": resident(one.pid) / MIB,
    }


def _growth(one: Running, work: Callable[[], None]) -> float:
    reset_peak(one.pid)
    before = resident(one.pid)
    work()
    return max(0, peak(one.pid) - before) / MIB


def _curl(one: Running, target: str, *more: str) -> None:
    """Send one body through, and check that all of it arrived."""
    fields = [word for line in one.headers for word in ("--proxy-header", line)]
    sized = "%{size_upload}" if "-T" in more else "%{size_download}"
    command = [
        *(str(find("curl")), "-s", "-o", "/dev/null", "-w", f"%{{http_code}} {sized}", "-m", str(PATIENCE)),
        *("-x", f"http://127.0.0.1:{one.port}", *fields, "-H", "Expect:", *more, target),
    ]
    if "-T" in more:
        command[1:1] = ["-X", "POST"]
    done = subprocess.run(
        pinned(command, (LOAD_CPU,)), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.stdout.decode() != f"200 {FILES['2g']}":
        raise Refused(f"a body of {FILES['2g']} bytes did not pass: {done.stdout.decode()}")


def _rate(key: str, title: str) -> Column:
    return Column(key=key, title=f"{title}, MiB per CPU s", digits=0, spread=True)


BODIES = Scenario(
    name="bodies",
    what="bodies of 100 KiB (32 connections) and 10 MiB (4), down to the caller and up to upstream; then 2 GiB",
    columns=(
        _rate("down_100k", "100 KiB down"),
        _rate("up_100k", "100 KiB up"),
        _rate("down_10m", "10 MiB down"),
        _rate("up_10m", "10 MiB up"),
        Column(key="down_mib", title="2 GiB down, MiB more"),
        Column(key="up_mib", title="2 GiB up, MiB more"),
        OTHERS,
    ),
    plot="down_100k",
    run=_bodies,
    goals=(
        Goal(text="100 KiB down, throughput per CPU second, of Envoy's", key="down_100k", against="envoy", at_least=1),
        Goal(text="100 KiB up, throughput per CPU second, of Envoy's", key="up_100k", against="envoy", at_least=1),
        Goal(text="10 MiB down, throughput per CPU second, of Envoy's", key="down_10m", against="envoy", at_least=1),
        Goal(text="10 MiB up, throughput per CPU second, of Envoy's", key="up_10m", against="envoy", at_least=1),
        Goal(text="MiB more while 2 GiB come down", key="down_mib", at_most=16, digits=1),
        Goal(text="MiB more while 2 GiB go up", key="up_mib", at_most=16, digits=1),
    ),
)
