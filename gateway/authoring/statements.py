"""A TOML text cut into its statements: headers and pairs, each with the comments above it. Joined again it is the text.

Only for what is TOML already (`tomllib` has read it): so the cutting looks for ends, and not for faults.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""A key path; the tables of a list have their numbers in it."""

_PART = r"(?:[A-Za-z0-9_-]++|\"(?:[^\"\\\n]|\\.)*+\"|'[^'\n]*+')"
_KEY = rf"{_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+"
_TRIVIA = re.compile(r"(?:[ \t]*+(?:#[^\n]*+)?(?:\r?\n|\Z))")
_HEADER = re.compile(rf"[ \t]*+(\[\[?)[ \t]*+({_KEY})[ \t]*+\]\]?[^\n]*+(?:\n|\Z)")
_BEFORE = re.compile(rf"([ \t]*+)({_KEY})([ \t]*+=[ \t]*+)")
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*+"""(?:"{1,2})?'
    r"|'''(?:[^']|'(?!''))*+'''(?:'{1,2})?"
    r'|"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\''
    r"|(?P<comment>#[^\n]*+)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)|[^\"'#\[\]{}\n]++"
)
_KEY_PART = re.compile(_PART)
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Statement:
    """A header (`value` is None) or a pair. `lead` is what stands above it, `tail` what follows the value on its line.

    `path` is the whole key path, `table` that of the header above. `listed`: the header opens one more of a list.
    """

    lead: str
    indent: str = ""
    key: str = ""
    equals: str = " = "
    value: str | None = None
    tail: str
    path: Path
    table: Path = ()
    listed: bool = False

    @property
    def text(self) -> str:
        """The statement as it stands in the file."""
        return f"{self.lead}{self.own}"

    @property
    def own(self) -> str:
        """The same without what stands above it."""
        return self.tail if self.value is None else f"{self.indent}{self.key}{self.equals}{self.value}{self.tail}"


@dataclass(slots=True)
class Document:
    """A text's statements in their order, and what stands below the last."""

    statements: list[Statement] = field(default_factory=list)
    end: str = ""
    newline: str = "\n"

    @property
    def text(self) -> str:
        """The whole text; each statement is on a line of its own."""
        parts = [statement.text for statement in self.statements]
        ended = [part if part.endswith("\n") else part + self.newline for part in parts[:-1]]
        last = parts[-1:] if not self.end or not parts or parts[-1].endswith("\n") else [parts[-1] + self.newline]
        return "".join([*ended, *last, self.end])


def cut(text: str) -> Document:
    """Cut a text that is TOML."""
    document = Document(newline="\r\n" if "\r\n" in text else "\n")
    counts: dict[Path, int] = {}
    table: Path = ()
    at, lead = 0, 0
    while at < len(text):
        if match := _TRIVIA.match(text, at):
            at = match.end()
            continue
        if match := _HEADER.match(text, at):
            listed = match[1] == "[["
            table = _resolved(key_parts(match[2]), counts, listed=listed)
            statement = Statement(lead=text[lead:at], tail=match[0], path=table, table=table, listed=listed)
            at = match.end()
        else:
            statement, at = _pair(text, lead, at, table)
        document.statements.append(statement)
        lead = at
    document.end = text[lead:]
    return document


def key_parts(key: str) -> tuple[str, ...]:
    """The names of a dotted key."""
    return tuple(
        part if _BARE.fullmatch(part) else next(iter(tomllib.loads(f"{part} = 0"))) for part in _KEY_PART.findall(key)
    )


def _resolved(parts: Iterable[str], counts: dict[Path, int], *, listed: bool) -> Path:
    """A header's path: `[fields.x]` below the second `[[fields]]` is fields, 1, x."""
    parts = tuple(parts)
    path: Path = ()
    for number, part in enumerate(parts):
        path = (*path, part)
        if number == len(parts) - 1 and listed:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _pair(text: str, lead: int, at: int, table: Path) -> tuple[Statement, int]:
    before = _BEFORE.match(text, at)
    if before is None:
        raise ValueError(f"no statement at {at}")
    end, stop = _value_end(text, before.end())
    statement = Statement(
        lead=text[lead:at],
        indent=before[1],
        key=before[2],
        equals=before[3],
        value=text[before.end() : end],
        tail=text[end:stop],
        path=(*table, *key_parts(before[2])),
        table=table,
    )
    return statement, stop


def _value_end(text: str, at: int) -> tuple[int, int]:
    """Where a value ends, and where its line does."""
    depth, end = 0, at
    for match in _tokens(text, at):
        if match["end"] and not depth:
            return end, match.end()
        if match["comment"] and not depth:
            continue
        depth += bool(match["open"]) - bool(match["close"])
        if match["comment"] is None and match[0].strip():
            end = match.start() + len(match[0].rstrip())
    return end, len(text)


def _tokens(text: str, at: int) -> Iterator[re.Match[str]]:
    while match := _TOKEN.match(text, at):
        yield match
        at = match.end()
