"""Charts as numbers: where a page draws what. Pure; the template makes the SVG, and knows what is escaped.

A chart is a plot of `WIDTH` by `HEIGHT` units, which a page stretches to its width, and labels beside it, which it
doesn't: text is as large on a phone as anywhere. Places of labels are in percent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

WIDTH, HEIGHT = 1000, 160
"""Units. A page shows the height as so many CSS pixels."""
LEAST = 2
"""Units of a bar for what is more than nothing: one failure among a million is seen."""
LEVELS = 4
"""Labels on the side, at most, beside that of nothing."""
TIMES = 9
"""Labels below, at most; every other one is `extra`."""

_DAY = 86_400
_TICKS = (300, 900, 1800, 3600, 7200, 3 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, _DAY, 2 * _DAY, 7 * _DAY)
"""Seconds between two labels below: what people count time in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The steps that a chart has: `count` of them, of `step` seconds, the first one from `first` on."""

    first: int
    step: int
    count: int

    @property
    def begins(self) -> tuple[int, ...]:
        """When each step begins."""
        return tuple(self.first + number * self.step for number in range(self.count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A label and its place in percent, from the left or from the top. `extra`: a narrow page has no room for it."""

    at: float
    text: str
    extra: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is drawn of one kind of value: a path's `d`, and the name by which the sheet colours it."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart. `columns` are the left edges of the steps, each `column` wide: where pointing tells the numbers."""

    shapes: tuple[Shape, ...]
    levels: tuple[Mark, ...]
    times: tuple[Mark, ...]
    columns: tuple[float, ...]
    column: float


def bars(times: Times, values: Mapping[str, Sequence[int]], *, label: Callable[[float], str]) -> Chart:
    """Return bars that stand on each other, the first kind below. A step without any has no bar."""
    top = max((sum(step) for step in zip(*values.values(), strict=True)), default=0)
    levels = nice(top, whole=True)
    column, paths = WIDTH / times.count, dict.fromkeys(values, "")
    gap = column * 0.15
    for number, step in enumerate(zip(*values.values(), strict=True)):
        base = float(HEIGHT)
        for name, value in zip(values, step, strict=True):
            if value:
                height = max(value / levels[-1] * HEIGHT, LEAST)
                base -= height
                left, width = number * column + gap, column - 2 * gap
                paths[name] += f"M{left:.1f} {base:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"
    return _chart(times, paths, levels, label)


def lines(times: Times, values: Mapping[str, Sequence[float | None]], *, label: Callable[[float], str]) -> Chart:
    """Return a line for each kind of value, with a gap where one is None; one alone between two gaps is a dot."""
    top = max((value for series in values.values() for value in series if value is not None), default=0.0)
    levels, column = nice(top), WIDTH / times.count
    paths = {}
    for name, series in values.items():
        path, drawing = "", False
        for number, value in enumerate(series):
            if value is not None:
                left, height = (number + 0.5) * column, HEIGHT - value / levels[-1] * HEIGHT
                path += f"{'L' if drawing else 'M'}{left:.1f} {height:.1f}" + ("" if drawing else "h0")
            drawing = value is not None
        paths[name] = path
    return _chart(times, paths, levels, label)


def nice(top: float, *, whole: bool = False) -> tuple[float, ...]:
    """Return round levels from 0 to at least `top`, few of them; `whole`: for what there is no half of."""
    if top <= 0:
        return (0.0, 1.0)
    rough = top / LEVELS
    power: float = 10.0 ** math.floor(math.log10(rough))
    apart = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    if whole:
        apart = max(apart, 1.0)
    return tuple(apart * number for number in range(math.ceil(top / apart * (1 - 1e-9)) + 1))


def count_label(value: float) -> str:
    """Return a number as `950`, `1.2k`, `3M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def time_label(seconds: float) -> str:
    """Return a length of time as `0`, `20 ms`, `1.5 s`."""
    if not seconds:
        return "0"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def quantile(counts: Sequence[int], bounds: Sequence[float], part: float) -> float | None:
    """Return the value below which `part` of the counts are; None: there are none.

    `counts` has one more than `bounds`, for what is over the last of them. Within a bucket they are taken to be spread
    evenly, so that the value is true up to its bucket; of what is over the last bound, that bound is all that is known.
    """
    wanted, below, low = sum(counts) * part, 0, 0.0
    if not wanted:
        return None
    for count, high in zip(counts, bounds, strict=False):
        if count and below + count >= wanted:
            return low + (high - low) * (wanted - below) / count
        below, low = below + count, high
    return bounds[-1]


def _chart(times: Times, paths: Mapping[str, str], levels: Sequence[float], label: Callable[[float], str]) -> Chart:
    column = WIDTH / times.count
    return Chart(
        shapes=tuple(Shape(name=name, path=path) for name, path in paths.items()),
        levels=tuple(Mark(at=100 - 100 * level / levels[-1], text=label(level)) for level in levels),
        times=_marks(times),
        columns=tuple(round(number * column, 1) for number in range(times.count)),
        column=round(column, 1),
    )


def _marks(times: Times) -> tuple[Mark, ...]:
    """Return the round moments, UTC; at midnight the day stands there instead."""
    length = times.step * times.count
    apart = next((tick for tick in _TICKS if tick >= times.step and length / tick <= TIMES), _TICKS[-1])
    begin = times.first + -times.first % apart
    return tuple(
        Mark(
            at=round(100 * (moment - times.first) / length, 2),
            text=datetime.fromtimestamp(moment, UTC).strftime("%m-%d" if moment % _DAY == 0 else "%H:%M"),
            extra=moment // apart % 2 > 0,  # and so midnight never is
        )
        for moment in range(begin, times.first + length, apart)
    )
