"""Checks of [allow] and of base_url, which must be allowed itself."""

import re
from collections.abc import Iterator

from gateway.policy.checks import urls
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.finding import Fault
from gateway.policy.match import NEVER
from gateway.policy.model import Allow
from gateway.policy.structure import HOLE
from gateway.policy.suffix import is_public_suffix
from gateway.policy.url import Spot

_METHOD = re.compile(r"[A-Z][A-Z-]*", re.ASCII)
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
_MAX_PORT = 65535


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of allowed URLs, methods and ports."""
    if draft.allow is None:
        return
    yield from _entries(draft, draft.allow)
    yield from _methods(draft.allow)
    for number, port in enumerate(draft.allow.connect_ports or ()):
        if not 1 <= port <= _MAX_PORT:
            yield f"allow.connect_ports[{number}]", "must be a port from 1 to 65535"


def _entries(draft: Draft, allow: Allow) -> Iterator[Fault]:
    if not allow.urls:
        yield "allow.urls", "is empty, so nothing would be allowed; list the app's hosts or URLs"
    for key, texts in (("urls", allow.urls), ("deny", allow.deny)):
        for number, text in enumerate(texts):
            at = f"allow.{key}[{number}]"
            if text in texts[:number] and text != HOLE:
                yield at, f"{text!r} is there twice"
                continue
            try:
                entry = EntryTemplate.parse(text, deny=key == "deny")
            except EntryInvalid as error:
                yield at, str(error)
                continue
            yield from urls.host_fields(draft, entry.url, at, covers_below=entry.wildcard or not entry.scheme_written)
            if key == "urls" and (fault := suffix_fault(entry)):
                yield at, fault


def suffix_fault(entry: EntryTemplate) -> str | None:
    """Say why an entry covers what anyone can register, or None: credentials don't go to whoever registers a name."""
    host = entry.url.sample.host
    if _ADDRESS.fullmatch(host) or not {Spot.HOST, Spot.URL}.isdisjoint(entry.url.spots.values()):
        return None
    covers_below = entry.wildcard or not entry.scheme_written
    if covers_below and is_public_suffix(host):
        advice = "write a host below it, or one whole origin with its scheme, as in https://localhost:8443"
        return f"{host!r} is a public suffix, under which anyone can have a host; {advice}"
    return urls.site_fault(entry.url)


def _methods(allow: Allow) -> Iterator[Fault]:
    if allow.methods is not None and not allow.methods:
        yield "allow.methods", "is empty, so nothing would be allowed; leave it out for every method"
    for number, method in enumerate(allow.methods or ()):
        at = f"allow.methods[{number}]"
        if method.upper() in NEVER:
            yield at, f"{method.upper()} is never allowed"
        elif not _METHOD.fullmatch(method):
            right = f"write {method.upper()}" if _METHOD.fullmatch(method.upper()) else "write one such as GET"
            yield at, f"{method!r} is no method; methods are upper case: {right}"
