"""What was posted, as the form reads it."""

import re
from collections.abc import Iterable, Mapping

from gateway.authoring.kinds import clean, from_json, json_text, kind_of, source_of, source_text, value_of
from gateway.authoring.names import (
    BOXES,
    CREDENTIALS,
    FIELD_BOXES,
    FIELD_LISTS,
    FIELD_TEXTS,
    JSONS,
    LINES,
    LISTS,
    NUMBERS,
    ON,
    SINGLE,
    SOURCES,
    TABLES,
    begins,
)

Row = dict[str, str]

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_ITEM = re.compile(rf"({'|'.join(map(re.escape, LISTS))})\.{_NUMBER}", re.ASCII)
_FIELD = re.compile(rf"fields\.{_NUMBER}\.({'|'.join((*FIELD_TEXTS, *FIELD_BOXES))})", re.ASCII)
_ROW = re.compile(rf"({'|'.join(map(re.escape, TABLES))})\.{_NUMBER}\.(name|value|kind)", re.ASCII)


def merged(values: Mapping[str, str], names: Iterable[str], posted: Mapping[str, str]) -> dict[str, str]:
    """Return the values after a form was posted that has only some of the names, given by their beginnings."""
    of = tuple(names)
    kept = {name: value for name, value in values.items() if not begins(name, of)}
    return kept | {name: value for name, value in posted.items() if begins(name, of)}


def tidy(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values as the form reads them: line ends, numbers of rows, nothing empty, nothing unknown."""
    given = {name: clean(value) for name, value in values.items()}
    found = {name: value for name in SINGLE if (value := _tidied(name, given.get(name, "")))}
    for name in CREDENTIALS:
        found.pop(f"{name}.kind", None)
        if value := found.pop(f"{name}.value", ""):
            kind = given.get(f"{name}.kind", "")
            known = kind in SOURCES or (kind == "text" and name == CREDENTIALS[0])
            found |= {f"{name}.kind": kind if known else SOURCES[0], f"{name}.value": value}
    for name in LISTS:
        found |= {f"{name}.{number}": item for number, item in enumerate(items_of(given, name))}
    for number, row in enumerate(field_rows(given)):
        found |= {f"fields.{number}.{key}": value for key, value in row.items() if value}
    for name in TABLES:
        for number, row in enumerate(rows_of(given, name)):
            found |= {f"{name}.{number}.{key}": value for key, value in row.items() if value}
    return found


def repeated(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of rows that an earlier row of their table has already; `apply` writes another name there."""
    given = {name: clean(value) for name, value in values.items()}
    found: list[str] = []
    for table in TABLES:
        seen: set[str] = set()
        for number, row in _numbered(given, _ROW, table):
            if (row.get("name") or row.get("value")) and row.get("name", "") in seen:
                found.append(f"{table}.{number}.name")
            seen.add(row.get("name", ""))
    return tuple(found)


def _tidied(name: str, value: str) -> str:
    if name in BOXES:
        return ON if value else ""
    if name in LINES:
        return "\n".join(lines(value))
    if name in NUMBERS:
        return ", ".join(part for part in re.split(r"[\s,]+", value) if part)
    if name in JSONS:
        return json_text(from_json(value)) if value else ""
    return value


def lines(value: str) -> list[str]:
    """What stands on the lines of a text."""
    return [line.strip() for line in value.split("\n") if line.strip()]


def _numbered(given: Mapping[str, str], pattern: re.Pattern[str], table: str) -> list[tuple[int, Row]]:
    rows: dict[int, Row] = {}
    for name, value in given.items():
        match = pattern.fullmatch(name)
        if match and name.startswith(f"{table}."):
            number, key = match.groups()[-2:]
            rows.setdefault(int(number), {})[key] = value
    return sorted(rows.items())


def items_of(given: Mapping[str, str], table: str) -> list[str]:
    """The items of a list, in their order."""
    found = [
        (int(match[2]), value)
        for name, value in given.items()
        if (match := _ITEM.fullmatch(name)) and match[1] == table and value
    ]
    return [value for _, value in sorted(found)]


def field_rows(given: Mapping[str, str]) -> list[Row]:
    """The rows of the fields, each with every key."""
    rows = []
    for _, row in _numbered(given, _FIELD, "fields"):
        texts = {key: row.get(key, "") for key in FIELD_TEXTS}
        texts |= {key: "\n".join(lines(texts[key])) for key in FIELD_LISTS}
        texts["from"] = source_text(source_of(texts["from"]))
        if any(texts.values()):
            rows.append(texts | {key: ON if row.get(key) else "" for key in FIELD_BOXES})
    return rows


def rows_of(given: Mapping[str, str], table: str) -> list[Row]:
    """The rows of a table, each with a name of its own."""
    rows: list[Row] = []
    names: set[str] = set()
    for _, posted in _numbered(given, _ROW, table):
        name, value, kind = (posted.get(key, "") for key in ("name", "value", "kind"))
        if not name and not value:
            continue
        own, count = name, 1
        while own in names:
            count += 1
            own = f"{name} ({count})"
        names.add(own)
        kind, value = kind_of(value_of(kind if name or kind != "off" else "text", value, table), table)
        rows.append({"name": own, "value": value, "kind": kind})
    return rows
