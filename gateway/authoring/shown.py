"""What a policy's data show in the form, right or wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.authoring.kinds import clean, json_text, kind_of, listed, source_text, text_of
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
    SOURCES,
    TABLES,
    TEXTS,
)


def at(data: Any, name: str) -> Any:
    """Return what stands at a key path, or None."""
    for step in name.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def shown(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the form's values of the data."""
    found: dict[str, str] = {name: text_of(at(data, name)) for name in TEXTS}
    found |= {name: ON for name in BOXES if at(data, name) is True}
    found |= {name: "\n".join(text for text, _ in listed(at(data, name))) for name in LINES}
    found |= {name: ", ".join(text for text, _ in listed(at(data, name))) for name in NUMBERS}
    found |= {name: json_text(value) for name in JSONS if (value := at(data, name)) is not None}
    for name in CREDENTIALS:
        kind, value = _source(at(data, name), name)
        found |= {f"{name}.kind": kind, f"{name}.value": value}
    for name in LISTS:
        found |= {f"{name}.{number}": text for number, (text, _) in enumerate(listed(at(data, name)))}
    for number, row in field_tables(data.get("fields")):
        found |= {f"fields.{number}.{key}": text for key, text in field_row(row).items()}
    for name in TABLES:
        table = at(data, name)
        for number, (key, value) in enumerate(table.items() if isinstance(table, dict) else ()):
            kind, text = kind_of(value, name)
            found |= {f"{name}.{number}.name": key, f"{name}.{number}.value": text, f"{name}.{number}.kind": kind}
    return {name: text for name, text in found.items() if text}


def _source(value: Any, name: str) -> tuple[str, str]:
    """A credential's kind and value; a secret that stands in the file is not shown."""
    match value:
        case str() if name == CREDENTIALS[0] and value:
            return "text", clean(value)
        case dict() if len(value) == 1:
            ((kind, named),) = value.items()
            if kind in SOURCES and isinstance(named, str) and named:
                return kind, clean(named)
    return "", ""


def field_tables(fields: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the tables among [[fields]] with their numbers."""
    for number, row in enumerate(fields if isinstance(fields, list) else ()):
        if isinstance(row, dict):
            yield number, row


def field_row(row: Mapping[str, Any]) -> dict[str, str]:
    """What one table of [[fields]] shows."""
    texts = {key: text_of(row.get(key)) for key in FIELD_TEXTS}
    texts |= {key: "\n".join(text for text, _ in listed(row.get(key))) for key in FIELD_LISTS}
    texts["from"] = source_text(row.get("from"))
    return texts | {
        key: ON if (row.get(key) is not False if default else row.get(key) is True) else ""
        for key, default in FIELD_BOXES.items()
    }
