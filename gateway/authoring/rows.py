"""The rows of a form while somebody works on it: numbered without gaps, one more, one less, one moved.

A row that is wholly empty is no row for the file, and is a row for whoever is about to fill it in: it stays, behind the
others, so that the numbers of the others are those of the file that comes of the form.
"""

import re
from collections.abc import Mapping

from gateway.authoring.names import FIELD_TEXTS, LISTS, ON, TABLES

ALL = ("fields", *LISTS, *TABLES)
"""What has rows."""
_KEYS: Mapping[str, tuple[str, ...]] = {
    "fields": FIELD_TEXTS,
    **dict.fromkeys(LISTS, ("",)),
    **dict.fromkeys(TABLES, ("name", "value")),
}
"""The parts of a row of which one must say something; a list's row is one text, without a part's name."""
_FIRST: Mapping[str, Mapping[str, str]] = {
    "fields": {"name": "", "required": ON},
    **{table: {"": ""} for table in LISTS},
    **{table: {"name": "", "value": "", "kind": "text"} for table in TABLES},
}
"""What a new row begins as."""
_NAME = re.compile(rf"({'|'.join(map(re.escape, ALL))})\.(0|[1-9][0-9]{{0,5}})(?:\.(\w+))?", re.ASCII)

Row = dict[str, str]


def rows_of(values: Mapping[str, str], table: str) -> list[Row]:
    """Return the rows of a table in their order: each its parts, or one part named "" for a list's."""
    found: dict[int, Row] = {}
    for name, value in values.items():
        match = _NAME.fullmatch(name)
        if match and match[1] == table:
            found.setdefault(int(match[2]), {})[match[3] or ""] = value
    return [row for _, row in sorted(found.items())]


def numbered(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values with every table's rows numbered from 0 on, the empty ones last."""
    new = {name: value for name, value in values.items() if not _NAME.fullmatch(name)}
    for table in ALL:
        rows = rows_of(values, table)
        full = [row for row in rows if not _is_empty(table, row)]
        new |= _written(table, full + [row for row in rows if _is_empty(table, row)])
    return new


def added(values: Mapping[str, str], table: str, row: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the values with one row more: this one, or an empty one to fill in."""
    rows = rows_of(values, table)
    if row is not None:
        rows = [one for one in rows if not _is_empty(table, one)]
    return _with(values, table, [*rows, dict(row if row is not None else _FIRST[table])])


def removed(values: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the values without the row of this name, such as `fields.2`."""
    table, number = split(name)
    rows = rows_of(values, table)
    return _with(values, table, rows[:number] + rows[number + 1 :])


def moved(values: Mapping[str, str], name: str, by: int) -> dict[str, str]:
    """Return the values with a row moved down, or up where `by` is less than nothing."""
    table, number = split(name)
    rows = rows_of(values, table)
    if number < len(rows):
        rows.insert(max(0, number + by), rows.pop(number))
    return _with(values, table, rows)


def split(name: str) -> tuple[str, int]:
    """Return the table and the number of a row's name. Raises `ValueError`: it is none."""
    match = _NAME.fullmatch(name)
    if match is None or match[3]:
        raise ValueError("is no row")
    return match[1], int(match[2])


def _with(values: Mapping[str, str], table: str, rows: list[Row]) -> dict[str, str]:
    kept = {name: value for name, value in values.items() if not name.startswith(f"{table}.")}
    return kept | _written(table, rows)


def _written(table: str, rows: list[Row]) -> dict[str, str]:
    return {
        f"{table}.{number}{f'.{key}' if key else ''}": value
        for number, row in enumerate(rows)
        for key, value in row.items()
    }


def _is_empty(table: str, row: Row) -> bool:
    return not any(row.get(key) for key in _KEYS[table])
