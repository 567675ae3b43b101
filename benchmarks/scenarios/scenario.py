"""What a scenario is, and the columns that most of them share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.figures import Column, Outcome
from benchmarks.goals import Goal


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing that is measured. `plot` names the column that is drawn; empty: none."""

    name: str
    what: str
    goals: Sequence[Goal]
    columns: Sequence[Column]
    run: Callable[[Bench], Outcome]
    plot: str = ""


CPU = Column(key="cpu_us", title="CPU µs/request", spread=True)
OTHERS = Column(key="others", title="others on its CPU, %", digits=0)
HTTP = (
    CPU,
    Column(key="rate", title="requests/s", digits=0),
    Column(key="p50_ms", title="p50 ms", digits=2),
    Column(key="p99_ms", title="p99 ms", digits=2),
    Column(key="rss_mib", title="MiB", digits=0),
    OTHERS,
)
