"""Ten connections under ten policies, against a hundred thousand under a thousand. The gateway beside itself.

Asked over one connection and over ten in turn, the same in both stores; and in the big one over two thousand, as far
apart as they can be. Those are told and have no goal: what they add is two thousand upstream connections, because
connections are never shared between ids. Each has been used once before it is measured, because its first use reads the
store.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.bench import HERE, PATH, TOKEN, Bench
from benchmarks.contenders import Running, prove
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.fill import id_of
from benchmarks.gateway_under_test import HEADER, POLICY, Home, serving
from benchmarks.goals import Goal
from benchmarks.proc import resident
from benchmarks.processes import PROXY_CPU, Refused, environment
from benchmarks.rounds import anew, in_turn, joined, under_load
from benchmarks.scenarios.scenario import HTTP, Scenario
from benchmarks.wrk import Load, drive

USED = 2_000
FIRST_USE_SECONDS = 5
"""Loading so many connections from the store, a millisecond and more for each, with room."""
STARTS = 3
SCRIPT = """
local requests, place = {{}}, 0
init = function()
  for tag in io.lines({tags}) do
    wrk.headers["Proxy-Authorization"] = tag
    requests[#requests + 1] = wrk.format()
  end
end
request = function()
  place = place % #requests + 1
  return requests[place]
end
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A store: how many connections under how many policies, and how many are asked over."""

    name: str
    connections: int
    policies: int

    def ids(self, count: int) -> list[str]:
        """Return so many connections, as far apart as they can be."""
        return [id_of(number) for number in range(0, self.connections, self.connections // count)]

    @property
    def ways(self) -> Mapping[str, int]:
        """Over how many connections it is asked, by name."""
        return {"one": 1, "ten": 10} | ({f"{USED:,}": USED} if self.connections >= USED else {})


SMALL = Size(name="10", connections=10, policies=10)
BIG = Size(name="100,000", connections=100_000, policies=1_000)


def _scale(bench: Bench) -> Outcome:
    homes = {size: _filled(bench, size) for size in (SMALL, BIG)}
    with _both(homes) as running:
        starts = {}
        for size, one in running.items():
            for way, load in _loads(bench, homes[size], size).items():
                name = f"{size.name}, {way}"
                starts[name] = (replace(one, name=name), load)
        loads = {name: load for name, (_, load) in starts.items()}

        def check(one: Running) -> None:
            prove(one, bench.origin + PATH, TOKEN)
            if loads[one.name].script:
                drive(one.port, loads[one.name], seconds=FIRST_USE_SECONDS, work=bench.work)

        def measure(one: Running, seconds: int) -> Sample:
            return under_load(one, loads[one.name], seconds=seconds, bench=bench)

        outcome = in_turn(bench, {name: partial(_as_it_is, one) for name, (one, _) in starts.items()}, check, measure)
    again = {f"{size.name}, one": partial(_start, home, f"{size.name}, one") for size, home in homes.items()}
    started = anew(bench, again, lambda _: None, _start_figures, times=STARTS)
    return joined(outcome, started)


def _start_figures(one: Running, _: int) -> Sample:
    return {"start_s": one.start_seconds, "start_mib": resident(one.pid) / 2**20}


def _start(home: Home, name: str):  # noqa: ANN202 - what `serving` returns
    return serving(home, name=name, connection=id_of(0), cpus=(PROXY_CPU,))


@contextmanager
def _as_it_is(one: Running) -> Iterator[Running]:
    yield one


@contextmanager
def _both(homes: Mapping[Size, Home]) -> Iterator[dict[Size, Running]]:
    small, big = homes
    with _start(homes[small], small.name) as one, _start(homes[big], big.name) as other:
        yield {small: one, big: other}


def _loads(bench: Bench, home: Home, size: Size) -> dict[str, Load]:
    def load(count: int) -> Load:
        tags = bench.work / f"tags-{size.connections}-{count}"
        tags.write_text("".join(f"{home.tag(own).partition(': ')[2]}\n" for own in size.ids(count)))
        script = "" if count == 1 else SCRIPT.format(tags=f'"{tags}"')
        return Load(target=bench.origin + PATH, headers=(home.tag(id_of(0)),), script=script)

    return {name: load(count) for name, count in size.ways.items()}


def _filled(bench: Bench, size: Size) -> Home:
    """Make a gateway's directory of this size."""
    bench.say(f"  filling a store with {size.connections:,} connections under {size.policies:,} policies")
    home = Home(folder=bench.work / f"scale-{size.connections}", ca=bench.ca, token="", site=bench.site)
    home.folder.mkdir()
    policy = POLICY.format(origin=bench.origin, tls=bench.tls_origin, sink=bench.sink) + HEADER
    done = subprocess.run(
        [sys.executable, str(HERE / "fill.py"), str(home.folder), str(size.policies), str(size.connections)],
        cwd=home.folder,
        env=environment(home.settings),
        input=policy.replace('"Bench"', '"Bench {number}"'),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"the store could not be filled: {done.stderr[-600:]}")
    return replace(home, token=done.stdout.strip())


SCALE = Scenario(
    name="scale",
    what="connections in the store (10 under 10 policies, 100,000 under 1,000) and how many of them are asked over",
    columns=(
        *HTTP,
        Column(key="start_s", title="start, s", digits=2, spread=True),
        Column(key="start_mib", title="MiB at the start", digits=0),
    ),
    run=_scale,
    goals=(
        Goal(text="CPU, one connection", key="cpu_us", of="100,000, one", against="10, one", at_most=1.05, digits=3),
        Goal(text="CPU, ten connections", key="cpu_us", of="100,000, ten", against="10, ten", at_most=1.05, digits=3),
        Goal(text="p50, one connection", key="p50_ms", of="100,000, one", against="10, one", at_most=1.05, digits=3),
        Goal(text="p50, ten connections", key="p50_ms", of="100,000, ten", against="10, ten", at_most=1.05, digits=3),
        Goal(text="seconds until both ports answer", key="start_s", of="100,000, one", at_most=2),
    ),
)
