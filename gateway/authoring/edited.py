"""A policy's data with what was posted in them; what the form shows as it was posted stays what it is."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.authoring.kinds import from_json, kind_of, listed, source_of, text_of, value_of
from gateway.authoring.names import (
    BOXES,
    CREDENTIALS,
    FIELD_BOXES,
    FIELD_LISTS,
    JSONS,
    KEPT_EMPTY,
    LINES,
    LISTS,
    NUMBERS,
    SPANS,
    TABLES,
    TEXTS,
    begins,
)
from gateway.authoring.posted import Row, field_rows, items_of, lines, rows_of, tidy
from gateway.authoring.shown import at, field_row, field_tables, shown

_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_WORDS = "auth.authorize.scope_words"


def edited(data: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Return the data that say what the values say; what no name of the form is for stays."""
    new = copy.deepcopy(dict(data))
    before, wanted = tidy(shown(data)), tidy(values)
    for names, said in _SAID:
        for name in names:
            if _of(before, name) != _of(wanted, name):
                put(new, name, said(name, at(data, name), wanted))
    _forget_words(data, new)
    return new


def _of(values: Mapping[str, str], name: str) -> dict[str, str]:
    return {one: value for one, value in values.items() if begins(one, (name,))}


def put(data: dict[str, Any], name: str, value: Any) -> None:
    """Set a value, or with None take it out, and every table that becomes empty by it."""
    *way, last = name.split(".")
    if value is None:
        _take_out(data, way, last)
        return
    for step in way:
        inner = data.get(step)
        if not isinstance(inner, dict):
            inner = data[step] = {}
        data = inner
    data[last] = value


def _take_out(data: dict[str, Any], way: list[str], last: str) -> None:
    if not way:
        data.pop(last, None)
        return
    inner = data.get(way[0])
    if isinstance(inner, dict):
        _take_out(inner, way[1:], last)
        if not inner:
            del data[way[0]]


def _forget_words(old: Mapping[str, Any], new: dict[str, Any]) -> None:
    """The words of a scope that was taken away go with it: they would be a fault that the form has no name for."""
    words = at(new, _WORDS)
    if not isinstance(words, dict):
        return
    left = {text for text, _ in listed(at(new, "auth.authorize.scopes"))}
    gone = {text for text, _ in listed(at(old, "auth.authorize.scopes"))} - left
    if gone & words.keys():
        put(new, _WORDS, {scope: said for scope, said in words.items() if scope not in gone} or None)


# What a name's values say: the value for the file, or None.


def _scalar(name: str, _old: Any, wanted: Mapping[str, str]) -> Any:
    text = wanted.get(name)
    if text and name.rpartition(".")[2] in SPANS and _SECONDS.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _box(name: str, _old: Any, wanted: Mapping[str, str]) -> bool | None:
    return True if wanted.get(name) else None


def _json(name: str, _old: Any, wanted: Mapping[str, str]) -> Any:
    return from_json(wanted[name]) if name in wanted else None


def _credential(name: str, _old: Any, wanted: Mapping[str, str]) -> Any:
    kind, value = wanted.get(f"{name}.kind", ""), wanted.get(f"{name}.value")
    return value if value is None or kind == "text" else {kind: value}


def _list(name: str, old: Any, wanted: Mapping[str, str]) -> list[Any] | None:
    """The list's items; one that was there stays what it was, whatever its type."""
    if name in LISTS:
        texts = items_of(wanted, name)
    elif name in LINES:
        texts = lines(wanted.get(name, ""))
    else:
        texts = [text for text in wanted.get(name, "").split(", ") if text]
    items = _kept(listed(old), texts, numbers=name in NUMBERS)
    return items if items or name in KEPT_EMPTY else None


def _kept(before: list[tuple[str, Any]], texts: list[str], *, numbers: bool = False) -> list[Any]:
    left = list(before)
    items: list[Any] = []
    for text in texts:
        home = next((number for number, (said, _) in enumerate(left) if said and said.strip() == text.strip()), None)
        if home is not None:
            items.append(left.pop(home)[1])
        else:
            items.append(int(text) if numbers and _DIGITS.fullmatch(text) else text)
    return items


def _fields(_name: str, old: Any, wanted: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """The tables of the fields: each row finds the one of its name, else the one in its place, else is new."""
    before = [row for _, row in field_tables(old)]
    rows = field_rows(wanted)
    homes = _homes([text_of(row.get("name")) for row in before], [row["name"] for row in rows])
    found = [_field(before[home] if home is not None else {}, row) for home, row in zip(homes, rows, strict=True)]
    return found or None


def _homes(old: list[str], new: list[str]) -> list[int | None]:
    free = dict(enumerate(old))
    homes: list[int | None] = []
    for name in new:
        home = next((number for number, text in free.items() if text == name and name), None)
        if home is not None:
            del free[home]
        homes.append(home)
    for number, home in enumerate(homes):
        if home is None and number in free:
            homes[number] = number
            del free[number]
    return homes


def _field(old: Mapping[str, Any], row: Row) -> dict[str, Any]:
    new = dict(copy.deepcopy(old))
    before = field_row(old)
    for key, text in row.items():
        if text == before[key]:
            continue
        if key in FIELD_BOXES:
            value: Any = None if bool(text) is FIELD_BOXES[key] else bool(text)
        elif key in FIELD_LISTS:
            value = _kept(listed(old.get(key)), lines(text)) or None
        elif key == "from":
            value = source_of(text) or None
        else:
            value = text or None
        put(new, key, value)
    return new


def _table(name: str, old: Any, wanted: Mapping[str, str]) -> dict[str, Any] | None:
    before = old if isinstance(old, dict) else {}
    new: dict[str, Any] = {}
    for row in rows_of(wanted, name):
        key, kind, text = row["name"], row["kind"], row["value"]
        same = key in before and kind_of(before[key], name) == (kind, text)
        new[key] = before[key] if same else value_of(kind, text, name)
    return new or None


_SAID: tuple[tuple[tuple[str, ...], Callable[[str, Any, Mapping[str, str]], Any]], ...] = (
    (TEXTS, _scalar),
    (BOXES, _box),
    (JSONS, _json),
    (CREDENTIALS, _credential),
    ((*LINES, *NUMBERS, *LISTS), _list),
    (("fields",), _fields),
    (TABLES, _table),
)
