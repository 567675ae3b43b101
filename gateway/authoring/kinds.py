"""Kinds of values as texts: what a row's value is, how it is shown, and how it is read back.

Read back, every shown value is what it was; and every text that can't be what it is said to be stays a text.
"""

import json
import math
import re
from typing import Any

from gateway.nesting import is_deeper

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DEEPEST = 24  # levels of JSON; a policy may have 32, and some of them are around it


def clean(text: str) -> str:
    """A text with line feeds for a browser's line ends, and nothing that UTF-8 can't say."""
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n"))


def value_of(kind: str, value: str, table: str) -> Any:
    """Return what a row's kind and text say."""
    match kind:
        case "js":
            return {"js": value}
        case "json":
            return from_json(value)
        case "off" if table.endswith(".params"):
            return False
    return value


def kind_of(value: Any, table: str) -> tuple[str, str]:
    """Return the kind and text that show a value."""
    match value:
        case str():
            return "text", clean(value)
        case {"js": str() as source, **more} if not more:
            return "js", clean(source)
        case False if table.endswith(".params"):
            return "off", ""
        case int() | float() if table.endswith(".params") and not isinstance(value, bool):
            return "text", str(value)
    return "json", json_text(value)


def from_json(text: str) -> Any:
    """What a JSON text says, where TOML can say it too; else the text itself."""
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    if is_deeper(value, _DEEPEST) or _has_null(value) or _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        return text
    return value


def json_text(value: Any) -> str:
    """The JSON of a value, written so that it is read as what it is."""
    if isinstance(value, str) and from_json(value) == value and isinstance(from_json(value), str):
        return clean(value)
    return clean(
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


def source_of(text: str) -> Any:
    """What a field's `from` is by its text: a template, or `{"js": "…"}`."""
    value = from_json(text)
    return value if isinstance(value, dict) else text


def source_text(value: Any) -> str:
    """How a field's `from` is shown."""
    return json_text(value) if isinstance(value, dict) and value else text_of(value)


def text_of(value: Any) -> str:
    """How a single value is shown; a list or a table isn't."""
    match value:
        case None | dict() | list():
            return ""
        case bool():
            return str(value).lower()
    return clean(str(value))


def listed(value: Any) -> list[tuple[str, Any]]:
    """The items of a list, each with how it is shown."""
    items = value if isinstance(value, list) else []
    return [(json_text(item) if isinstance(item, dict | list) else text_of(item), item) for item in items]
