"""Patterns of fields: regular expressions that can't run away.

Python's engine backtracks, so a pattern is refused where its time could explode: a repetition inside a repetition,
alternatives inside one, back-references, look-around, or many choices one after the other. What is left takes at most
milliseconds on `MAX_MATCHED` characters.
"""

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]  # the parser the engine itself uses; there is no public one
from re import _parser as parser  # type: ignore[attr-defined]  # as above
from typing import Any

MAX_MATCHED = 256  # characters of a value that is matched against a pattern
_MAX_WIDE = 3  # repetitions of more than _WIDE: the time grows by a power of the length
_MAX_CHOICES = 8  # all that the engine may have to take back: the time doubles with each
_WIDE = 8
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


class PatternInvalid(ValueError):
    """The pattern doesn't compile or could run away; the message says which."""


def check(pattern: str) -> None:
    """Refuse a pattern that can't be used. Raises `PatternInvalid`."""
    try:
        re.compile(pattern)
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternInvalid(f"is not a valid pattern: {error}") from None
    choices = list(_choices(tree, inside=False))
    if len(choices) > _MAX_CHOICES or sum(width > _WIDE for width in choices) > _MAX_WIDE:
        raise PatternInvalid(
            "could run away: it has too many repetitions one after the other; use fewer, or fixed counts such as {8}"
        )


def _choices(tree: Any, *, inside: bool) -> Iterator[int]:
    """Yield the width of each choice the engine has: how often it may repeat, or how many alternatives there are."""
    for code, argument in tree:
        if code in _REPEATS:
            low, high, body = argument
            variable = low != high
            if inside and variable:
                raise PatternInvalid(
                    "could run away: it repeats a repetition, as in (a+)+; write one, with its characters in one [ ]"
                )
            if variable:
                yield int(high) - int(low)
            yield from _choices(body, inside=inside or int(high) > 1)
        elif code is op.BRANCH:
            if inside:
                raise PatternInvalid("could run away: it repeats alternatives, as in (a|b)*; write them as one [ ]")
            yield len(argument[1])
            for branch in argument[1]:
                yield from _choices(branch, inside=inside)
        elif code in (op.SUBPATTERN, op.ATOMIC_GROUP):
            yield from _choices(argument[-1] if code is op.SUBPATTERN else argument, inside=inside)
        elif code in (op.GROUPREF, op.GROUPREF_EXISTS, op.ASSERT, op.ASSERT_NOT):
            raise PatternInvalid("has a back-reference or look-around; they could run away")
