"""A TOML text that says something else, with everything that needn't change byte for byte.

A comment right above a statement goes where it goes; above the first of several it is about all of them, and stays.
"""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.authoring.spelling import key, respelled, same, spelled
from gateway.authoring.statements import Document, Path, Statement, cut

BOM = "\ufeff"
_ORDER = (
    ("allow",),
    ("fields",),
    ("auth",),
    ("auth", "request_token"),
    ("auth", "authorize"),
    ("auth", "device"),
    ("auth", "assertion"),
    ("auth", "token"),
    ("auth", "exchange"),
    ("auth", "refresh"),
    ("auth", "revoke"),
    ("lookup",),
    ("test",),
    ("connection",),
    ("inject", "headers"),
    ("inject", "defaults"),
    ("inject", "query"),
    ("inject", "body"),
    ("sign",),
    ("limits",),
    ("examples",),
)
"""The tables that have headers of their own, in the order of the reference; all others are written on one line."""


def patched(text: str, new: Mapping[str, Any]) -> str:
    """Return a text that says `new`, as near to `text` as can be."""
    body = text.removeprefix(BOM)
    old = tomllib.loads(body)
    if same(old, new):
        return text
    for attempt in (_changed, _replaced, _anew):
        found = attempt(body, old, dict(new))
        if _says(found, new):
            return text[: len(text) - len(body)] + found
    raise AssertionError("a text that is written anew says what it was written for")


def _says(text: str, new: Mapping[str, Any]) -> bool:
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return _alike(said, new)


def _alike(one: Any, other: Any) -> bool:
    """The same, but for the order of keys in tables that have tables in them: TOML has those after the pairs."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        ordered = not any(isinstance(value, dict) for value in one.values()) or list(one) == list(other)
        return (
            one.keys() == other.keys()
            and (not ordered or list(one) == list(other))
            and all(_alike(one[name], other[name]) for name in one)
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return same(one, other)


def _changed(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    editor = _Editor(cut(text))
    editor.change((), old, new)
    return editor.document.text


def _replaced(text: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs is written anew, whole: where a table is scattered over the file in a way that can't be changed."""
    editor = _Editor(cut(text))
    for name in [name for name in old if name not in new or not same(old[name], new[name])]:
        editor.remove((name,))
    for name in [name for name in new if name not in old or not same(old[name], new[name])]:
        editor.add((name,), new[name])
    return editor.document.text


def _anew(_text: str, _old: dict[str, Any], new: dict[str, Any]) -> str:
    editor = _Editor(Document())
    for name, value in new.items():
        editor.add((name,), value)
    return editor.document.text


class _Editor:
    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def _all(self) -> list[Statement]:
        return self.document.statements

    def change(self, path: Path, old: Any, new: Any) -> None:
        """Make a path that says `old` say `new`."""
        if same(old, new):
            return
        pair = self._pair(path)
        if pair is not None and pair.value is not None:
            pair.value = respelled(pair.value, old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            self._table(path, old, new)
        elif isinstance(old, list) and isinstance(new, list) and all(isinstance(row, dict) for row in new):
            self._rows(path, old, new)
        else:
            self.remove(path)
            self.add(path, new)

    def add(self, path: Path, value: Any) -> None:
        """Say something where nothing is said."""
        if isinstance(value, list) and path in _ORDER and value and all(isinstance(row, dict) for row in value):
            at = self._place(path)
            for number, row in enumerate(value):
                at = self._insert(at, _row(path, number, row, self._blank))
        elif isinstance(value, dict) and value and path in _ORDER:
            self._header(path)
            for name, item in value.items():
                self.add((*path, name), item)
        elif isinstance(value, dict) and value and any(one[: len(path)] == path for one in _ORDER):
            for name, item in value.items():
                self.add((*path, name), item)
        else:
            self._add_pair(path, value)

    def remove(self, path: Path) -> None:
        """Say nothing at a path and below it."""
        for number in reversed([at for at, one in enumerate(self._all) if one.path[: len(path)] == path]):
            statement = self._all.pop(number)
            is_first = (
                number == 0 or self._all[number - 1].table != statement.table or self._all[number - 1].value is None
            )
            kept = statement.lead if is_first and statement.value is not None else _without_own(statement)
            if number < len(self._all):
                self._all[number].lead = kept + self._all[number].lead
            else:
                self.document.end = kept + self.document.end

    # Tables.

    def _table(self, path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
        old = self._renamed(path, old, new)
        for name in old:
            if name not in new:
                self.remove((*path, name))
            else:
                self.change((*path, name), old[name], new[name])
        for name, value in new.items():
            if name not in old:
                self.add((*path, name), value)
        self._sort(path, list(new))

    def _renamed(self, path: Path, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Write another key where one took another's place, and return the old table with it."""
        names = dict(zip(old, new, strict=False))
        renamed: dict[str, Any] = {}
        for name, value in old.items():
            other = names.get(name, name)
            pair = self._pair((*path, name))
            if name in new or other in old or pair is None or len(pair.path) != len(pair.table) + 1:
                renamed[name] = value
                continue
            pair.key, pair.path = key(other), (*path, other)
            renamed[other] = value
        return renamed

    def _sort(self, path: Path, names: list[str]) -> None:
        """Put the pairs of a table into an order, if all of them stand below one header."""
        places = [at for at, one in enumerate(self._all) if one.value is not None and one.path[:-1] == path]
        pairs = [self._all[at] for at in places]
        now = [str(pair.path[-1]) for pair in pairs]
        wanted = [name for name in names if name in now]
        if now == wanted or len({pair.table for pair in pairs}) != 1 or len(now) != len(wanted):
            return
        by_name = dict(zip(now, ([pair] for pair in pairs), strict=True))
        arranged = _arranged([by_name[name] for name in now], [by_name[name] for name in wanted])
        for at, (pair,) in zip(places, arranged, strict=True):
            self._all[at] = pair

    # Rows of a list of tables.

    def _rows(self, path: Path, old: list[Any], new: list[Any]) -> None:
        homes = _homes(old, new)
        for row, home in zip(new, homes, strict=True):
            if home is not None and not same(old[home], row):
                self._table((*path, home), old[home], row)
        spans = self._spans(path, len(old))
        first = self._all.index(spans[0][0])
        before = self._all[:first]
        gone = {id(statement) for span in spans for statement in span}
        after = [statement for statement in self._all[first:] if id(statement) not in gone]
        blank = _blank_of(spans[1][0].lead) if len(spans) > 1 else ""
        wanted = [
            spans[home] if home is not None else _row(path, number, row, blank)
            for number, (row, home) in enumerate(zip(new, homes, strict=True))
        ]
        rows = _arranged(spans, wanted)
        self.document.statements = [*before, *(statement for row in rows for statement in row), *after]

    def _spans(self, path: Path, count: int) -> list[list[Statement]]:
        """The statements of each row."""
        spans: list[list[Statement]] = [[] for _ in range(count)]
        for statement in self._all:
            if statement.table[: len(path)] == path and isinstance(number := statement.table[len(path)], int):
                spans[number].append(statement)
        return spans

    # Where things go.

    @property
    def _blank(self) -> str:
        return self.document.newline

    def _pair(self, path: Path) -> Statement | None:
        return next((one for one in self._all if one.value is not None and one.path == path), None)

    def _add_pair(self, path: Path, value: Any) -> None:
        parent = path[:-1]
        at = self._end_of(parent)
        table = parent
        if at is None:
            at, table = self._dotted(parent)
        if at is None:
            at = self._header(parent)
            table = parent
        names = ".".join(key(str(part)) for part in path[len(table) :])
        text = spelled(value, wide=True)
        self._insert(at, [Statement(lead="", key=names, value=text, tail=self._blank, path=path, table=table)])

    def _end_of(self, table: Path) -> int | None:
        """Behind the last pair of a table that has a header (or is the file's own)."""
        places = [at for at, one in enumerate(self._all) if one.table == table]
        if places:
            return places[-1] + 1
        return None if table else 0

    def _dotted(self, table: Path) -> tuple[int | None, Path]:
        """Behind the last pair whose dotted key makes a table that has no header."""
        for at, one in reversed(list(enumerate(self._all))):
            if one.value is not None and one.path[: len(table)] == table and len(one.table) < len(table):
                return at + 1, one.table
        return None, ()

    def _header(self, path: Path) -> int:
        at = self._end_of(path)
        if at is None:
            head = ".".join(key(str(part)) for part in path)
            line = Statement(lead=self._blank, tail=f"[{head}]{self._blank}", path=path, table=path)
            at = self._insert(self._place(path), [line])
        return at

    def _insert(self, at: int, statements: list[Statement]) -> int:
        if at and not self._all[at - 1].own.endswith("\n"):
            self._all[at - 1].tail += self.document.newline
        if not at and statements[0].value is None:
            statements[0].lead = statements[0].lead.removeprefix(self._blank)
        self._all[at:at] = statements
        return at + len(statements)

    def _place(self, path: Path) -> int:
        """Where a new header goes: behind the nearest that comes before it in the order of the reference."""
        headers = [(at, one) for at, one in enumerate(self._all) if one.value is None]
        kin = [(at, one) for at, one in headers if one.path[0] == path[0]]
        lower = [one for _, one in kin or headers if _rank(one.path) <= _rank(path)]
        if lower:
            last = lower[-1].table
            return 1 + max(
                at for at, one in enumerate(self._all) if one.table[: len(last)] == last and one.table == last
            )
        if kin:
            return kin[0][0]
        return sum(1 for one in self._all if not one.table)


def _rank(path: Path) -> int:
    names = tuple(part for part in path if isinstance(part, str))
    for length in range(len(names), 0, -1):
        if names[:length] in _ORDER:
            return _ORDER.index(names[:length])
    return next((rank for rank, one in enumerate(_ORDER) if one[0] == names[0]), len(_ORDER))


def _row(path: Path, number: int, row: Mapping[str, Any], blank: str) -> list[Statement]:
    at: Path = (*path, number)
    names = ".".join(key(str(part)) for part in path)
    newline = "\n"
    lines = [Statement(lead=blank, tail=f"[[{names}]]{newline}", path=at, table=at, listed=True)]
    for name, value in row.items():
        text = spelled(value, wide=True)
        lines.append(Statement(lead="", key=key(name), value=text, tail=newline, path=(*at, name), table=at))
    return lines


def _homes(old: Sequence[Any], new: Sequence[Any]) -> list[int | None]:
    """For each new row, the old one that it was: the same, else of the same name, else in its place."""
    free = dict(enumerate(old))
    homes: list[int | None] = [None] * len(new)
    tests = (
        lambda _at, row, _number, other: same(row, other),
        lambda _at, row, _number, other: isinstance(other, dict) and "name" in row and row["name"] == other.get("name"),
        lambda at, _row, number, _other: at == number,
    )
    for test in tests:
        for at, row in enumerate(new):
            if homes[at] is None:
                found = next((number for number, other in free.items() if test(at, row, number, other)), None)
                if found is not None:
                    homes[at] = found
                    del free[found]
    return homes


def _arranged(old: list[list[Statement]], new: list[list[Statement]]) -> list[list[Statement]]:
    """Put groups of statements into another order; what stands above the first of all stays above the first."""
    top = old[0][0]
    group, blank = top.lead, _blank_of(old[1][0].lead) if len(old) > 1 else ""
    top.lead = blank
    if new:
        first = new[0][0]
        first.lead = group + first.lead[len(_blank_of(first.lead)) :]
    return new


def _blank_of(lead: str) -> str:
    """The empty lines at the beginning of what stands above a statement."""
    return lead[: len(lead) - len(lead.lstrip("\r\n"))]


def _without_own(statement: Statement) -> str:
    """What stands above a statement, but for the lines right above it, and for a header one empty line."""
    lines = statement.lead.splitlines(keepends=True)
    while lines and lines[-1].strip():
        lines.pop()
    return "".join(lines[:-1] if statement.value is None else lines)
