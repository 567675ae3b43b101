"""What happened over a long run, as SVG written by hand: each replica's requests, and the troubles below. Pure.

A replica's line shows what it answered (grey), and on top what it couldn't (red). A trouble that was everybody's is a
broad bar, one replica's a narrow one on that replica's third of the row.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LABEL, RIGHT = 960, 150, 12
TOP, LANE, ROW, GAP, BOTTOM = 52, 74, 17, 14, 34
MOST_STEPS = 400  # columns of a lane: more than that are thinner than what can be seen
PEAK = 2.0  # times what is usual; what had waited and is answered in one second is cut there
EVERYONE = -1

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 14px; }
  .quiet { fill: #59636e; }
  .good { fill: #9aa4af; }
  .bad { fill: #cf222e; }
  .trouble { fill: #0969da; }
  .line { stroke: #d0d7de; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .good { fill: #59636e; }
    .bad { fill: #f85149; }
    .trouble { fill: #4493f8; }
    .line { stroke: #30363d; }
  }
"""


def timeline(figures: dict[str, Any]) -> str:
    """Return the picture of a run, as `benchmarks/chaos.py` writes it down."""
    seconds = len(figures["by_second"]["answered"][0])
    scale = (WIDTH - LABEL - RIGHT) / seconds
    kinds = list(dict.fromkeys(one["kind"] for one in figures["troubles"]))
    lanes = figures["by_second"]["answered"]
    below = TOP + len(lanes) * (LANE + GAP)
    height = below + len(kinds) * ROW + BOTTOM
    said = f"{figures['requests']:,} requests, {figures['refreshes']:,} refreshes, {len(figures['findings'])} findings"
    drawn = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{escape(said)}">'
        ),
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="24">Three replicas in trouble <tspan class="quiet">({said})</tspan></text>',
    ]
    step = math.ceil(seconds / MOST_STEPS)
    failed = figures["by_second"]["failed"]
    both = [_by(step, [g + b for g, b in zip(*pair, strict=True)]) for pair in zip(lanes, failed, strict=True)]
    edge = PEAK * (statistics.median(count for lane in both for count in lane) or 1.0)
    for number, (good, bad) in enumerate(zip(lanes, failed, strict=True)):
        drawn += _lane(number, _by(step, good), _by(step, bad), scale * step, edge)
    for place, kind in enumerate(kinds):
        drawn += _row(kind, [one for one in figures["troubles"] if one["kind"] == kind], below + place * ROW, scale)
    drawn += _axis(seconds, height, scale)
    return "\n".join([*drawn, "</svg>", ""])


def _by(step: int, counts: Sequence[int]) -> list[float]:
    """Return the counts of so many seconds together, each as of one."""
    return [sum(counts[at : at + step]) / step for at in range(0, len(counts), step)]


def _lane(number: int, good: Sequence[float], bad: Sequence[float], wide: float, edge: float) -> list[str]:
    floor = TOP + number * (LANE + GAP) + LANE
    tops = [min(count / edge, 1.0) * LANE for count in good]
    both = [min((one + other) / edge, 1.0) * LANE for one, other in zip(good, bad, strict=True)]
    return [
        f'<text x="{LABEL - 10}" y="{floor - LANE / 2 + 4}" text-anchor="end">replica {number}</text>',
        f'<path class="bad" d="{_steps(both, floor, wide)}"/>',
        f'<path class="good" d="{_steps(tops, floor, wide)}"/>',
        f'<path class="line" d="M{LABEL} {floor + 0.5} H{WIDTH - RIGHT}"/>',
    ]


def _steps(tops: Sequence[float], floor: float, wide: float) -> str:
    drawn = "".join(f"V{floor - top:.1f} h{wide:.2f} " for top in tops)
    return f"M{LABEL} {floor} {drawn}V{floor} Z"


def _row(kind: str, troubles: Sequence[dict[str, Any]], top: float, scale: float) -> list[str]:
    drawn = [f'<text x="{LABEL - 10}" y="{top + 11}" text-anchor="end">{escape(kind)}</text>']
    for one in troubles:
        everyones = one["replica"] == EVERYONE
        y, high = (top + 2, 12) if everyones else (top + 2 + 4 * one["replica"], 4)
        wide = max((one["ended"] - one["began"]) * scale, 1.5)
        whose = "all" if everyones else f"replica {one['replica']}"
        title = escape(f"{kind}, {whose}, {one['began']:.0f} to {one['ended']:.0f} s")
        drawn.append(
            f'<rect class="trouble" x="{LABEL + one["began"] * scale:.1f}" y="{y:.1f}" width="{wide:.1f}"'
            f' height="{high}"><title>{title}</title></rect>'
        )
    return drawn


def _axis(seconds: int, height: float, scale: float) -> list[str]:
    every = next(minutes for minutes in (1, 2, 5, 10, 30, 60) if seconds / 60 / minutes <= 12 or minutes == 60)
    places = [(minute, LABEL + minute * 60 * scale) for minute in range(0, seconds // 60 + 1, every)]
    return [
        f'<text class="quiet" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{minute} min</text>'
        for minute, x in places
    ]
