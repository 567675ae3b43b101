"""The servers of an API's description, as base URLs and allowed URLs of a policy.

A variable of a server is a field where it is one label of the host, or all of it; anywhere else its default is written
out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from gateway.authoring.document import Table, listed, table, text
from gateway.authoring.words import covers
from gateway.policy.context import ALIAS, ROOTS
from gateway.policy.url import Spot, why_not

_MOST = 20  # servers; nobody's API has more, and each is an allowed URL
_MOST_CHOICES = 100
_LONGEST_DEFAULT = 253  # characters: as long as a whole host name may be
_TAKEN = frozenset({*ROOTS, ALIAS, "username", "password", "client_id", "client_secret", "api_key"})
_VARIABLE = re.compile(r"\{([^{}]*)\}")


@dataclass(slots=True)
class Servers:
    """What came of the servers: their URLs, the fields in them by name, and what couldn't be taken over."""

    urls: list[str] = field(default_factory=list)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def servers(document: Table, place: str = "") -> Servers:
    """Read the servers of a document, of either kind; `place` is the URL that it was fetched from, if it was."""
    found = Servers()
    written = _of_swagger(document, place) if "swagger" in document else _of_openapi(document, place)
    for url, variables in written[:_MOST]:
        _add(found, url, variables)
    if len(written) > _MOST:
        found.notes.append(f"Only the first {_MOST} of {len(written)} servers were taken over.")
    if not found.urls:
        found.notes.append("The document names no https server. Write the base URL and the allowed URLs yourself.")
    elif len(found.urls) > 1:
        found.notes.append(
            f"The document names {len(found.urls)} servers. The base URL is the first; take out the allowed URLs that "
            "you don't need."
        )
    return found


def _of_openapi(document: Table, place: str) -> list[tuple[str, Table]]:
    """A relative URL is one "relative to the location where the OpenAPI document is being served"; none is `/`."""
    written = listed(document.get("servers")) or ([{"url": "/"}] if place else [])
    return [
        (urljoin(place, url) if place else url, table(server.get("variables")))
        for server in map(table, written)
        if (url := text(server.get("url")))
    ]


def _of_swagger(document: Table, place: str) -> list[tuple[str, Table]]:
    host = text(document.get("host")) or urlsplit(place).netloc
    schemes = [text(scheme) for scheme in listed(document.get("schemes"))] or ["https"]
    path = text(document.get("basePath")).strip("/")
    scheme = "https" if "https" in schemes else schemes[0]
    return [(f"{scheme}://{host}/{path}", {})] if host else []


def _add(found: Servers, url: str, variables: Table) -> None:
    shown = url[:100]
    url = f"https:{url}" if url.startswith("//") else url
    if "://" not in url:
        found.notes.append(f"The server {shown!r} names no host. Put the host of the API before it.")
        return
    if not url.lower().startswith("https://"):
        found.notes.append(f"The server {shown!r} was left out: credentials go to https alone.")
        return
    fields = _fields(url, variables)
    if covers(_filled(url, variables, fields)).wrong:
        fields = {}  # a field may not choose just any site
    written = [name for name in dict.fromkeys(_VARIABLE.findall(url)) if name not in fields]
    if lacking := [name for name in written if not _default(variables, name)]:
        found.notes.append(f"The server {shown!r} was left out: its variable {lacking[0][:40]!r} has no default.")
        return
    filled = _filled(url, variables, fields)
    if wrong := covers(filled).wrong:
        found.notes.append(f"The server {shown!r} was left out: as an allowed URL it {wrong}.")
        return
    for name in written:
        default = _default(variables, name)[:100]
        found.notes.append(f"The variable {name[:40]!r} of a server was written out as its default, {default!r}.")
    if filled not in found.urls:
        found.urls.append(filled)
        for one in fields.values():
            name = one["name"]
            found.fields[name] = _both(found.fields[name], one) if name in found.fields else one


def _fields(url: str, variables: Table) -> dict[str, dict[str, Any]]:
    """A field for each variable that is one label of the host, or all of it, by the variable's name."""
    labels = url.partition("://")[2].partition("/")[0].split(".")
    found = {}
    for name in _VARIABLE.findall(url):
        written, variable = f"{{{name}}}", table(variables.get(name))
        is_end = written == labels[-1]
        if labels == [written]:
            made = None if _default(variables, name) else _named(name, variable) | {"kind": "host"}
        else:
            made = _field(name, variable, Spot.TAIL if is_end else Spot.LABEL) if written in labels else None
        if made is not None and (not is_end or "choices" in made or "kind" in made):  # else it could choose any site
            found[name] = made
    return found


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One field for a variable of two servers: what either lets choose, or anything."""
    if "choices" in one and "choices" in other:
        return one | {"choices": list(dict.fromkeys([*one["choices"], *other["choices"]]))}
    return {key: value for key, value in one.items() if key not in ("choices", "default")}


def _filled(url: str, variables: Table, fields: dict[str, dict[str, Any]]) -> str:
    """The URL with a field or a default for each variable."""

    def fill(match: re.Match[str]) -> str:
        if match[1] in fields:
            return f"{{{{ {fields[match[1]]['name']} }}}}"
        return _default(variables, match[1])

    return _VARIABLE.sub(fill, url).rstrip("/")


def _default(variables: Table, name: str) -> str:
    """What a variable is by default; a template is the policy's own, and no stranger's."""
    default = text(table(variables.get(name)).get("default"))
    return "" if "{" in default or len(default) > _LONGEST_DEFAULT else default


def _named(name: str, variable: Mapping[str, Any]) -> dict[str, Any]:
    own = re.sub(r"\W", "_", name, flags=re.ASCII)[:60] or "server"
    own = f"server_{own}" if own[0].isdigit() or own in _TAKEN else own
    words = " ".join(text(variable.get("description")).split())[:200]
    return {"name": own, "help": words} if words else {"name": own}


def _field(name: str, variable: Mapping[str, Any], spot: Spot) -> dict[str, Any] | None:
    """A field for a variable, or None where one of its values is none for this place.

    A default that isn't one of several choices is somebody's example: nobody's credentials go there by themselves.
    """
    choices = [text(choice) for choice in listed(variable.get("enum"))[:_MOST_CHOICES]]
    default = text(variable.get("default"))
    if any(why_not(spot, value) for value in [*choices, *filter(None, [default])]) or len(set(choices)) < len(choices):
        return None
    found: dict[str, Any] = _named(name, variable)
    if choices:
        found["choices"] = choices
    if default in choices:
        found["default"] = default
    return found
