"""What is measured: each file one idea, each scenario with its goals."""

from benchmarks.scenarios.bodies import BODIES
from benchmarks.scenarios.body_injection import BODY_INJECTION
from benchmarks.scenarios.idle import IDLE
from benchmarks.scenarios.interception import HANDSHAKES, TLS
from benchmarks.scenarios.latency import LATENCY
from benchmarks.scenarios.scale import SCALE
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.small import PATH_SCENARIO, SMALL, VARIED_SCENARIO
from benchmarks.scenarios.storm import STORM
from benchmarks.scenarios.workers import WORKERS

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        SMALL,
        VARIED_SCENARIO,
        TLS,
        PATH_SCENARIO,
        LATENCY,
        BODIES,
        BODY_INJECTION,
        HANDSHAKES,
        IDLE,
        SCALE,
        WORKERS,
        STORM,
    )
}
