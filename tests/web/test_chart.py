"""Where a chart draws what: numbers in, places out."""

import pytest

from gateway.web.chart import HEIGHT, Times, bars, count_label, lines, nice, quantile, time_label

DAY = 86_400
MIDNIGHT = 20_000 * DAY
HOUR = Times(first=MIDNIGHT, step=900, count=4)


@pytest.mark.parametrize(
    ("top", "whole", "levels"),
    [
        (0, True, (0, 1)),
        (1, True, (0, 1)),
        (3, True, (0, 1, 2, 3)),
        (4, True, (0, 1, 2, 3, 4)),
        (5, True, (0, 2, 4, 6)),
        (1_640, True, (0, 500, 1_000, 1_500, 2_000)),
        (20_000, True, (0, 5_000, 10_000, 15_000, 20_000)),
        (10**12, True, (0, 5 * 10**11, 10**12)),
        (0.3, False, (0, 0.1, 0.2, 0.3)),
        (0.031, False, (0, 0.01, 0.02, 0.03, 0.04)),
        (30.0, False, (0, 10, 20, 30)),
    ],
)
def test_levels_are_few_round_and_reach_the_top(top, whole, levels):
    assert nice(top, whole=whole) == pytest.approx(levels)


@pytest.mark.parametrize("top", [1, 2, 7, 9, 10, 11, 99, 100, 101, 1234, 5000, 987_654])
def test_no_value_is_over_the_last_level_and_there_are_at_most_five(top):
    levels = nice(top, whole=True)
    assert levels[-1] >= top
    assert 2 <= len(levels) <= 6


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (950, "950"), (1000, "1k"), (1500, "1.5k"), (20_000, "20k"), (3e6, "3M"), (2.5e9, "2.5G")],
)
def test_a_count_has_few_digits(value, said):
    assert count_label(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0"), (0.0005, "0.5 ms"), (0.02, "20 ms"), (1.5, "1.5 s"), (30, "30 s")]
)
def test_a_time_has_its_unit(seconds, said):
    assert time_label(seconds) == said


def test_bars_stand_on_each_other_and_a_step_with_nothing_has_none():
    chart = bars(HOUR, {"failed": [1, 0, 0, 2], "answered": [3, 4, 0, 0]}, label=count_label)
    failed, answered = chart.shapes
    assert failed.path == "M37.5 120.0h175.0v40.0h-175.0zM787.5 80.0h175.0v80.0h-175.0z"
    assert answered.path == "M37.5 0.0h175.0v120.0h-175.0zM287.5 0.0h175.0v160.0h-175.0z"
    assert [(mark.at, mark.text) for mark in chart.levels] == [(100, "0"), (75, "1"), (50, "2"), (25, "3"), (0, "4")]


def test_one_failure_among_a_million_is_seen():
    chart = bars(HOUR, {"failed": [1, 0, 0, 0], "answered": [10**6, 0, 0, 0]}, label=count_label)
    assert chart.shapes[0].path == "M37.5 158.0h175.0v2.0h-175.0z"
    assert HEIGHT == 160


def test_nothing_at_all_draws_nothing_on_a_scale_that_is_one():
    for chart in (bars(HOUR, {"a": [0] * 4}, label=count_label), lines(HOUR, {"a": [None] * 4}, label=time_label)):
        assert [shape.path for shape in chart.shapes] == [""]
        assert len(chart.levels) == 2


def test_a_line_has_a_gap_where_nothing_was_measured_and_a_dot_where_one_is_alone():
    chart = lines(HOUR, {"p50": [0.1, 0.2, None, 0.4]}, label=time_label)
    assert chart.shapes[0].path == "M125.0 120.0h0L375.0 80.0M875.0 0.0h0"


def test_each_step_can_be_pointed_at():
    chart = bars(HOUR, {"a": [1, 2, 3, 4]}, label=count_label)
    assert (chart.columns, chart.column) == ((0.0, 250.0, 500.0, 750.0), 250.0)


@pytest.mark.parametrize(
    ("first", "step", "count", "labels"),
    [
        (8 * 3600, 300, 13, ["08:00", "08:15-", "08:30", "08:45-", "09:00"]),
        (8 * 3600 + 600, 300, 13, ["08:15-", "08:30", "08:45-", "09:00"]),
        (10 * 3600, 1800, 49, ["12:00", "15:00-", "18:00", "21:00-", "10-05", "03:00-", "06:00", "09:00-"]),
        (4 * 3600, 4 * 3600, 43, ["10-05-", "10-06", "10-07-", "10-08", "10-09-", "10-10", "10-11-"]),
    ],
)
def test_the_times_below_are_round_few_and_in_utc_and_at_midnight_the_day(first, step, count, labels):
    times = Times(first=MIDNIGHT + first, step=step, count=count)
    marks = bars(times, {"a": [1] * count}, label=count_label).times
    assert [mark.text + ("-" if mark.extra else "") for mark in marks] == labels
    assert [mark.at for mark in marks] == sorted(mark.at for mark in marks)
    assert all(0 <= mark.at < 100 for mark in marks)


def test_a_time_stands_where_its_step_begins():
    marks = bars(HOUR, {"a": [1, 2, 3, 4]}, label=count_label).times
    assert [(mark.at, mark.text) for mark in marks] == [(0, "10-04"), (25, "00:15"), (50, "00:30"), (75, "00:45")]


def test_a_quantile_is_taken_to_be_spread_evenly_in_its_bucket():
    bounds = (1.0, 2.0, 4.0)
    assert quantile((0, 0, 0, 0), bounds, 0.5) is None
    assert quantile((10, 0, 0, 0), bounds, 0.5) == 0.5
    assert quantile((10, 10, 0, 0), bounds, 0.5) == 1.0
    assert quantile((0, 10, 10, 0), bounds, 0.75) == 3.0
    assert quantile((10, 0, 10, 0), bounds, 0.5) == 1.0, "and not the beginning of the next one that has any"
    assert quantile((0, 0, 0, 5), bounds, 0.5) == 4.0, "of what is over the last bound, that is all that is known"
    assert quantile((1, 0, 1, 0), bounds, 0.95) == pytest.approx(3.8)
