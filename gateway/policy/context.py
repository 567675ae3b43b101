"""Where templates and scripts look values up, in the order of the reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.policy.template import MissingValue, Path, read_path
from gateway.secret import Secret

ROOTS = ("fields", "token", "callback", "lookup", "test", "connection", "app", "assertion", "request", "authData")
ALIAS = "testcode"  # the seeds' name for the test API's answer, inside authData
SECRET_TOKENS = frozenset({"access_token", "refresh_token", "id_token", "oauth_token", "oauth_token_secret"})
"""Names that are secret wherever they come from; the last two are OAuth 1.0a's (RFC 5849 §2.3)."""


class Consumer(NamedTuple):
    """OAuth 1.0a's client, as what signs knows it."""

    key: str
    secret: Secret


_WORDS = r"(?i:token|secret|password|passwd|jwt|(?:api|access|auth|private|secret|session|signing)[-_]?key)"
_SECRET = re.compile(rf"(?:^|[-_]|(?<=[a-z0-9])(?=[A-Z])){_WORDS}$", re.ASCII)


def is_secret_path(path: Path) -> bool:
    """Whether a path of the token endpoint's answer names a token, a standard one or the provider's own."""
    return bool(path) and (path[-1] in SECRET_TOKENS or _SECRET.search(path[-1]) is not None)


def field_of(path: Path) -> str | None:
    """Return the field that a path may name: `x`, `fields.x` or `authData.x`. None: it leads elsewhere."""
    match path:
        case (name,) | ("fields" | "authData", name):
            return name
    return None


@dataclass(frozen=True, kw_only=True)
class Context:
    """The values of one connection at one time. `used` collects each secret that was revealed on the way.

    `app` is the client's own: its `client_id`, and its `client_secret` only where a template may name it. `assertion`
    is the signed statement of [auth.assertion], `request` what is known of, or made for, the request at hand.
    `callback` and `lookup` are there only while connecting: a field that has its value `from` them keeps it. No path
    and no script leads to the `consumer`: [sign] alone signs with it.
    """

    fields: Mapping[str, str | Secret] = field(default_factory=dict)
    token: Mapping[str, Any] = field(default_factory=dict)
    test: Any = None
    lookup: Any = None
    callback: Mapping[str, str] = field(default_factory=dict)
    connection_id: str = ""
    app: Mapping[str, str | Secret] = field(default_factory=dict)
    assertion: Secret | None = None
    request: Mapping[str, str] = field(default_factory=dict)
    consumer: Consumer | None = None
    used: list[Secret] = field(default_factory=list, repr=False, compare=False)

    def value(self, path: Path) -> Any:  # noqa: PLR0911, C901  a table of where to look
        """Return what the path leads to, or None. A `Secret` stays one."""
        match path:
            case ("fields", *rest):
                return read_path(self.fields, tuple(rest))
            case ("token", *rest):
                return self._token(tuple(rest))
            case ("test", *rest):
                return read_path(self.test, tuple(rest))
            case ("lookup", *rest):
                return read_path(self.lookup, tuple(rest))
            case ("callback", *rest):
                return read_path(self.callback, tuple(rest))
            case ("connection", *rest):
                return self.connection_id if rest == ["id"] else None
            case ("app", *rest):
                return read_path(self.app, tuple(rest))
            case ("assertion",):
                return self.assertion
            case ("request", *rest):
                return read_path(self.request, tuple(rest))
            case ("authData", name, *rest) if name == ALIAS:
                return read_path(self.test, tuple(rest))
            case ("authData", *rest):
                return self._bare(tuple(rest))
            case _:
                return self._bare(path)

    def text(self, path: Path) -> str:
        """Return the value as text; a secret is revealed and noted in `used`. Raises `MissingValue`."""
        value = self.value(path)
        name = ".".join(path)
        if isinstance(value, Secret):
            self.used.append(value)
            value = value.reveal()
        match value:
            case None:
                raise MissingValue(name)
            case "":
                raise MissingValue(name, "is empty")
            case bool():
                return "true" if value else "false"
            case str() | int():
                return str(value)
            case float():
                return repr(value)
        raise MissingValue(name, "is a list or a table, not one value")

    def _bare(self, path: Path) -> Any:
        found = self._token(path)
        return read_path(self.fields, path) if found is None else found

    def _token(self, path: Path) -> Any:
        found = read_path(self.token, path)
        return Secret(found) if isinstance(found, str) and found and is_secret_path(path) else found
