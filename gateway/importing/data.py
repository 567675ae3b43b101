"""A list of providers as somebody else wrote it, as plain data: YAML or JSON, of bounded size and depth.

YAML is read from its parser's events. There are no tags and no merge keys, and an alias is refused: what it stands for
may stand for endlessly much. Of its plain scalars only true, false, null and whole numbers are not texts.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gateway.authoring.document import Table, listed, table, text
from gateway.authoring.events import TooDeep, composed, events
from gateway.nesting import is_deeper

__all__ = ["FileInvalid", "Heeded", "Table", "line", "listed", "read", "scalar", "several", "table", "text"]

LARGEST = 8 << 20  # characters; nango's list, the longest known, is one million
_DEEPEST = 24  # levels; nango's list has 12
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class FileInvalid(ValueError):
    """The text is no list of providers; the message says what it is and what would be right."""


class Heeded(Mapping[str, Any]):
    """An entry that knows which of its keys were asked for: the others are what nobody here has heeded."""

    def __init__(self, data: Table) -> None:
        self._data = data
        self._asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def unheeded(self) -> list[str]:
        """Return the keys that it has and that nobody asked for, in its order."""
        return [key for key in self._data if key not in self._asked]


def read(text: str) -> Table:
    """Return the text's table. Raises `FileInvalid`."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise FileInvalid("is empty")
    if len(text) > LARGEST:
        raise FileInvalid(f"is over {LARGEST >> 20} MiB")
    data = _json(text) if text.startswith(("{", "[")) else _yaml(text)
    if not isinstance(data, dict) or is_deeper(data, _DEEPEST):
        raise FileInvalid("is no table of providers by their names")
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FileInvalid("has half of a character in it (a lone surrogate)") from None
    return data


def line(value: Any, longest: int = 200) -> str:
    """Return a text as one line that isn't longer than that, without control characters."""
    words = " ".join(text(value).split())
    return "".join(letter for letter in words if letter.isprintable())[:longest].strip()


def several(value: Any) -> list[str]:
    """Return the texts of a list that aren't empty; a text alone is a list of one."""
    written = [value] if isinstance(value, str) else listed(value)
    return [one for one in map(text, written) if one]


def scalar(value: Any) -> str:
    """Return a text, a number, true or false as it is sent; what is none of them is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else text(value)


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise FileInvalid(f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (RecursionError, ValueError):
        raise FileInvalid("nests too deep to be a list of providers, or has a number that is none") from None


def _yaml(text: str) -> Any:
    try:
        return composed(map(_without_alias, events(text)), _plain)
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FileInvalid(f"is neither JSON nor YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise FileInvalid("is neither JSON nor YAML") from None
    except TooDeep:
        raise FileInvalid("nests too deep to be a list of providers") from None


def _without_alias(event: Any) -> Any:
    if isinstance(event, yaml.AliasEvent):
        raise FileInvalid(f"has an alias (*{event.anchor[:40]}); write out what it stands for")
    return event


def _plain(event: Any) -> Any:
    """A scalar's value: quoted it is a text, whatever it says."""
    value: str = event.value
    if not event.implicit[0] or event.style:
        return value
    if value in _WORDS:
        return _WORDS[value]
    return int(value) if _WHOLE_NUMBER.fullmatch(value) else value
