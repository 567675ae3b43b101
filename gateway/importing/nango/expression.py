"""nango's templates, parsed: literal text, `${reference}` and `${function(…)}`, and `||` between alternatives.

A function's argument is a template itself, so braces nest: `${base64(${credentials.user}:${credentials.key})}`.
"""

import re
from dataclasses import dataclass

_FUNCTION = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_DEEPEST = 6  # functions in functions; the deepest known is three


@dataclass(frozen=True, slots=True)
class Reference:
    """A value by its name, as in `connectionConfig.subdomain`."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its argument, as it is written."""

    name: str
    argument: str


Part = str | Reference | Function


class Unreadable(ValueError):
    """The text is no template of nango's."""


def parse(text: str) -> tuple[Part, ...]:
    """Read a template. Raises `Unreadable`."""
    parts: list[Part] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at:
            parts.append(text[at:start])
        end = _end(text, start + 2)
        parts.append(_expression(text[start + 2 : end].strip()))
        at = end + 1
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def references(text: str) -> list[str]:
    """Every name in a template, also inside functions."""
    return re.findall(r"\$\{([^${}()]+)\}", text)


def alternatives(text: str) -> list[str]:
    """The texts between `||`; the first whose values are there is taken."""
    return [part.strip() for part in text.split("||")]


def arguments(text: str) -> list[str]:
    """What stands between the commas of a function's argument, outside of braces."""
    found, depth, start = [], 0, 0
    for number, letter in enumerate(text):
        depth += (letter in "{(") - (letter in "})")
        if letter == "," and depth == 0:
            found.append(text[start:number].strip())
            start = number + 1
    return [*found, text[start:].strip()]


def _end(text: str, start: int) -> int:
    depth = 1
    for number in range(start, len(text)):
        depth += (text[number] == "{") - (text[number] == "}")
        if depth > _DEEPEST:
            break
        if depth == 0:
            return number
    raise Unreadable(text[:60])


def _expression(text: str) -> Part:
    if call := _FUNCTION.fullmatch(text):
        return Function(call[1], call[2])
    if "{" in text or "}" in text or not text:
        raise Unreadable(text[:60])
    return Reference(text)
