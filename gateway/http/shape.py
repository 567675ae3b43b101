"""The shape of a head: its field names, in order.

What a proxy does with a field stands in its name, and the names are nearly always the same ones: those of one client's
requests, those of one service's answers. So whatever depends on names alone is worked out once for each sequence of
them and remembered: which fields frame or route, which may not stand twice, which end here, and the text of the rest
with a place for each value. Values are read anew in every message.

How many shapes are remembered, and how long, is bounded: names are the caller's choice.
"""

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import ClassVar, Generic, TypeVar

from gateway.http.fields import Fields, Role, read_name

NOTHING: frozenset[bytes] = frozenset()
_MAX_SHAPES = 1024
_MAX_NAMES = 128  # in a shape that is remembered
_MAX_BYTES = 2048  # of all these names together
_MAX_DROPPED = 16  # names in a set of those that are dropped from it
_MAX_TEMPLATES = 8  # of a shape: one for each set of names that an injection replaces

Template = tuple[bytes, Callable[[Sequence[bytes]], bytes | tuple[bytes, ...]]]
"""Lines with `%b` for each value, and what picks the values: `text % pick(values)`."""


class Shape:
    """What a sequence of field names comes to, whatever their values are."""

    __slots__ = ("_kept", "_templates", "folded", "names", "places")

    ends_here: ClassVar[frozenset[Role]] = frozenset()
    """Roles that are never passed on."""

    def __init__(self, names: tuple[bytes, ...]) -> None:
        read = [read_name(name) for name in names]
        self.names = names
        self.folded = tuple(name.folded for name in read)
        places: dict[Role, list[int]] = {}
        for at, name in enumerate(read):
            places.setdefault(name.role, []).append(at)
        self.places = {role: tuple(found) for role, found in places.items()}
        self._kept = tuple(at for at, name in enumerate(read) if name.role not in self.ends_here)
        self._templates: dict[frozenset[bytes], Template] = {}

    def all(self, role: Role) -> tuple[int, ...]:
        """Return where fields of this role stand."""
        return self.places.get(role, ())

    def last(self, role: Role) -> int:
        """Return where the last field of this role stands; -1: nowhere."""
        return self.places.get(role, (-1,))[-1]

    def template(self, drop: frozenset[bytes]) -> Template:
        """Return the lines that are passed on: all but those that end here and those named (folded) in `drop`."""
        return self._templates.get(drop) or self._make_template(drop)

    def _make_template(self, drop: frozenset[bytes]) -> Template:
        kept = [at for at in self._kept if self.folded[at] not in drop]
        text = b"".join(self.names[at].replace(b"%", b"%%") + b": %b\r\n" for at in kept)
        template: Template = (text, itemgetter(*kept) if kept else _no_values)
        if len(drop) <= _MAX_DROPPED and _is_small(drop):  # a `Connection` can nominate as many as a head has room for
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            self._templates[drop] = template
        return template


_S = TypeVar("_S", bound=Shape)


class Shapes(Generic[_S]):
    """The shapes of one kind that were seen before."""

    def __init__(self, kind: Callable[[tuple[bytes, ...]], _S]) -> None:
        self._kind = kind
        self._known: dict[tuple[bytes, ...], _S] = {}

    def of(self, fields: Fields) -> tuple[_S, list[bytes]]:
        """Return the shape of these fields, and their values. Raises what making one raises: it isn't remembered."""
        names = tuple([name for name, _ in fields])
        return self._known.get(names) or self._add(names), [value for _, value in fields]

    def __len__(self) -> int:
        return len(self._known)

    def _add(self, names: tuple[bytes, ...]) -> _S:
        shape = self._kind(names)
        if _is_small(names):
            if len(self._known) >= _MAX_SHAPES:
                self._known.clear()
            self._known[names] = shape
        return shape


def _is_small(names: Collection[bytes]) -> bool:
    return len(names) <= _MAX_NAMES and sum(map(len, names)) <= _MAX_BYTES


def _no_values(_values: Sequence[bytes]) -> tuple[bytes, ...]:
    return ()
