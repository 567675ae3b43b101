"""Beside which of the form's names a finding is shown.

A finding's key path isn't parsed: the checks don't quote every key, so a row is found by the names that the form has.
"""

import re
from collections.abc import Iterator, Mapping

from gateway.authoring.names import (
    BOXES,
    CREDENTIALS,
    FIELD_BOXES,
    FIELD_TEXTS,
    JSONS,
    LINES,
    LISTS,
    NUMBERS,
    TABLES,
    TEXTS,
)
from gateway.policy.finding import key_path

_NEAREST: Mapping[str, str] = {
    "allow": "allow.urls.0",
    "auth": "auth.grant",
    "auth.authorize": "auth.authorize.url",
    "auth.authorize.scope_words": "auth.authorize.scopes",
    "auth.device": "auth.device.url",
    "auth.token": "auth.token.url",
    "auth.refresh": "auth.refresh.url",
    "auth.revoke": "auth.revoke.url",
    "fields": "fields.0.name",
    "test": "test.url",
    "test.expect": "test.expect.status",
}
"""Where a table's own faults stand, such as that it is missing; and those of what the form shows in another's place."""
_WITHIN = frozenset({"auth.authorize.scope_words"})  # also the faults of what is in it
_SINGLE = frozenset({*TEXTS, *BOXES, *LINES, *NUMBERS, *JSONS})
_NUMBERED = re.compile(r"\[(\d+)\]")
_FIELD = re.compile(r"fields\[(\d+)\](?:\.(\w+))?")


def name_of(path: str, values: Mapping[str, str]) -> str | None:
    """Return the form's name for a finding's key path; None: it is shown at the top, for the form has no such thing.

    `values` are those of the text that was checked (`form.values_of`): its rows have the names that the path has.
    """
    if found := _field(path) or _item(path) or _row(path, values):
        return found
    for beginning in _beginnings(path):
        if beginning in _SINGLE:
            return beginning
        if beginning in CREDENTIALS:
            return f"{beginning}.value"
        if beginning in _NEAREST and (beginning == path or beginning in _WITHIN):
            return _NEAREST[beginning]
    return None


def _beginnings(path: str) -> Iterator[str]:
    yield path
    for cut in reversed([match.start() for match in re.finditer(r"[.\[]", path)]):
        yield path[:cut]


def _field(path: str) -> str | None:
    match = _FIELD.match(path)
    if match is None:
        return None
    key = match[2] if match[2] in FIELD_TEXTS or match[2] in FIELD_BOXES else "name"
    return f"fields.{match[1]}.{key}"


def _item(path: str) -> str | None:
    for table in LISTS:
        if path == table or path.startswith(f"{table}["):
            number = _NUMBERED.match(path[len(table) :])
            return f"{table}.{number[1] if number else 0}"
    return None


def _row(path: str, values: Mapping[str, str]) -> str | None:
    """The row whose name the path goes on with; of several, as of `a` and `a.b`, the one that says the most of it."""
    table = next((table for table in TABLES if path == table or path.startswith(f"{table}.")), None)
    if table is None:
        return None
    rest, best, found = path[len(table) + 1 :], -1, f"{table}.0.name"
    for name, key in values.items():
        if not (name.startswith(f"{table}.") and name.endswith(".name")):
            continue
        for written in (key, key_path([key])):
            if len(written) > best and (rest == written or rest.startswith((f"{written}.", f"{written}["))):
                best, found = len(written), f"{name.removesuffix('.name')}.value"
    return found
