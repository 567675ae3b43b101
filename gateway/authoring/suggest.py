"""Entries that would cover a URL that was refused, from the narrowest on.

None is broader than the URL's own host, and none is a host under which anyone can have one. A path ends before what
looks like an id: an entry with an id in it covers one thing of one person.
"""

import re
from collections.abc import Iterable

from gateway.authoring.words import covers
from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.suffix import is_public_suffix
from gateway.policy.url import is_loopback

_VERSION = re.compile(r"v?\d{1,2}(?:\.\d{1,3})*[a-z]?\d?|\d{4}-\d{2}(?:-\d{2})?", re.ASCII | re.IGNORECASE)
_ID = re.compile(
    r"\d+"  # a number
    r"|(?=.*\d)[0-9a-f]{8,}"  # hexadecimal
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # RFC 9562
    r"|.*(?:@|%40).*"  # an address
    r"|(?=(?:.*\d){3}).{6,}|(?=.*\d)(?=.*(?-i:[A-Z])).{6,}"  # made by a machine: its digits
    r"|.{32,}",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")
_MOST = 8  # entries; nobody chooses among more
_DEEPEST = 50  # segments of a path that are looked at; what is below them is covered by those


def entries_for(url: str) -> tuple[str, ...]:
    """Return entries for `allow.urls`, the narrowest first; none for what is no clean http(s) URL.

    http is offered as https, as which it is sent, save on this machine.
    """
    try:
        target = parse_target(url.partition("#")[0].partition("?")[0])
    except TargetInvalid:
        return ()
    if not _is_own(target.host):
        return ()
    origin = _origin(target)
    found = [f"{origin}{path}" for path in reversed(_paths(target.path))]
    narrow = [*found[: _MOST - 1], origin]
    return tuple(entry for entry in narrow if covers(entry).wrong is None)


def is_elsewhere(url: str, entries: Iterable[str]) -> bool:
    """Whether a URL is on another site than all the entries: a lookalike's, or one that has nothing to do with the app.

    Who makes a program ask for it, and a person click, would be sent the credentials.
    """
    try:
        host = parse_target(url.partition("#")[0].partition("?")[0]).host
    except TargetInvalid:
        return True
    return _site(host) not in {_site(one.host) for one in map(covers, entries) if one.wrong is None}


def _site(host: str) -> str:
    """Return the name that was registered: one label below the longest public suffix, as of `a.s3.amazonaws.com`."""
    labels = host.split(".")
    if _ADDRESS.fullmatch(host):
        return host
    names = [".".join(labels[number:]) for number in range(len(labels))]
    suffix = next((number for number, name in enumerate(names) if is_public_suffix(name)), 0)
    return names[max(suffix - 1, 0)]


def _is_own(host: str) -> bool:
    return is_loopback(host) or _ADDRESS.fullmatch(host) is not None or not is_public_suffix(host)


def _origin(target: Target) -> str:
    if target.scheme == "https" or is_loopback(target.host):
        return str(target.origin)
    authority = target.authority
    return f"https://{authority}"


def _paths(path: str) -> list[str]:
    """The path's beginnings, up to what is or may be an id."""
    paths: list[str] = []
    for number, segment in enumerate(path[1:].split("/", _DEEPEST)[:_DEEPEST]):
        if not segment or _is_id(segment, first=number == 0) or "{" in segment:
            break
        paths.append(f"{paths[-1] if paths else ''}/{segment}")
    return paths


def _is_id(segment: str, *, first: bool) -> bool:
    if _VERSION.fullmatch(segment) and (first or not segment.isdigit()):
        return False
    return _ID.fullmatch(segment) is not None
