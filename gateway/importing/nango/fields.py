"""Fields of a policy, from what nango asks for: `connection_config` and `credentials`."""

import re
from typing import Any

from gateway.importing.data import Table, line, listed, table, text
from gateway.importing.draft import Draft
from gateway.importing.names import field_name, from_javascript
from gateway.importing.nango.entry import Entry
from gateway.importing.nango.shape import Shape
from gateway.policy import pattern

_SECRET = re.compile(
    r"(?:key|secret|password|passwd|token|jwt|credential|pin)$|^(?:assertion|private)|private_?key", re.IGNORECASE
)
_PUBLIC_KEYS = re.compile(r"(?:public|key_?id|token_?id|project_?key|key_?name)", re.IGNORECASE)
_KINDS = {"uuid": "uuid", "email": "email"}
_MOST_CHOICES = 100
_LONGEST_PATTERN = 400


class Fields:
    """The fields that are used, in nango's order; each has what nango says of it."""

    def __init__(self, entry: Entry, shapes: dict[str, Shape], draft: Draft) -> None:
        self._entry = entry
        self._shapes = shapes
        self._draft = draft
        self._in_host = {use.key for use in entry.uses()}
        self._names: dict[str, str] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._shown: set[str] = set()

    def knows(self, key: str) -> bool:
        """Whether nango asks for a value of this name, or finds one."""
        return key in self._entry.config or key in self._entry.credentials or key in self._entry.found

    def use(self, key: str, *, shown: bool = False, needed: bool = False) -> str:
        """Return the name of the field for a key; it is one of the policy's from then on.

        `shown`: it stands where a secret can't. `needed`: nothing goes without it.
        """
        if key not in self._names:
            self._names[key] = field_name(key, set(self._names.values()))
            self._rows[key] = self._row(key, self._names[key])
        if shown:
            self._shown.add(key)
        if needed and "default" not in self._rows[key]:
            self._rows[key].pop("required", None)
        return self._names[key]

    def own(self, name: str, **rest: Any) -> str:
        """Add a field that nango has not, if it isn't there."""
        self._names.setdefault(name, name)
        self._rows.setdefault(name, {"name": name, **rest})
        return name

    def part(self, key: str, name: str) -> None:
        """Add a field for a part of a credential, as in `privateKey.id`."""
        self._names.setdefault(key, name)
        self._rows.setdefault(key, {"name": name, "label": key, "secret": True})

    def default(self, key: str, value: str) -> None:
        """What a field is where nobody fills it in."""
        self.use(key)
        row = self._rows[key]
        row["default"] = value
        row.pop("required", None)

    def row(self, key: str) -> dict[str, Any]:
        """Return what a field is so far, to be changed."""
        self.use(key)
        return self._rows[key]

    def has_default(self, key: str) -> bool:
        """Whether a field that is used has a default."""
        return "default" in self._rows.get(key, {})

    def pin(self, key: str, domains: list[str]) -> None:
        """Say below which domains a found host is."""
        self._rows[key].setdefault("domains", domains)

    def is_found(self, key: str) -> bool:
        """Whether the field isn't asked for."""
        return "from" in self._rows.get(key, {})

    def is_optional(self, key: str) -> bool:
        """Whether a value may be missing, by what nango says."""
        spec = self._spec(key)
        return spec.get("optional") is True or spec.get("automated") is True

    def constant(self, key: str) -> str | None:
        """What a credential is that nobody is asked for, or None."""
        spec = table(self._entry.credentials.get(key))
        return text(spec.get("default_value")) if spec.get("hidden") is True else None

    def unused(self) -> list[str]:
        """What nango asks for and nothing here needs."""
        asked = {**self._entry.config, **self._entry.credentials}
        whole = {key.partition(".")[0] for key in self._names}
        return [
            line(key, 60)
            for key, spec in asked.items()
            if key not in self._names
            and key not in whole
            and not any(table(spec).get(part) is True for part in ("hidden", "automated"))
        ]

    def forget(self, key: str) -> None:
        """Don't ask for a value after all."""
        self._names.pop(key, None)
        self._rows.pop(key, None)

    def make_secret(self, key: str) -> None:
        """Say that a value is one that nobody else may see."""
        self.use(key)
        self._rows[key]["secret"] = True

    def rows(self) -> list[dict[str, Any]]:
        """Return the fields as the policy has them, in the order in which they are asked for."""
        order = {key: number for number, key in enumerate([*self._entry.config, *self._entry.credentials])}
        places = {key: (self._place(key), order.get(key, len(order))) for key in self._rows}
        return [self._finished(key) for key in sorted(self._rows, key=places.__getitem__)]

    def _place(self, key: str) -> tuple[bool, int]:
        number = table(self._entry.config.get(key)).get("order")
        return key not in self._entry.config, number if isinstance(number, int) else 99

    def _finished(self, key: str) -> dict[str, Any]:
        row = dict(self._rows[key])
        guessed = row.pop("guessed", False)
        if guessed and key not in self._shown and "default" not in row and "from" not in row:
            row["secret"] = True
        if row.get("secret"):
            row.pop("example", None)
        return row

    def _spec(self, key: str) -> Table:
        return table(self._entry.config.get(key)) or table(self._entry.credentials.get(key))

    def _row(self, key: str, name: str) -> dict[str, Any]:
        spec, shape = self._spec(key), self._shapes.get(key, Shape())
        row: dict[str, Any] = {
            "name": name,
            "label": line(spec.get("title"), 80),
            "help": line(spec.get("description")),
        }
        if key in self._entry.found:
            row |= {"kind": shape.kind, "domains": list(shape.domains), "from": f"{{{{ {self._entry.found[key]} }}}}"}
            return {part: value for part, value in row.items() if value and value != "text"}
        row |= {"kind": _kind(spec, shape), "domains": list(shape.domains), "choices": _choices(spec, shape)}
        if key in self._in_host and shape.kind == "text":
            row["choices"] = self._one_label(key, row["choices"])
        row |= {"pattern": self._pattern(key, spec, shape), "default": _default(spec, shape)}
        row |= {"example": _example(spec, shape), "docs": self._docs(spec)}
        row |= _around(spec, shape)
        if row["choices"]:
            row |= {"pattern": "", "domains": [], "kind": ""}
            row["default"] = row["default"] if row["default"] in row["choices"] else ""
        if self.is_optional(key) and not row["default"]:
            row["required"] = False
        if spec.get("hidden") is True and row["default"]:
            row["hidden"] = True
        if spec.get("secret") is True or key in ("apiKey", "password", "client_secret"):
            row["secret"] = True
        elif _SECRET.search(name) and not _PUBLIC_KEYS.search(name) and not row["choices"]:
            row["guessed"] = True
        if row.get("secret"):
            row["default"] = ""
        return {part: value for part, value in row.items() if value not in ("", [], None) and value != "text"}

    def _pattern(self, key: str, spec: Table, shape: Shape) -> str:
        """Return nango's pattern where it can be used: what its own example doesn't match would keep people out."""
        written = spec.get("pattern")
        if not isinstance(written, str) or shape.kind == "url" or shape.before or shape.after:
            return ""
        ours = from_javascript(written)
        example = text(spec.get("example")) or text(spec.get("default_value"))
        try:
            if len(ours) > _LONGEST_PATTERN or (example and not pattern.matches(ours, example)):
                return ""
            pattern.check(ours)
        except pattern.PatternInvalid:
            self._draft.note(f"{field_name(key)}: nango checks it by a pattern that RE2 hasn't; it isn't checked here.")
            return ""
        return ours

    def _one_label(self, key: str, choices: list[str]) -> list[str]:
        """The choices that can stand in the midst of a host; at its end they may have dots."""
        if all(not use.after for use in self._entry.uses() if use.key == key):
            return choices
        for choice in choices:
            if "." in choice:
                self._draft.lack("a choice with a dot in it, in the midst of a host", choice)
        return [choice for choice in choices if "." not in choice]

    def _docs(self, spec: Table) -> str:
        page, section = text(self._entry.data.get("docs_connect")), text(spec.get("doc_section"))
        is_link = (
            section.startswith("#") and page.startswith("https://") and not re.search(r"[\s\"<>{}]", page + section)
        )
        return page + section if is_link else ""


def _kind(spec: Table, shape: Shape) -> str:
    if shape.kind != "text":
        return shape.kind
    return "" if listed(spec.get("enum")) else _KINDS.get(text(spec.get("format")), "")


def _whole(value: str, shape: Shape) -> str:
    """A value as the field has it: with what it takes in of the host, or of the URL."""
    if not value:
        return ""
    if shape.kind == "url" and "://" not in value:
        return f"https://{value}"
    if shape.kind == "host":
        value = value.partition("://")[2] or value
    if shape.before and not value.startswith(shape.before):
        value = shape.before + value
    return value if value.endswith(shape.after) else value + shape.after


def _choices(spec: Table, shape: Shape) -> list[str]:
    return list(
        dict.fromkeys(_whole(value, shape) for value in map(text, listed(spec.get("enum"))[:_MOST_CHOICES]) if value)
    )


def _default(spec: Table, shape: Shape) -> str:
    return _whole(text(spec.get("default_value")), shape)


def _example(spec: Table, shape: Shape) -> str:
    return line(_whole(text(spec.get("example")), shape))


def _around(spec: Table, shape: Shape) -> dict[str, str]:
    """The fixed texts around the input, unless the value has them in it itself."""
    if shape.kind == "url":
        return {}
    before, after = line(spec.get("prefix"), 60), line(spec.get("suffix"), 60)
    if shape.before or shape.after:
        return {"prefix": before if before == "https://" else ""}
    return {"prefix": before, "suffix": after}
