"""The servers of an API's description, as base URLs and allowed URLs of a policy.

A variable of a server is a field where it is one label of the host; anywhere else its default is written out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.authoring.document import Table, listed, table, text
from gateway.authoring.words import covers
from gateway.policy.context import ALIAS, ROOTS
from gateway.policy.url import is_label

_MOST = 20  # servers; nobody's API has more, and each is an allowed URL
_MOST_CHOICES = 100
_VARIABLE = re.compile(r"\{([^{}]*)\}")


@dataclass(slots=True)
class Servers:
    """What came of the servers: their URLs, the fields in them by name, and what couldn't be taken over."""

    urls: list[str] = field(default_factory=list)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def servers(document: Table) -> Servers:
    """Read the servers of a document, of either kind."""
    found = Servers()
    written = _of_swagger(document) if "swagger" in document else _of_openapi(document)
    for url, variables in written[:_MOST]:
        _add(found, url, variables)
    if len(written) > _MOST:
        found.notes.append(f"Only the first {_MOST} of {len(written)} servers were taken over.")
    if not found.urls:
        found.notes.append("The document names no https server. Write the base URL and the allowed URLs yourself.")
    elif len(found.urls) > 1:
        found.notes.append(
            f"The document names {len(found.urls)} servers. The base URL is the first; take the allowed URLs of those "
            "out that you don't need."
        )
    return found


def _of_openapi(document: Table) -> list[tuple[str, Table]]:
    return [
        (url, table(server.get("variables")))
        for server in map(table, listed(document.get("servers")))
        if (url := text(server.get("url")))
    ]


def _of_swagger(document: Table) -> list[tuple[str, Table]]:
    host = text(document.get("host"))
    schemes = [text(scheme) for scheme in listed(document.get("schemes"))] or ["https"]
    path = text(document.get("basePath")).strip("/")
    scheme = "https" if "https" in schemes else schemes[0]
    return [(f"{scheme}://{host}/{path}", {})] if host else []


def _add(found: Servers, url: str, variables: Table) -> None:
    shown = url[:100]
    if url.startswith("//"):
        url = f"https:{url}"
    if url.startswith("/") or "://" not in url:
        found.notes.append(f"The server {shown!r} names no host. Put the host of the API before it.")
        return
    if not url.lower().startswith("https://"):
        found.notes.append(f"The server {shown!r} was left out: credentials go to https alone.")
        return
    fields: dict[str, dict[str, Any]] = {}
    filled = _filled(url, variables, fields, found.notes).rstrip("/")
    wrong = covers(filled).wrong
    if wrong and fields:
        fields = {}
        filled = _filled(url, variables, None, found.notes).rstrip("/")
        wrong = covers(filled).wrong
    if wrong:
        found.notes.append(f"The server {shown!r} was left out: as an allowed URL it {wrong}.")
    elif filled not in found.urls:
        found.urls.append(filled)
        found.fields |= fields


def _filled(url: str, variables: Table, fields: dict[str, dict[str, Any]] | None, notes: list[str]) -> str:
    """The URL with a field or a default for each variable; with `fields` None, with defaults alone."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    labels = host.split(".")

    def fill(match: re.Match[str]) -> str:
        name, variable = match[1], table(variables.get(match[1]))
        own = _field(name, variable) if fields is not None and match[0] in labels else None
        if own is not None and fields is not None:
            fields[own["name"]] = own
            return f"{{{{ {own['name']} }}}}"
        default = text(variable.get("default"))
        note = f"The variable {name[:40]!r} of a server was written out as its default, {default[:100]!r}."
        if note not in notes:
            notes.append(note)
        return default

    return _VARIABLE.sub(fill, url)


def _field(name: str, variable: Mapping[str, Any]) -> dict[str, Any] | None:
    """A field for a variable, or None where one of its values is no label.

    A default that isn't one of several choices is somebody's example: nobody's credentials go there by themselves.
    """
    choices = [text(choice) for choice in listed(variable.get("enum"))][:_MOST_CHOICES]
    default = text(variable.get("default"))
    if not all(map(is_label, [*choices, *filter(None, [default])])) or len(set(choices)) < len(choices):
        return None
    own = re.sub(r"\W", "_", name, flags=re.ASCII)[:60] or "server"
    own = f"server_{own}" if own[0].isdigit() or own in (*ROOTS, ALIAS) else own
    found: dict[str, Any] = {"name": own, "help": " ".join(text(variable.get("description")).split())[:200]}
    if choices:
        found["choices"] = choices
    if default in choices:
        found["default"] = default
    return {key: value for key, value in found.items() if value}
