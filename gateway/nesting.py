"""How deep a value that was read from outside nests: what goes through it afterwards may recurse, this doesn't."""

from collections.abc import Iterable


def is_deeper(value: object, most: int) -> bool:
    """Whether the tables and lists of `value`, as JSON or TOML gives them, nest more than `most` levels deep."""
    level: list[object] = [value]
    for _ in range(most):
        level = [inner for one in level for inner in _inside(one)]
    return any(isinstance(one, dict | list) for one in level)


def _inside(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()
