"""Medians, spreads and ratios: what a table and a verdict are made of."""

import pytest

from benchmarks.figures import Column, Outcome, Spread, percentile
from benchmarks.goals import Goal, Word
from benchmarks.rounds import joined

OUTCOME = Outcome(
    samples={
        "gateway": [{"cpu_us": 20.0}, {"cpu_us": 90.0}, {"cpu_us": 24.0}],
        "envoy": [{"cpu_us": 30.0}, {"cpu_us": 32.0}, {"cpu_us": 31.0}],
    }
)


def test_one_disturbed_round_moves_the_spread_and_not_the_median() -> None:
    assert OUTCOME.spread("gateway", "cpu_us") == Spread(median=24.0, low=20.0, high=90.0)


def test_a_figure_that_nobody_measured_is_none() -> None:
    assert OUTCOME.spread("gateway", "p50_ms") is None
    assert OUTCOME.spread("squid", "cpu_us") is None


@pytest.mark.parametrize(
    ("goal", "shown"),
    [
        (Goal(text="", key="cpu_us", against="envoy", at_most=0.8), "met 0.77"),
        (Goal(text="", key="cpu_us", against="envoy", at_most=0.75), "missed 0.77"),
        (Goal(text="", key="cpu_us", against="envoy", at_least=0.75), "met 0.77"),
        (Goal(text="", key="cpu_us", at_most=24, digits=0), "met 24"),
        (Goal(text="", key="cpu_us", at_least=24, at_most=24, digits=0), "met 24"),
        (Goal(text="", key="cpu_us", at_least=25, digits=0), "missed 24"),
        (Goal(text="", key="cpu_us", against="squid", at_most=0.65), "not measured"),
        (Goal(text="", key="cpu_us", of="squid", at_most=0.65), "not measured"),
    ],
)
def test_a_goal_is_a_ratio_of_medians_or_a_median(goal: Goal, shown: str) -> None:
    assert str(goal.verdict(OUTCOME)) == shown


def test_a_ratio_to_nothing_is_no_verdict() -> None:
    nothing = Outcome(samples={"gateway": [{"x": 1.0}], "envoy": [{"x": 0.0}]})
    assert Goal(text="", key="x", against="envoy", at_most=1).verdict(nothing).word is Word.OPEN


def test_a_goal_is_judged_by_what_was_measured_and_not_by_what_is_shown() -> None:
    """0.8004 is shown as 0.80, and is missed."""
    outcome = Outcome(samples={"gateway": [{"x": 0.8004}], "envoy": [{"x": 1.0}]})
    assert str(Goal(text="", key="x", against="envoy", at_most=0.8).verdict(outcome)) == "missed 0.80"


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_there(share: float, value: int) -> None:
    assert percentile(range(100, 0, -1), share) == value


def test_a_column_shows_the_spread_where_it_is_wanted() -> None:
    spread = Spread(median=1234.5, low=1000.0, high=2000.0)
    assert Column(key="", title="", digits=0).text(spread) == "1,234"
    assert Column(key="", title="", spread=True).text(spread) == "1,234.5 (1,000.0 to 2,000.0)"


def test_two_parts_of_a_scenario_become_one() -> None:
    memory = Outcome(samples={"gateway": [{"mib": 1.0}]}, refused={"envoy": "why"}, absent=["squid"])
    both = joined(OUTCOME, memory)
    assert both.spread("gateway", "mib") == Spread(median=1.0, low=1.0, high=1.0)
    assert both.spread("gateway", "cpu_us") == OUTCOME.spread("gateway", "cpu_us")
    assert (both.refused, both.absent) == ({"envoy": "why"}, ["squid"])
