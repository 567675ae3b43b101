"""The words of the pages: all of them in `english.toml`, each by its key.

A text may say `{name}`, which is filled in, `` `code` `` and `**strong**`. What is filled in is data and never markup.
A text that depends on a number is a table of `one` and `other`, chosen by the value `n`.

`t(key, …)` is for what stands between tags, `plain(key, …)` for attributes and titles, where there is no markup.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

FILE = Path(__file__).parent / "english.toml"
_MARKS = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
_PLACE = re.compile(r"\{([a-z_]+)\}")


@cache
def words() -> Mapping[str, str | Mapping[str, str]]:
    """Return every text by its whole key, such as `connect.title`."""
    return dict(_flat(tomllib.loads(FILE.read_text(encoding="utf-8")), ""))


def plain(key: str, **values: object) -> str:
    """Return a text without its marks. Raises `KeyError`: an unknown key, or a value that is missing."""
    return _PLACE.sub(lambda match: str(values[match[1]]), _MARKS.sub(r"\1\2", _text(key, values)))


def t(key: str, **values: object) -> Markup:
    """Return a text as HTML; what is filled in is escaped. Raises as `plain`."""
    return _filled(str(_marked(_text(key, values))), values)


def has(key: str) -> bool:
    """Whether there is such a text."""
    return key in words()


def _text(key: str, values: Mapping[str, object]) -> str:
    found = words()[key]
    if isinstance(found, str):
        return found
    return found["one" if values["n"] == 1 else "other"]


@cache
def _marked(text: str) -> Markup:
    escaped = str(escape(text))
    return Markup(_MARKS.sub(lambda m: f"<code>{m[1]}</code>" if m[1] else f"<strong>{m[2]}</strong>", escaped))  # noqa: S704 - our own text, escaped


def _filled(html: str, values: Mapping[str, object]) -> Markup:
    return Markup(_PLACE.sub(lambda match: str(escape(values[match[1]])), html))  # noqa: S704 - ours, and escaped values


def _flat(table: Mapping[str, Any], before: str) -> list[tuple[str, str | Mapping[str, str]]]:
    found: list[tuple[str, str | Mapping[str, str]]] = []
    for name, value in table.items():
        if isinstance(value, dict) and set(value) != {"one", "other"}:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((before + name, value))
    return found
