"""Checks that every URL of a policy shares: it can be read, and what fields stand in it."""

from collections.abc import Iterator, Sequence

from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, did_you_mean
from gateway.policy.model import Field
from gateway.policy.suffix import is_public_suffix
from gateway.policy.url import Spot, UrlInvalid, UrlTemplate, is_loopback, why_not


def read(text: str, at: str, *, relative: bool = False) -> tuple[UrlTemplate | None, list[Fault]]:
    """Read a URL; return it or the fault."""
    try:
        return UrlTemplate.parse(text, relative=relative), []
    except UrlInvalid as error:
        return None, [(at, str(error))]


def secure(url: UrlTemplate, at: str) -> Iterator[Fault]:
    """Credentials go to https alone; http is for a provider on loopback."""
    if url.sample.scheme == "http" and not is_loopback(url.sample.host):
        yield at, "is http, and credentials would go in the clear; write https:// (http is for loopback only)"


def host_fields(draft: Draft, url: UrlTemplate, at: str, *, covers_below: bool = False) -> Iterator[Fault]:
    """A field in a host is known, not secret, kept, always there, and what its place wants it to be.

    `covers_below`: what is allowed is the host's subdomains, too.
    """
    if not at.startswith("allow.") and (fault := site_fault(url)):
        yield at, fault
    for name, spot in url.spots.items():
        field = draft.by_name.get(name)
        if field is not None:
            yield from ((at, fault) for fault in _field(url, field, spot, covers_below=covers_below))
        elif name not in draft.field_names:
            yield at, unknown_field(draft, name)


def _field(url: UrlTemplate, field: Field, spot: Spot, *, covers_below: bool) -> Iterator[str]:
    """Yield what is wrong with a field that stands in a host."""
    name = field.name
    if field.secret:
        yield f"has the secret field {name} in its host; a host is public, so a secret can't be part of it"
    if field.once:
        yield f"has the field {name} in its host, which is used once and never stored"
    if not field.required and field.default is None:
        yield f"needs the field {name}, which may stay empty; make it required or give it a default"
    if fault := _misplaced(field, spot):
        yield fault
    if spot is Spot.TAIL and (fault := _tail_fault(url, field, covers_below=covers_below)):
        yield fault
    for value in (*(field.choices or ()), *filter(None, [field.default])):
        if why := why_not(spot, value):
            yield f"has the field {name} in its host, and {value!r} {why}"
            break


def site_fault(url: UrlTemplate) -> str | None:
    """Say why whoever fills its fields in could choose any site, or None: the site's own name is written out."""
    labels = url.sample.host.split(".")
    typed = _typed(url, labels)
    if typed is None or {Spot.HOST, Spot.URL, Spot.TAIL} & set(url.spots.values()):
        return None
    written = ".".join(labels[typed + 1 :])
    if not written or is_public_suffix(written, icann_only=True):  # nothing: a part of `com` is filled in
        return "has a field where the site's own name is, so who fills it in could choose any site; write the name out"
    return None


def _typed(url: UrlTemplate, labels: Sequence[str]) -> int | None:
    """Return the number of the last of these labels that has a value in it."""
    typed = [number for number, label in enumerate(labels) if any(one in label for one in url.stand_ins)]
    return typed[-1] if typed else None


def _tail_fault(url: UrlTemplate, field: Field, *, covers_below: bool) -> str | None:
    """Say which choice would make a public suffix of the host."""
    labels = url.sample.host.split(".")[:-1]
    typed = _typed(url, labels)
    written = labels if typed is None else labels[typed + 1 :]
    for choice in field.choices or ():
        host = ".".join([*written, choice]).lower()
        if is_public_suffix(host, icann_only=not covers_below):
            return f"is {host!r} with the choice {choice!r}, a public suffix; write the site's own name out"
    return None


def is_chosen(draft: Draft, url: UrlTemplate) -> str | None:
    """Return the field by which somebody else than the policy's author chooses the site, or None: nobody does."""
    for name, spot in url.spots.items():
        field = draft.by_name.get(name)
        if spot in (Spot.HOST, Spot.URL) and field is not None and not field.domains and not field.choices:
            return name
    return None


def _misplaced(field: Field, spot: Spot) -> str | None:
    """Say why the field can't stand there whatever its value."""
    name = field.name
    if spot is Spot.TAIL and not field.choices:
        return f"ends its host with the field {name}, so who fills it in could choose any site; give it choices"
    if spot in (Spot.HOST, Spot.URL) and field.choices:
        return None  # the policy's author lists the sites
    if spot is Spot.HOST and field.kind != "host":
        return f'has the field {name} for its host, so who fills it in chooses the site; say so: kind = "host"'
    if spot is Spot.URL and field.kind != "url":
        return f'begins with the field {name}, so who fills it in chooses the site; say so: kind = "url"'
    if spot in (Spot.HOST, Spot.URL) and field.source is not None and not field.domains:
        return f'has the field {name} for its host, which an answer names; pin it: domains = ["example.com"]'
    return None


def unknown_field(draft: Draft, name: str) -> str:
    """Say that there is no such field, and which is nearest."""
    near = did_you_mean(name, draft.field_names)
    return f"names the field {name}, which does not exist; " + (
        f"did you mean {near}?" if near else f'add [[fields]] with name = "{name}"'
    )
