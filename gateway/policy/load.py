"""Loading: a policy file's text to a `Policy`, or to every fault it has. Nothing that a text can hold raises."""

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.nesting import is_deeper
from gateway.policy import structure
from gateway.policy.checks import (
    allow,
    assertion,
    auth,
    chosen,
    endpoints,
    examples,
    fields,
    found,
    inject,
    limits,
    sign,
    templates,
)
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, Finding
from gateway.policy.model import Policy

__all__ = ["APP", "Finding", "Loaded", "Unreadable", "load", "read"]

MAX_SIZE = 1_048_576  # characters; the largest policy of a real app is a hundredth of it
_DEEPEST = 32  # levels of tables and lists; the deepest policy of a real app has 4
APP = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII)  # a file name, a URL segment, a part of an id
_NAMED = (
    "name the file with lower-case letters, digits, - and _, at most 63, the first and the last a letter or a digit"
)
_PART = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
# tomllib's time grows with the cube of a dotted key's parts: such a key is refused before it is read.
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_DEEPEST},}}")
_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")
_CHECKS: tuple[Callable[[Draft], Iterable[Fault]], ...] = (
    fields.check,
    found.check,
    allow.check,
    auth.check,
    endpoints.check,
    assertion.check,
    chosen.check,
    templates.check,
    inject.check,
    sign.check,
    limits.check,
    examples.check,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a file: the policy, if there is not one fault, and the faults in the file's order of sections."""

    policy: Policy | None
    findings: tuple[Finding, ...]


def load(text: str, *, app: str, file: str) -> Loaded:
    """Read and check one policy file. `app` is its name without `.toml`, `file` what to call it in findings."""
    faults: list[Fault] = []
    if not APP.fullmatch(app):
        faults.append(("", f"{app!r} is no name for an app; {_NAMED}"))
    try:
        data = read(text)
    except Unreadable as error:
        return Loaded(None, tuple(Finding(file, path, message) for path, message in [*faults, error.fault]))
    broken, pruned = structure.check(data)
    faults += broken
    draft = Draft.of(pruned)
    known = {path for path, _ in faults}
    for check in _CHECKS:
        faults += [(path, message) for path, message in check(draft) if path not in known]
    findings = tuple(dict.fromkeys(Finding(file, path, message) for path, message in faults))
    return Loaded(None if findings else Policy.model_validate(data), findings)


class Unreadable(Exception):
    """The text is no TOML that could be a policy; `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(*fault)
        self.fault = fault


def read(text: str) -> dict[str, object]:
    """Return a policy's tables and values as TOML has them, unchecked. Raises `Unreadable`."""
    if len(text) > MAX_SIZE:
        raise Unreadable(("", f"is over {MAX_SIZE >> 20} MiB"))
    if _LONG_KEY.search(text):
        raise Unreadable(("", f"nests more than {_DEEPEST} levels deep"))
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        if at := _AT.search(message):
            message = f"is not TOML: {message[: at.start()]} (column {at[2]})"
            raise Unreadable((f"line {at[1]}", message)) from None
        raise Unreadable((f"line {len(text.splitlines()) or 1}", f"is not TOML: {message}")) from None
    except (RecursionError, ValueError) as error:
        raise Unreadable(("", f"is not TOML: {type(error).__name__}")) from None
    if is_deeper(data, _DEEPEST):
        raise Unreadable(("", f"nests more than {_DEEPEST} levels deep"))
    return data
