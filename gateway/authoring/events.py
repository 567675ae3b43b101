"""YAML put together from its parser's events, without recursion: the loaders of PyYAML recurse in C.

So there are no tags and no merge keys, which grow without bound. An alias is what it stands for and no copy.
"""

from collections.abc import Callable, Iterable
from typing import Any

import yaml

DEEPEST = 100  # levels of lists and tables; a description of an API has some 20
_NONE = object()  # no key yet


class TooDeep(ValueError):
    """The text nests deeper than anything that is meant."""


def events(text: str) -> Iterable[Any]:
    """Yield the parser's events. Raises `yaml.YAMLError`, `UnicodeEncodeError`."""
    parsed: Iterable[Any] = yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    return parsed


def composed(found: Iterable[Any], scalar: Callable[[Any], Any]) -> Any:
    """Put the first document's events together; `scalar` says what a scalar's event is. Raises `TooDeep`."""
    root: list[Any] = []
    stack: list[_Open] = [_Open(root)]
    anchors: dict[str, Any] = {}
    for event in found:
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            value = _value(event, anchors, _as_text if stack[-1].wants_key else scalar)
            stack[-1].put(value)
            if isinstance(event, yaml.CollectionStartEvent):
                stack.append(_Open(value))
        if len(stack) > DEEPEST:
            raise TooDeep
    return root[0] if root else None


def _as_text(event: Any) -> str:
    text: str = event.value
    return text


def _value(event: Any, anchors: dict[str, Any], scalar: Callable[[Any], Any]) -> Any:
    """What an event begins; an alias is what its anchor stands for."""
    if isinstance(event, yaml.AliasEvent):
        return anchors.get(event.anchor)
    kind = {yaml.SequenceStartEvent: list, yaml.MappingStartEvent: dict}.get(type(event))
    value: Any = kind() if kind else scalar(event)
    if event.anchor is not None:
        anchors[event.anchor] = value
    return value


class _Open:
    """A list or table that isn't ended yet."""

    def __init__(self, value: list[Any] | dict[str, Any]) -> None:
        self._value = value
        self._key: Any = _NONE

    @property
    def wants_key(self) -> bool:
        """Whether a table's next key comes now."""
        return isinstance(self._value, dict) and self._key is _NONE

    def put(self, value: Any) -> None:
        """Add an item, or a key and then its value; what has a list or a table for its key is left out."""
        if isinstance(self._value, list):
            self._value.append(value)
        elif self._key is _NONE:
            self._key = value
        else:
            if isinstance(self._key, str):
                self._value[self._key] = value
            self._key = _NONE
