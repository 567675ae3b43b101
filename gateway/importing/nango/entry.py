"""One entry of nango's list, with what it inherits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.importing.data import Heeded, Table, listed, several, table, text
from gateway.importing.nango.expression import alternatives

_HOPS = 5  # aliases of aliases
_IN_HOST = re.compile(r"(https?://)?((?:\$\{[^}]*\}|[^/?#$])*)")
_VALUE = re.compile(r"\$\{(?:connectionConfig\.)?([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Use:
    """A value in a URL's host: what stands there before and behind it. `begins`: it has the scheme in it, too."""

    key: str
    before: str
    after: str
    begins: bool


class Entry:
    """What nango knows of a provider. `data`: its keys, as they are heeded; `own`: those that it doesn't inherit."""

    def __init__(self, name: str, written: Table, own: Table) -> None:
        self.name = name
        self.written = written
        self.own = own
        self.data = data = Heeded(written)
        self.mode = text(data.get("auth_mode"))
        self.proxy = table(data.get("proxy"))
        self.config = {key: table(value) for key, value in table(data.get("connection_config")).items()}
        self.credentials = {
            key: table(value)
            for part in ("credentials", "assertion_option")
            for key, value in table(data.get(part)).items()
        }
        token = [*several(data.get("token_response_metadata")), *several(data.get("refresh_token_response_metadata"))]
        self.found = {key: path_of("token", key) for key in token}
        self.found |= {key: path_of("callback", key) for key in several(data.get("redirect_uri_metadata"))}
        asked = [key for key, spec in self.config.items() if spec.get("automated") is not True]
        self.found = {key: path for key, path in self.found.items() if key not in asked}

    @property
    def script(self) -> str:
        """The name of the program that nango runs after connecting."""
        return text(self.data.get("post_connection_script"))

    def urls(self) -> list[str]:
        """Every URL of the entry, whether its mode has a use for it or not."""
        data = self.written
        steps = [table(step).get("token_url") for step in listed(data.get("additional_steps"))]
        tokens = table(data.get("token_url")).values() or [data.get("token_url")]
        found = [data.get("authorization_url"), *tokens, data.get("refresh_url"), *steps]
        return [one for one in map(text, [*found, self.proxy.get("base_url")]) if one]

    def is_gone(self, key: str) -> bool:
        """Whether nobody can give the value any more: it isn't asked for, and has no default."""
        spec = self.config.get(key) or {}
        return spec.get("hidden") is True and not text(spec.get("default_value"))

    def usable(self, url: str) -> list[str]:
        """The alternatives of a URL whose values can be given."""
        found = alternatives(url)
        return [one for one in found if not any(map(self.is_gone, _VALUE.findall(one)))] or found[:1]

    def uses(self) -> Iterator[Use]:
        """Every value in the host of any URL."""
        for url in self.urls():
            for one in self.usable(url):
                host = host_in(one)
                for value in _VALUE.finditer(host):
                    before, after = host[: value.start()], host[value.end() :]
                    yield Use(value[1], before, after, begins=not before and "://" not in one.partition("$")[0])


def entries(data: Table) -> Iterator[Entry]:
    """Yield every provider; one that inherits has what it doesn't say itself from the other."""
    for name, value in data.items():
        yield Entry(name, _inherited(data, name, value), table(value))


def host_in(url: str) -> str:
    """The host of a URL, with the values in it."""
    match = _IN_HOST.match(url)
    return match[2] if match else ""


def path_of(root: str, key: str) -> str:
    """Return a template's path: `token.team.id`, `callback['accounts-server']`."""
    steps = [f".{step}" if re.fullmatch(r"[A-Za-z_]\w*", step, re.ASCII) else f"[{step!r}]" for step in key.split(".")]
    return root + "".join(steps)


def _inherited(data: Table, name: str, value: Any, hops: int = _HOPS) -> Table:
    own = table(value)
    other = text(own.get("alias"))
    if not other or other == name or not hops:
        return own
    own = {key: item for key, item in own.items() if key != "alias"}
    return {**_inherited(data, other, data.get(other), hops - 1), **own}
