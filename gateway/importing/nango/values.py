"""nango's templates as ours."""

import re
from dataclasses import dataclass
from typing import Any

from gateway.importing.data import scalar, table
from gateway.importing.draft import Draft, literal
from gateway.importing.names import field_name
from gateway.importing.nango.entry import Entry, path_of
from gateway.importing.nango.expression import (
    Function,
    Part,
    Reference,
    Unreadable,
    alternatives,
    parse,
    references,
)
from gateway.importing.nango.fields import Fields
from gateway.importing.nango.shape import Shape
from gateway.importing.outcome import NotImportable

_NOW = {
    "now:YYYYMMDDTHHmmss[Z]": "request.iso",
    "now:ddd, DD MMM YYYY HH:mm:ss ZZ": "request.date",
    "now:X": "request.time",
    "now:x": "request.time_ms",
}
_REQUEST = {"random": "request.uuid", "method": "request.method", "host": "request.host", "path": "request.path"}
_REQUEST |= {"bodyCanonicalParams": "request.body"}
_STEP = re.compile(r"step\d+\.(.+)")
_MOST_LEAVES = 200  # values in a body; the largest known has 30


@dataclass(frozen=True, slots=True)
class Optional:
    """A value that may be missing, and what is sent then."""

    text: str
    otherwise: str


class Values:
    """What nango's names are here, for one provider. `credentials`: where a bare name of a credential is one, too."""

    def __init__(self, entry: Entry, fields: Fields, shapes: dict[str, Shape], draft: Draft) -> None:
        self._entry = entry
        self._fields = fields
        self._shapes = shapes
        self._draft = draft
        self._fallback = False

    def text(self, written: Any, *, shown: bool = False) -> str:
        """Return a template of ours. Raises `NotImportable`."""
        found = alternatives(scalar(written)) if "${" in scalar(written) else [scalar(written)]
        first, *others = found
        if others and self._may_be_missing(first):
            return self._with_default(first, others[0], shown=shown)
        return self.whole(first, shown=shown)

    def whole(self, written: Any, *, shown: bool = False) -> str:
        """Return a template of ours for a text in which `||` means nothing."""
        return "".join(self._part(part, shown=shown) for part in self.parts(scalar(written)))

    def data(self, written: Any, *, shown: bool = False) -> Any:
        """Return JSON whose texts are templates."""
        self._left = _MOST_LEAVES
        return self._data(written, shown=shown)

    def parts(self, written: str) -> tuple[Part, ...]:
        """Parse a template in which a value takes in what it has of the URL around it."""
        for key, shape in self._shapes.items():
            for name in (f"${{connectionConfig.{key}}}", f"${{{key}}}"):
                if shape.kind == "url":
                    written = written.replace(f"https://{name}", name)
                elif shape.before or shape.after:
                    written = written.replace(f"{shape.before}{name}{shape.after}", name)
        try:
            return parse(written)
        except Unreadable as error:
            raise NotImportable("a template of nango's can't be read", str(error)) from None

    def path(self, name: str, *, shown: bool = False) -> str:  # noqa: C901, PLR0911  a table of what names are
        """Return what one of nango's names is in our templates. Raises `NotImportable`."""
        name = name.replace("connection_config.", "connectionConfig.")
        if name.startswith("connectionConfig."):
            return self._field(name.removeprefix("connectionConfig."), shown=shown)
        for prefix in ("credentials.", "assertionOption."):
            if name.startswith(prefix):
                return self._credential(name.removeprefix(prefix), shown=shown)
        if step := _STEP.fullmatch(name):
            return step[1] if step[1] in ("access_token", "refresh_token") else path_of("token", step[1])
        if name == "token" and self._entry.data.get("signature"):
            return "assertion"
        if name in self._entry.credentials:
            return self._credential(name, shown=shown)
        if name in self._entry.config:
            return self._field(name, shown=shown)
        if name.startswith("now"):
            if name not in _NOW:
                raise NotImportable("a time in a form of its own", name)
            return _NOW[name]
        if name == "clientSecret":
            raise NotImportable("the app's own secret in every request", name)
        known = {"accessToken": "access_token", "refresh_token": "refresh_token", "clientId": "app.client_id"}
        if name == "apiKey":
            return self._credential(name, shown=shown)
        if found := known.get(name) or _REQUEST.get(name):
            return found
        raise NotImportable("a value that is made by nango's own code", name)

    def _field(self, key: str, *, shown: bool) -> str:
        if not self._fields.knows(key):
            self._draft.note(f"{field_name(key)}: nango's file names it and doesn't say what it is; it is asked for.")
        elif self._is_found_by_program(key) and not self._fallback:
            self._draft.lack("a value that nango finds by a program; the person is asked for it", key)
        return self._fields.use(key, shown=shown)

    def _is_found_by_program(self, key: str) -> bool:
        """Whether nobody gives a value but the program that nango runs once there is a token."""
        if not self._entry.script or key in self._entry.found:
            return False
        login = str(self._entry.written.get("authorization_url"))
        return table(self._entry.config.get(key)).get("automated") is True and f".{key}}}" not in login

    def _credential(self, key: str, *, shown: bool) -> str:
        if key.startswith("raw."):
            found = key.removeprefix("raw.")
            return found if found == "id_token" else path_of("token", found)
        if key == "assertion" and self._entry.data.get("assertion"):
            return "assertion"
        if key == "_cookies":
            raise NotImportable("a session that is kept in cookies")
        if key == "token" and key not in self._entry.credentials:
            return "access_token"
        whole = key.partition(".")[0]
        if whole != key and whole in self._entry.credentials:
            self._draft.note(f"The parts of {field_name(whole)}, which a colon parts, are asked for one by one.")
            self._fields.part(key, field_name(key))
            return field_name(key)
        return self._fields.use(key, shown=shown)

    def _part(self, part: Part, *, shown: bool) -> str:
        match part:
            case str():
                return literal(part)
            case Reference(name):
                constant = self._constant(name)
                return f"{{{{ {self.path(name, shown=shown)} }}}}" if constant is None else literal(constant)
            case Function("base64", argument):
                return self._base64(argument, shown=shown)
            case Function("fingerprint", argument):
                self._draft.note("The fingerprint of the public key (SHA256:…) is asked for; nango works it out.")
                _ = argument
                label = "Fingerprint of the public key"
                return f"{{{{ {self._fields.own('public_key_fingerprint', label=label)} }}}}"
            case Function(name, _):
                raise NotImportable("a function of nango's that isn't known here", f"{name}()")

    def _constant(self, name: str) -> str | None:
        """What a hidden credential always is, where it may be written out."""
        return self._fields.constant(name.removeprefix("credentials."))

    def _base64(self, argument: str, *, shown: bool) -> str:
        operands = []
        parts = self.parts(argument)
        names = [part.name for part in parts if isinstance(part, Reference)]
        all_constant = all(self._constant(name) is not None for name in names)
        for part in parts:
            match part:
                case str():
                    operands.append(_quoted(literal(part)))
                case Reference(name):
                    constant = None if all_constant else self._constant(name)
                    if constant is None:
                        operands.append(self.path(name, shown=shown))
                    elif constant:
                        operands.append(_quoted(literal(constant)))
                case Function(name, _):
                    raise NotImportable("a function of nango's inside another", f"{name}()")
        joined = " ~ ".join(operands)
        return f"{{{{ {joined if len(operands) == 1 else f'({joined})'} | b64encode }}}}"

    def _may_be_missing(self, written: str) -> bool:
        keys = [name.rpartition("connectionConfig.")[2] for name in references(written)]
        return any(self._fields.is_optional(key) for key in keys)

    def _with_default(self, first: str, second: str, *, shown: bool) -> str:
        """A value with what is sent where it is missing; the one that names nango is nobody else's."""
        self._fallback = True
        try:
            text = self.whole(first, shown=shown)
        finally:
            self._fallback = False
        if "nango" in second.lower():
            return text
        parts = self.parts(first)
        if len(parts) == 1 and isinstance(parts[0], Reference) and "${" not in second:
            return f"{text.removesuffix(' }}')} | default({_quoted(literal(second))}) }}}}"
        self._draft.lack("a second value for where the first is missing", second)
        return text

    def _data(self, written: Any, *, shown: bool) -> Any:
        self._left -= 1
        if self._left < 0:
            raise NotImportable("a body of more values than any API takes")
        match written:
            case dict():
                return {str(key): self._data(value, shown=shown) for key, value in written.items()}
            case list():
                return [self._data(value, shown=shown) for value in written]
            case bool() | int():
                return written
            case None:
                raise NotImportable("a value that is null")
        return self.text(written, shown=shown)


def _quoted(text: str) -> str:
    """A text as a constant in a template."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f'"{escaped}"' if "'" in escaped and '"' not in escaped else "'" + escaped.replace("'", "\\'") + "'"
