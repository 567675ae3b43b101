"""Every goal that we set ourselves is a goal of a scenario, with that bound."""

import pytest

from benchmarks.scenarios import SCENARIOS

GOALS = [
    ("small", "cpu_us", "envoy", "at_most", 0.8),
    ("small", "cpu_us", "squid", "at_most", 0.65),
    ("small", "cpu_us", "mitmproxy", "at_most", 1 / 25),
    ("varied", "cpu_us", "envoy", "at_most", 0.8),
    ("tls", "cpu_us", "mitmproxy", "at_most", 1 / 12),
    ("path", "cpu_us", "absolute-form", "at_most", 1.1),
    ("latency", "p50_us", "envoy", "at_most", 1),
    ("latency", "p99_us", "envoy", "at_most", 1),
    ("bodies", "down_100k", "envoy", "at_least", 1),
    ("bodies", "up_100k", "envoy", "at_least", 1),
    ("bodies", "down_10m", "envoy", "at_least", 1),
    ("bodies", "up_10m", "envoy", "at_least", 1),
    ("bodies", "down_mib", "", "at_most", 16),
    ("bodies", "up_mib", "", "at_most", 16),
    ("json", "cpu_us", "header", "at_most", 1.5),
    ("handshakes", "per_cpu_s", "mitmproxy", "at_least", 5),
    ("idle", "kib", "envoy", "at_most", 1),
    ("scale", "cpu_us", "10, one", "at_most", 1.05),
    ("scale", "cpu_us", "10, ten", "at_most", 1.05),
    ("scale", "p50_ms", "10, one", "at_most", 1.05),
    ("scale", "p50_ms", "10, ten", "at_most", 1.05),
    ("scale", "start_s", "", "at_most", 2),
    ("workers", "capacity", "1 worker", "at_least", 1.8),
    ("storm", "token_calls", "", "at_most", 1),
    ("storm", "token_calls", "", "at_least", 1),
    ("storm", "p99_ms", "", "at_most", 550),
]


@pytest.mark.parametrize(("scenario", "key", "against", "way", "limit"), GOALS)
def test_a_goal_has_its_scenario(scenario: str, key: str, against: str, way: str, limit: float) -> None:
    goals = [goal for goal in SCENARIOS[scenario].goals if (goal.key, goal.against) == (key, against)]
    assert goals
    assert {getattr(goal, way) for goal in goals} == {limit}


def test_there_is_no_scenario_without_a_goal() -> None:
    assert {name for name, *_ in GOALS} == set(SCENARIOS)


def test_what_a_goal_judges_and_a_picture_draws_is_a_column_of_the_table() -> None:
    for scenario in SCENARIOS.values():
        keys = {column.key for column in scenario.columns}
        assert {goal.key for goal in scenario.goals} <= keys
        assert scenario.plot in keys | {""}
