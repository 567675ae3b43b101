"""The tables of `tests/cases` as values. What a key means stands at the top of each table."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import PROBLEMS

FOLDER = Path(__file__).parent.parent / "cases"
_MANY = re.compile(r"\{([^{}]+)\*(\d+)\}")
ENTRANCES = ("absolute", "tunnel", "path")


def table(name: str) -> dict[str, Any]:
    """A table, as TOML has it."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


@dataclass(frozen=True, kw_only=True)
class RequestCase:
    """One request that is sent, and what of it may arrive."""

    name: str
    line: str = "POST {target} HTTP/1.1"
    first: str = ""
    host: str = "Host: {host}\r\n"
    fields: str = ""
    end: str = "\r\n"
    content: str = ""
    behind: str = ""
    raw: str | None = None
    cut: bool = False
    late: bool = False
    reads: str | None = None
    also: tuple[str, ...] = ()
    target: str = ""
    field: tuple[str, str] | None = None
    lacks: str = ""
    code: str | None = None
    goes_on: bool = False

    @property
    def method(self) -> str:
        """The method, where one is read."""
        return self.line.split()[0]

    @property
    def refused_with(self) -> str:
        """The code of the last answer; "" for none of ours."""
        if self.code is not None:
            return self.code
        return "request_rejected" if self.reads is None and not self.cut else ""

    def head(self, words: Mapping[str, str]) -> bytes:
        """The head as it is sent; `words` are what the entrance says for each placeholder."""
        text = f"{self.line}\r\n{self.first}{self.host}{{tag}}{self.fields}{self.end}"
        return _filled(text if self.raw is None else self.raw, words)

    def rest(self, words: Mapping[str, str]) -> bytes:
        """What is sent behind the head."""
        return _filled(self.content + self.behind, words)

    def read(self) -> tuple[str, str]:
        """What of the target is its own, and the content that is read."""
        return _many(self.target), _many(self.reads or "")


def request_cases(name: str, entrance: str) -> Iterator[RequestCase]:
    """Every request of a table, as one entrance is to answer it."""
    for group in table(name)["group"]:
        shared = {key: value for key, value in group.items() if key not in {"name", "bytes", "cases"}}
        for case in group["cases"]:
            given = shared | case
            there = {other: given.pop(other, {}) for other in ENTRANCES}
            given |= there[entrance]
            if given.pop("unread", False):
                del given["reads"]
            assert given.get("code", "request_rejected") in {*PROBLEMS, ""}, given
            for byte in group.get("bytes", "-"):
                name_ = f"{group['name']}: {case['name']}" + (f" ({byte!r})" if "bytes" in group else "")
                values = {
                    key: value.replace("{byte}", byte) if isinstance(value, str) else value
                    for key, value in given.items()
                }
                yield RequestCase(**values | {"name": name_})


def _filled(text: str, words: Mapping[str, str]) -> bytes:
    text = _many(text)
    for placeholder, word in words.items():
        text = text.replace(f"{{{placeholder}}}", word)
    return text.encode("latin-1")


def _many(text: str) -> str:
    return _MANY.sub(lambda many: many[1] * int(many[2]), text)


@dataclass(frozen=True, kw_only=True)
class AnswerCase:
    """What a service answers, and what its callers see."""

    name: str
    send: str
    method: str = "GET"
    closes: bool = False
    later: str = ""
    status: int = 200
    sees: str | None = None
    code: str = ""
    cut: bool = False


def answer_cases(name: str) -> Iterator[AnswerCase]:
    """Every answer of a table."""
    for group in table(name)["answers"]:
        for case in group["cases"]:
            yield AnswerCase(**case | {"name": f"{group['name']}: {case['name']}"})
