"""Checks that every URL of a policy shares: it can be read, and what fields stand in it."""

from collections.abc import Iterator

from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, did_you_mean
from gateway.policy.url import UrlInvalid, UrlTemplate, is_label

LOOPBACK = frozenset({"localhost", "::1"})


def read(text: str, at: str, *, relative: bool = False) -> tuple[UrlTemplate | None, list[Fault]]:
    """Read a URL; return it or the fault."""
    try:
        return UrlTemplate.parse(text, relative=relative), []
    except UrlInvalid as error:
        return None, [(at, str(error))]


def is_loopback(host: str) -> bool:
    """Whether the host (canonical) is this machine."""
    return (
        host in LOOPBACK or host.endswith(".localhost") or (host.startswith("127.") and host.replace(".", "").isdigit())
    )


def secure(url: UrlTemplate, at: str) -> Iterator[Fault]:
    """Credentials go to https alone; http is for a provider on loopback."""
    if url.sample.scheme == "http" and not is_loopback(url.sample.host):
        yield at, "is http, and credentials would go in the clear; write https:// (http is for loopback only)"


def host_fields(draft: Draft, url: UrlTemplate, at: str) -> Iterator[Fault]:
    """A field in a host is known, not secret, kept, always there, and a valid label whatever its choices."""
    for name in url.host_fields:
        field = draft.by_name.get(name)
        if field is None:
            if name not in draft.field_names:
                yield at, unknown_field(draft, name)
            continue
        if field.secret:
            yield at, f"has the secret field {name} in its host; a host is public, so a secret can't be part of it"
        if field.once:
            yield at, f"has the field {name} in its host, which is used once and never stored"
        if not field.required and field.default is None:
            yield at, f"needs the field {name}, which may stay empty; make it required or give it a default"
        wrong = [value for value in (*(field.choices or ()), *filter(None, [field.default])) if not is_label(value)]
        if wrong:
            yield at, f"has the field {name} in its host, and {wrong[0]!r} is not one label of a host name"


def unknown_field(draft: Draft, name: str) -> str:
    """Say that there is no such field, and which is nearest."""
    near = did_you_mean(name, draft.field_names)
    return f"names the field {name}, which does not exist; " + (
        f"did you mean {near}?" if near else f'add [[fields]] with name = "{name}"'
    )
