"""What an entry says that nothing here has heeded: keys of its own, and of the tables in it."""

from collections.abc import Iterator
from typing import Any

from gateway.importing.data import listed, table
from gateway.importing.nango import known
from gateway.importing.nango.entry import Entry


def unheeded(entry: Entry) -> Iterator[str]:
    """Yield the paths, once the policy is made.

    What an entry inherits from one of another mode is that mode's: nango doesn't heed it either.
    """
    left = entry.data.unheeded()
    of_no_use = {*known.OF_NO_USE, *known.OF_NO_USE_TO.get(entry.mode, ())}
    yield from (key for key in left if key in entry.own and key not in of_no_use)
    for pattern, names in known.BELOW.items():
        if pattern.partition(".")[0] not in left:
            for path, found in _tables(entry.written, pattern.split(".")):
                yield from (f"{path}.{key}" for key in found if key not in names)


def _tables(data: Any, way: list[str], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tables that a way leads to, each with its path."""
    if not way:
        if isinstance(data, dict):
            yield path, data
        return
    step, *rest = way
    rows = table(data) or {str(number): row for number, row in enumerate(listed(data))}
    for key in rows if step == "*" else [step]:
        yield from _tables(rows.get(key), rest, f"{path}.{key}".lstrip("."))
