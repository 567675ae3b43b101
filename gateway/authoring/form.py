"""The form: a policy as a flat mapping from names to texts, as an HTML form posts it.

A name is the policy's key path with numbers for what is listed: `auth.token.url`, `allow.urls.0`, `fields.1.label`. What
stands as `key = value` in the file is a row of name, value and kind: `inject.headers.0.name`. A name that isn't there
is as one that is empty, as a browser leaves out a box that isn't ticked; an empty text is no value, and a row that is
wholly empty is no row. Names that the form doesn't have are passed over, and so is what the file has beside it.

Nothing is refused: what is no JSON stays a text, and the checks say what is wrong with it where it stands.

    fields.N       name label help choices pattern default required secret once   (choices: one a line; boxes: "on" or "")
    client_id      .kind is secret, env, file, field or text, and .value what it names; a client_secret is never a text
    rows           .kind is text, js (.value is the source), json, or off (a parameter that is false; it has no value)
    test.body      JSON
    expect.status  numbers, with commas between them
"""

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.authoring.patch import patched
from gateway.nesting import is_deeper
from gateway.policy.load import Unreadable, read

__all__ = ["Unreadable", "apply", "merged", "repeated", "tidy", "values_of"]

Path = tuple[str, ...]
Row = dict[str, str]

ON = "on"
SOURCES = ("secret", "env", "file", "field")
TEXTS = (
    "name",
    "base_url",
    "auth.grant",
    "auth.authorize.url",
    "auth.authorize.issuer",
    "auth.authorize.scope_separator",
    "auth.authorize.pkce",
    "auth.token.url",
    "auth.token.client_auth",
    "auth.token.format",
    "auth.token.success_when",
    "auth.token.error",
    "auth.token.margin",
    "auth.token.default_ttl",
    "auth.refresh.url",
    "auth.refresh.margin",
    "auth.refresh.default_ttl",
    "auth.revoke.url",
    "auth.revoke.token",
    "test.method",
    "test.url",
    "test.expect.path",
    "connection.label",
    "connection.unique_id",
)
SPANS = frozenset({"margin", "default_ttl"})  # a number of seconds is no text in the file
BOXES = ("connection.mask",)
CREDENTIALS = ("auth.client_id", "auth.client_secret")
LISTS = ("allow.urls", "allow.deny")  # a name for each item
LINES = ("allow.methods", "auth.authorize.scopes")  # one text, an item on each line
NUMBERS = ("test.expect.status",)
JSONS = ("test.body",)
TABLES = (
    "auth.authorize.params",
    "auth.token.params",
    "auth.token.headers",
    "auth.token.response",
    "inject.headers",
    "inject.query",
    "inject.body",
)
FIELD_TEXTS = ("name", "label", "help", "choices", "pattern", "default")
FIELD_BOXES = {"required": True, "secret": False, "once": False}  # and what holds where the file doesn't say
KEPT_EMPTY = frozenset({"allow.urls"})  # a file must have it: that it is empty says more than that it is missing

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_ITEM = re.compile(rf"({'|'.join(map(re.escape, LISTS))})\.{_NUMBER}", re.ASCII)
_FIELD = re.compile(rf"fields\.{_NUMBER}\.({'|'.join((*FIELD_TEXTS, *FIELD_BOXES))})", re.ASCII)
_ROW = re.compile(rf"({'|'.join(map(re.escape, TABLES))})\.{_NUMBER}\.(name|value|kind)", re.ASCII)
_SINGLE = frozenset(
    [
        *TEXTS,
        *BOXES,
        *LINES,
        *NUMBERS,
        *JSONS,
        *(f"{name}.{part}" for name in CREDENTIALS for part in ("kind", "value")),
    ]
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_DEEPEST = 24  # levels of JSON; a policy's own 32 are around it


def values_of(text: str) -> dict[str, str]:
    """Return what stands in a policy's text, right or wrong; rows have the file's numbers. Raises `Unreadable`."""
    return _shown(read(text))


def apply(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these values: all of the form's, not only the changed ones. Raises `Unreadable`.

    Only what differs is touched. What the form would read out of the new text is `tidy(values)`.
    """
    return patched(text, _edited(read(text), values))


def merged(values: Mapping[str, str], names: Iterable[str], posted: Mapping[str, str]) -> dict[str, str]:
    """Return the values after a form was posted that has only some of the names, given by their beginnings."""
    of = tuple(names)
    kept = {name: value for name, value in values.items() if not _begins(name, of)}
    return kept | {name: value for name, value in posted.items() if _begins(name, of)}


def tidy(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values as the form reads them: line ends, numbers of rows, nothing empty, nothing unknown."""
    given = {name: _clean(value) for name, value in values.items()}
    found = {name: value for name in _SINGLE if (value := _tidied(name, given.get(name, "")))}
    for name in CREDENTIALS:
        found.pop(f"{name}.kind", None)
        if value := found.pop(f"{name}.value", ""):
            kind = given.get(f"{name}.kind", "")
            known = kind in SOURCES or (kind == "text" and name == CREDENTIALS[0])
            found |= {f"{name}.kind": kind if known else SOURCES[0], f"{name}.value": value}
    for name in LISTS:
        found |= {f"{name}.{number}": item for number, item in enumerate(_items(given, name))}
    for number, row in enumerate(_field_rows(given)):
        found |= {f"fields.{number}.{key}": value for key, value in row.items() if value}
    for name in TABLES:
        for number, row in enumerate(_rows(given, name)):
            found |= {f"{name}.{number}.{key}": value for key, value in row.items() if value}
    return found


def repeated(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of rows that are called as an earlier one of their table is; `apply` writes another name there."""
    given = {name: _clean(value) for name, value in values.items()}
    found: list[str] = []
    for table in TABLES:
        seen: set[str] = set()
        for number, row in _numbered(given, _ROW, table):
            if (row.get("name") or row.get("value")) and row.get("name", "") in seen:
                found.append(f"{table}.{number}.name")
            seen.add(row.get("name", ""))
    return tuple(found)


def _begins(name: str, beginnings: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in beginnings)


def _clean(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n"))


def _tidied(name: str, value: str) -> str:
    if name in BOXES:
        return ON if value else ""
    if name in LINES:
        return "\n".join(_lines(value))
    if name in NUMBERS:
        return ", ".join(re.split(r"[\s,]+", value.strip(", \n\t\r"))) if value.strip(", \n\t\r") else ""
    if name in JSONS:
        return _json_text(_from_json(value)) if value else ""
    return value


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.split("\n") if line.strip()]


# Rows as they were posted.


def _numbered(given: Mapping[str, str], pattern: re.Pattern[str], table: str) -> list[tuple[int, Row]]:
    rows: dict[int, Row] = {}
    for name, value in given.items():
        match = pattern.fullmatch(name)
        if match and name.startswith(f"{table}."):
            number, key = match.groups()[-2:]
            rows.setdefault(int(number), {})[key] = value
    return sorted(rows.items())


def _items(given: Mapping[str, str], table: str) -> list[str]:
    found = [
        (int(match[2]), value)
        for name, value in given.items()
        if (match := _ITEM.fullmatch(name)) and match[1] == table and value
    ]
    return [value for _, value in sorted(found)]


def _field_rows(given: Mapping[str, str]) -> list[Row]:
    rows = []
    for _, row in _numbered(given, _FIELD, "fields"):
        texts = {key: row.get(key, "") for key in FIELD_TEXTS}
        texts["choices"] = "\n".join(_lines(texts["choices"]))
        if any(texts.values()):
            rows.append(texts | {key: ON if row.get(key) else "" for key in FIELD_BOXES})
    return rows


def _rows(given: Mapping[str, str], table: str) -> list[Row]:
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
        kind, value = _kind_of(_value(kind, value, table), table)
        rows.append({"name": own, "value": value, "kind": kind})
    return rows


# Values of rows: how each kind is written, and read.


def _value(kind: str, value: str, table: str) -> Any:
    match kind:
        case "js":
            return {"js": value}
        case "json":
            return _from_json(value)
        case "off" if table.endswith(".params"):
            return False
    return value


def _kind_of(value: Any, table: str) -> tuple[str, str]:
    match value:
        case str():
            return "text", _clean(value)
        case {"js": str() as source, **more} if not more:
            return "js", _clean(source)
        case False if table.endswith(".params"):
            return "off", ""
        case int() | float() if table.endswith(".params") and not isinstance(value, bool):
            return "text", str(value)
    return "json", _json_text(value)


def _from_json(text: str) -> Any:
    """What a JSON text says, where TOML can say it too; else the text itself."""
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return text if is_deeper(value, _DEEPEST) or _has_null(value) else value


def _json_text(value: Any) -> str:
    """The JSON of a value, written so that it is read as what it is."""
    if isinstance(value, str) and _from_json(value) == value and isinstance(_from_json(value), str):
        return _clean(value)
    return _clean(
        json.dumps(value, ensure_ascii=False, default=str, indent=2 if isinstance(value, dict) and value else None)
    )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != len(dict(pairs)):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _has_null(value: Any) -> bool:
    match value:
        case None:
            return True
        case dict():
            return any(map(_has_null, value.values()))
        case list():
            return any(map(_has_null, value))
    return False


# What a file's data show.


def _at(data: Any, name: str) -> Any:
    for step in name.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _text(value: Any) -> str:
    match value:
        case None | dict() | list():
            return ""
        case bool():
            return str(value).lower()
    return _clean(str(value))


def _listed(value: Any) -> list[tuple[str, Any]]:
    """The items of a list, each with how it is shown."""
    items = value if isinstance(value, list) else []
    return [(_json_text(item) if isinstance(item, dict | list) else _text(item), item) for item in items]


def _shown(data: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {name: _text(_at(data, name)) for name in TEXTS}
    found |= {name: ON for name in BOXES if _at(data, name) is True}
    found |= {name: "\n".join(text for text, _ in _listed(_at(data, name))) for name in LINES}
    found |= {name: ", ".join(text for text, _ in _listed(_at(data, name))) for name in NUMBERS}
    found |= {name: _json_text(value) for name in JSONS if (value := _at(data, name)) is not None}
    for name in CREDENTIALS:
        kind, value = _source(_at(data, name), name)
        found |= {f"{name}.kind": kind, f"{name}.value": value}
    for name in LISTS:
        found |= {f"{name}.{number}": text for number, (text, _) in enumerate(_listed(_at(data, name)))}
    for number, row in _field_tables(data):
        found |= {f"fields.{number}.{key}": text for key, text in _field_row(row).items()}
    for name in TABLES:
        table = _at(data, name)
        for number, (key, value) in enumerate(table.items() if isinstance(table, dict) else ()):
            kind, text = _kind_of(value, name)
            found |= {f"{name}.{number}.name": key, f"{name}.{number}.value": text, f"{name}.{number}.kind": kind}
    return {name: text for name, text in found.items() if text}


def _source(value: Any, name: str) -> tuple[str, str]:
    """A credential's kind and value; a secret that stands in the file is not shown."""
    match value:
        case str() if name == CREDENTIALS[0] and value:
            return "text", _clean(value)
        case dict() if len(value) == 1:
            ((kind, named),) = value.items()
            if kind in SOURCES and isinstance(named, str) and named:
                return kind, _clean(named)
    return "", ""


def _field_tables(data: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    fields = data.get("fields")
    for number, row in enumerate(fields if isinstance(fields, list) else ()):
        if isinstance(row, dict):
            yield number, row


def _field_row(row: Mapping[str, Any]) -> Row:
    texts = {key: _text(row.get(key)) for key in FIELD_TEXTS}
    texts["choices"] = "\n".join(text for text, _ in _listed(row.get("choices")))
    return texts | {
        key: ON if (row.get(key) is not False if default else row.get(key) is True) else ""
        for key, default in FIELD_BOXES.items()
    }


# The data with other values in them.


def _edited(data: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    new = copy.deepcopy(dict(data))
    shown, wanted = _shown(data), tidy(values)
    before = tidy(shown)

    def differs(name: str) -> bool:
        return _of(before, name) != _of(wanted, name)

    for name in TEXTS:
        if differs(name):
            _put(new, name, _scalar(name, wanted.get(name, "")))
    for name in BOXES:
        if differs(name):
            _put(new, name, True if wanted.get(name) else None)
    for name in JSONS:
        if differs(name):
            _put(new, name, _from_json(wanted[name]) if name in wanted else None)
    for name in CREDENTIALS:
        if differs(name):
            _put(new, name, _credential(wanted.get(f"{name}.kind", ""), wanted.get(f"{name}.value", "")))
    for name in (*LINES, *NUMBERS, *LISTS):
        if differs(name):
            _put(new, name, _list(name, _at(data, name), wanted))
    if differs("fields"):
        _put(new, "fields", _fields(data, _field_rows(wanted)) or None)
    for name in TABLES:
        if differs(name):
            _put(new, name, _table(_at(data, name), _rows(wanted, name), name) or None)
    return new


def _of(values: Mapping[str, str], name: str) -> dict[str, str]:
    return {one: value for one, value in values.items() if _begins(one, (name,))}


def _put(data: dict[str, Any], name: str, value: Any) -> None:
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


def _scalar(name: str, text: str) -> Any:
    if not text:
        return None
    if name.rpartition(".")[2] in SPANS and _SECONDS.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


def _credential(kind: str, value: str) -> Any:
    if not value:
        return None
    return value if kind == "text" else {kind: value}


def _list(name: str, old: Any, wanted: Mapping[str, str]) -> list[Any] | None:
    """The list's items; one that was there stays what it was, whatever its type."""
    if name in LISTS:
        texts = _items(wanted, name)
    elif name in LINES:
        texts = _lines(wanted.get(name, ""))
    else:
        texts = [text for text in wanted.get(name, "").split(", ") if text]
    items = _kept(_listed(old), texts, number=name in NUMBERS)
    return items if items or name in KEPT_EMPTY else None


def _kept(before: list[tuple[str, Any]], texts: list[str], *, number: bool = False) -> list[Any]:
    left = list(before)
    items: list[Any] = []
    for text in texts:
        at = next((at for at, (shown, _) in enumerate(left) if shown.strip() == text.strip() and shown), None)
        if at is None:
            items.append(int(text) if number and _DIGITS.fullmatch(text) else text)
        else:
            items.append(left.pop(at)[1])
    return items


def _fields(data: Mapping[str, Any], rows: list[Row]) -> list[dict[str, Any]]:
    """The tables of the fields: each row finds the one of its name, else the one in its place, else is new."""
    before = [row for _, row in _field_tables(data)]
    homes = _homes([_text(row.get("name")) for row in before], [row["name"] for row in rows])
    return [_field(before[home] if home is not None else {}, row) for home, row in zip(homes, rows, strict=True)]


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
    shown = _field_row(old)
    for key, text in row.items():
        if text == shown[key]:
            continue
        if key in FIELD_BOXES:
            value: Any = None if bool(text) is FIELD_BOXES[key] else bool(text)
        elif key == "choices":
            value = _kept(_listed(old.get(key)), _lines(text)) or None
        else:
            value = text or None
        _put(new, key, value)
    return new


def _table(old: Any, rows: list[Row], table: str) -> dict[str, Any]:
    before = old if isinstance(old, dict) else {}
    new: dict[str, Any] = {}
    for row in rows:
        name, kind, text = row["name"], row["kind"], row["value"]
        same = name in before and _kind_of(before[name], table) == (kind, text)
        new[name] = before[name] if same else _value(kind, text, table)
    return new
