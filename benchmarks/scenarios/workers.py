"""Two workers on two processors, against one.

Nobody has a processor left for the load here, so requests per second would say how the kernel shared the two processors
among five programs. What is measured is a capacity: requests per CPU second of the busiest process. It is twice as much
where each worker gets half of the requests and none of them costs more than before. Connections that are shared out
unevenly, and work that the workers do twice, make it less. The connections are many, because the kernel deals them out
by chance. The one worker has its processor to itself, as everywhere else here; the two share theirs with the load,
which counts against them.
"""

from functools import partial

from benchmarks.bench import PATH, TOKEN, Bench
from benchmarks.contenders import Running, prove
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.gateway_under_test import gateway
from benchmarks.goals import Goal
from benchmarks.proc import cpu_by_process
from benchmarks.processes import CPUS, LOAD_CPU, PROXY_CPU
from benchmarks.rounds import Start, in_turn
from benchmarks.scenarios.scenario import Scenario
from benchmarks.wrk import Load, drive

CONNECTIONS = 128  # as many as a worker keeps open to one origin: with more, one worker would dial anew all the time


def _workers(bench: Bench) -> Outcome:
    target = bench.origin + PATH

    def measure(one: Running, seconds: int) -> Sample:
        one.shorten_log()
        cpus = (LOAD_CPU,) if one.name == _name(1) else CPUS
        load = Load(target=target, headers=one.headers, connections=CONNECTIONS, cpus=cpus)
        before = cpu_by_process(one.pid)
        driven = drive(one.port, load, seconds=seconds, work=bench.work)
        spent = [now - before.get(pid, 0.0) for pid, now in cpu_by_process(one.pid).items()]
        return {
            "capacity": driven.requests / max(spent),
            "cpu_us": sum(spent) / driven.requests * 1e6,
            "busiest": max(spent) / sum(spent) * 100,
            "rate": driven.requests / driven.seconds,
        }

    starts: dict[str, Start] = {
        _name(number): partial(gateway, bench.home, bench.work, name=_name(number), cpus=cpus, WORKERS=str(number))
        for number, cpus in ((1, (PROXY_CPU,)), (2, CPUS))
    }
    return in_turn(bench, starts, lambda one: prove(one, target, TOKEN), measure)


def _name(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


WORKERS = Scenario(
    name="workers",
    what=f"requests per CPU second of the busiest process, small, {CONNECTIONS} connections",
    columns=(
        Column(key="capacity", title="requests per CPU s of the busiest", digits=0, spread=True),
        Column(key="busiest", title="its share, %", digits=0, spread=True),
        Column(key="cpu_us", title="CPU µs/request, all", spread=True),
        Column(key="rate", title="requests/s beside the load", digits=0),
    ),
    run=_workers,
    goals=(Goal(text="two workers, of one", key="capacity", of="2 workers", against="1 worker", at_least=1.8),),
)
