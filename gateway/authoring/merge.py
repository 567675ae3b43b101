"""Two people change one policy: what each changed, since both began from one text, put together."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.authoring.names import BOXES, CREDENTIALS, JSONS, LINES, LISTS, NUMBERS, TABLES, TEXTS, begins
from gateway.authoring.posted import tidy

PARTS = (*TEXTS, *BOXES, *LINES, *NUMBERS, *JSONS, *CREDENTIALS, *LISTS, *TABLES, "fields")
"""What is taken from one of the two as a whole: a text, a list, a table with its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """`values` is both together, mine where both changed one part: those are the `clashes`. `theirs` only they did."""

    values: Mapping[str, str]
    theirs: tuple[str, ...]
    clashes: tuple[str, ...]


def merge(base: Mapping[str, str], mine: Mapping[str, str], theirs: Mapping[str, str]) -> Merged:
    """Put together what two made of the same values."""
    before, ours, others = tidy(base), tidy(mine), tidy(theirs)
    values: dict[str, str] = {}
    only: list[str] = []
    both: list[str] = []
    for part in PARTS:
        was, here, there = (_of(one, part) for one in (before, ours, others))
        if there not in (was, here):
            (only if here == was else both).append(part)
        values |= there if here == was else here
    return Merged(values=values, theirs=tuple(only), clashes=tuple(both))


def _of(values: Mapping[str, str], part: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if begins(name, (part,))}
