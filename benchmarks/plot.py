"""Bars with their spread, as SVG written by hand: no library, no script, and colours that follow light and dark.

A bar that is much longer than the others is cut, which is drawn and not hidden: its number stands beside it. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.figures import Spread

WIDTH, LABEL, NUMBER = 720, 120, 130
ROW, TOP, BOTTOM, BAR = 34, 44, 10, 18
CUT = 4.0
"""A bar more than so many times as long as the next is cut."""
CUT_SHARE = 1.25
"""How long a cut bar is drawn, of the longest that isn't."""
OWN = "gateway"

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .quiet { fill: #59636e; }
  .bar { fill: #9aa4af; }
  .own { fill: #0969da; }
  .spread { stroke: #1f2328; stroke-width: 1.5; }
  .cut { stroke: #ffffff; stroke-width: 4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .bar { fill: #59636e; }
    .own { fill: #4493f8; }
    .spread { stroke: #e6edf3; }
    .cut { stroke: #0d1117; }
  }
"""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar."""

    name: str
    spread: Spread

    @property
    def is_own(self) -> bool:
        """Whether it is the gateway's."""
        return self.name == OWN


def bars(title: str, unit: str, shown: Sequence[Bar], *, digits: int = 0) -> str:
    """Return a picture: a bar for each median, a line from the least to the most."""
    scale = (WIDTH - LABEL - NUMBER) / longest(shown)
    height = TOP + ROW * len(shown) + BOTTOM
    described = "; ".join(f"{bar.name} {bar.spread.median:,.{digits}f}" for bar in shown)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{escape(f"{title}, {unit}: {described}", {chr(34): "&quot;"})}">'
        ),
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(title)} <tspan class="quiet">({escape(unit)})</tspan></text>',
    ]
    for place, bar in enumerate(shown):
        lines += _bar(bar, TOP + ROW * place, scale, longest(shown), digits)
    return "\n".join([*lines, "</svg>", ""])


def longest(shown: Sequence[Bar]) -> float:
    """Return the value at the right edge: the most there is, unless it would flatten everything else."""
    first, *others = sorted((bar.spread.high for bar in shown), reverse=True)
    if len(others) > 1 and first > CUT * others[0] > 0:  # beside one other bar, its length is all there is to see
        return others[0] * CUT_SHARE
    return first or 1.0


def _bar(bar: Bar, top: float, scale: float, edge: float, digits: int) -> list[str]:
    middle, length = top + BAR / 2, min(bar.spread.median, edge) * scale
    right = min(bar.spread.high, edge) * scale
    is_cut = bar.spread.high > edge
    drawn = [
        f'<text x="{LABEL - 10}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(bar.name)}</text>',
        (
            f'<rect class="{"own" if bar.is_own else "bar"}" x="{LABEL}" y="{top:.1f}" width="{max(length, 1):.1f}"'
            f' height="{BAR}" rx="2"/>'
        ),
    ]
    if is_cut:
        at = LABEL + length * 0.9
        drawn.append(f'<path class="cut" d="M{at:.1f} {top + BAR + 3:.1f} l8 {-BAR - 6}" fill="none"/>')
    else:
        low = LABEL + bar.spread.low * scale
        drawn.append(
            f'<path class="spread" d="M{low:.1f} {middle:.1f} H{LABEL + right:.1f} M{low:.1f} {middle - 4:.1f} v8'
            f' M{LABEL + right:.1f} {middle - 4:.1f} v8" fill="none"/>'
        )
    number = f"{bar.spread.median:,.{digits}f}"
    drawn.append(f'<text x="{LABEL + max(length, right) + 10:.1f}" y="{middle + 4.5:.1f}">{number}</text>')
    return drawn
