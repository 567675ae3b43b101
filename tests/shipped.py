"""The policies that come with the gateway: all of them, and the few that say together what all of them can say."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

FILES = sorted((Path(__file__).parent.parent / "policies").glob("*.toml"))
_LEVELS = 2
"""Of keys that all policies share; below them stand names of headers and of parameters. [auth] has one more."""


def _shapes(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield which keys there are and what kind of value each has."""
    match value:
        case dict() if len(path) < _LEVELS + (path[:1] == ("auth",)):
            for name, inner in value.items():
                yield from _shapes(inner, (*path, name))
        case list():
            for inner in value:
                yield from _shapes(inner, path)
        case _:
            yield (*path, type(value).__name__)


def _few() -> Iterator[Path]:
    """Yield the files of which each says something in a way that none before it did, the richest first."""
    left = {file: set(_shapes(tomllib.loads(file.read_text()))) for file in FILES}
    while left:
        file = max(left, key=lambda one: len(left[one]))
        said = left.pop(file)
        if not said:
            return
        yield file
        left = {other: shapes - said for other, shapes in left.items()}


FEW = list(_few())
