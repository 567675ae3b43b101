"""How values are written in TOML, and how a value that is written changes into another: as little as can be."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LITERAL = re.compile(r"[^'\x00-\x08\x0a-\x1f\x7f]*\\[^'\x00-\x08\x0a-\x1f\x7f]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ENDS = re.compile(r'(?<="")"|"\Z')  # a quote with which a text of several lines would end
_WIDEST = 100  # characters of a list on one line


def key(name: str) -> str:
    """Write a name as a key."""
    return name if _BARE.fullmatch(name) else tomlkit.item(name).as_string()


def spelled(value: Any, *, wide: bool = False) -> str:
    """Write a value; with `wide`, a long list has a line for each item."""
    match value:
        case str():
            return _text(value)
        case Mapping():
            return _table({name: spelled(item) for name, item in value.items()})
        case list() | tuple():
            line = f"[{', '.join(map(spelled, value))}]"
            if not wide or (len(line) <= _WIDEST and "\n" not in line):
                return line
            return "[\n" + "".join(f"    {spelled(item)},\n" for item in value) + "]"
        case bool() | float():
            return repr(value).lower()
    return str(tomlkit.item(value).as_string())


def _table(texts: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{key(name)} = {text}" for name, text in texts.items())
    return f"{{ {pairs} }}" if pairs else "{}"


def respelled(text: str, old: Any, new: Any) -> str:
    """Write `new` where `text` says `old`; what is the same in both keeps its spelling."""
    if same(old, new):
        return text
    match old, new:
        case dict(), dict():
            written = _item(text)
            texts = {
                name: respelled(_own(written[name], old[name]), old[name], item) if name in old else spelled(item)
                for name, item in new.items()
            }
            return _table(texts)
        case list(), list() if old:
            changed = _list(text, old, new)
            return changed if same(tomllib.loads(f"x = {changed}")["x"], new) else spelled(new, wide="\n" in text)
    return spelled(new, wide=True)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same for TOML: 1, 1.0 and true are three, and the order of names counts."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))  # noqa: PLR0124  nan


def _item(text: str) -> Any:
    return tomlkit.parse(f"x = {text}")["x"]


def _own(item: Any, value: Any) -> str:
    """How an item inside another is written; one that dotted keys make is written as a value."""
    text = str(tomlkit.item(item).as_string())
    return text if not isinstance(value, dict) or text.startswith("{") else spelled(value)


def _list(text: str, old: list[Any], new: list[Any]) -> str:
    items = _item(text)
    if "\n" not in text:
        written = [(item, _own(one, item)) for item, one in zip(old, items, strict=True)]
        return f"[{', '.join(next((kept for one, kept in written if same(one, item)), spelled(item)) for item in new)}]"
    matcher = difflib.SequenceMatcher(None, [repr(item) for item in old], [repr(item) for item in new], autojunk=False)
    for tag, start, stop, first, last in reversed(matcher.get_opcodes()):
        if tag == "equal":
            continue
        both = min(stop - start, last - first)
        for number in range(both):
            items[start + number] = _item(spelled(new[first + number]))
        for number in reversed(range(start + both, stop)):
            del items[number]
        for number in range(first + both, last):
            items.insert(start + number - first, _item(spelled(new[number])))
    return str(items.as_string())


def _text(text: str) -> str:
    if "\n" in text:
        inner = _ENDS.sub(r'\\"', text.replace("\\", "\\\\"))
        return '"""\n' + _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", inner) + '"""'
    return f"'{text}'" if _LITERAL.fullmatch(text) else tomlkit.item(text).as_string()
