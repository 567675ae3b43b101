"""A policy that comes about from a provider's entry, and what is said about it on the way.

What an entry says is data of a stranger's: it becomes values of the policy, and never comments or code, and no text of
it is read as one of our templates. What `gateway check` refuses is not written.
"""

import re
from collections.abc import Mapping
from typing import Any

from gateway.authoring.patch import patched
from gateway.importing.outcome import Imported, Lack, NotImportable
from gateway.policy.load import load

_COMMENT = re.compile(r"[^\x20-\x7e]")
_OPENS = re.compile(r"\{\{|\{%|\{#|\}\}|%\}|#\}")
_ORDER = ("name", "base_url", "allow", "fields", "auth", "lookup", "test", "connection", "inject", "sign", "limits")
_AUTH = (
    *("grant", "client_id", "client_secret", "request_token", "authorize", "device", "assertion"),
    *("token", "exchange", "refresh"),
)
_REFUSED = "`gateway check` refuses what came of it"


class Draft:
    """The policy's data so far, and the lacks and notes. `source` is the file's name for whoever reads the policy."""

    def __init__(self, name: str, kind: str, source: str) -> None:
        self.name = name
        self.kind = kind
        self.source = source
        self.policy: dict[str, Any] = {}
        self.lacks: list[Lack] = []
        self.notes: list[str] = []

    def lack(self, what: str, detail: str = "") -> None:
        """Say what couldn't be expressed."""
        self.lacks.append(Lack(what, detail))

    def note(self, text: str) -> None:
        """Say what to know."""
        if text not in self.notes:
            self.notes.append(text)

    def put(self, path: str, value: Any) -> None:
        """Set a value at a dotted path; None and what is empty leave it as it is."""
        if value is None or (isinstance(value, str | list | dict) and not value):
            return
        at = self.policy
        *way, last = path.split(".")
        for step in way:
            at = at.setdefault(step, {})
        at[last] = value

    def drop(self, path: str) -> None:
        """Take away what is set at a dotted path."""
        way, _, last = path.rpartition(".")
        at = self.get(way) if way else self.policy
        if isinstance(at, dict):
            at.pop(last, None)

    def get(self, path: str) -> Any:
        """Return what is set at a dotted path, or None."""
        at: Any = self.policy
        for step in path.split("."):
            at = at.get(step) if isinstance(at, dict) else None
        return at

    def finished(self) -> Imported:
        """Write the policy and check it."""
        text = self._head() + patched("", _ordered(self.policy))
        findings = load(text, app=self.name, file=f"{self.name}.toml").findings
        lacks = (*self.lacks, *(Lack(_REFUSED, f"{one.path}: {one.message}") for one in findings))
        return Imported(
            name=self.name,
            kind=self.kind,
            text=None if findings else text,
            lacks=tuple(dict.fromkeys(lacks)),
            notes=tuple(self.notes),
        )

    def refused(self, error: NotImportable) -> Imported:
        """Say that there is no policy."""
        return Imported(name=self.name, kind=self.kind, lacks=(error.lack, *self.lacks), notes=tuple(self.notes))

    def _head(self) -> str:
        lines = [f"# {self.name}.toml, imported from {self.source}. Look through it, above all [allow] and the scopes."]
        if self.lacks:
            lines += ["# What it lacks:", *(f"# - {_comment(str(lack))}" for lack in self.lacks)]
        lines += [f"# {_comment(note)}" for note in self.notes]
        return "\n".join(lines) + "\n"


def literal(text: str) -> str:
    """Return a text that stands in a template as it is. Raises `NotImportable` where it would be read as one."""
    if _OPENS.search(text):
        raise NotImportable("a text has {{ or the like in it, which would be a template here", text[:60])
    return text


def _comment(text: str) -> str:
    """One line of ASCII: whatever else a comment has in it could end it, or look like something else."""
    return _COMMENT.sub("?", text)


def _ordered(policy: Mapping[str, Any]) -> dict[str, Any]:
    data = {name: policy[name] for name in _ORDER if name in policy} | dict(policy)
    if isinstance(auth := data.get("auth"), dict):
        data["auth"] = {name: auth[name] for name in _AUTH if name in auth} | auth
    return data
