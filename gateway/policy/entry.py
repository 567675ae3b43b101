"""Entries of `allow.urls` and `allow.deny`: what each covers.

    example.com                     https on the default port of this host and of every subdomain
    *.example.com                   subdomains only
    https://api.example.com/v1/     this origin, this path and what is below it, on a segment boundary
    https://*.example.com/v1        both
    http://…, a port, an address    only where written out
    https://{{ host }}/, {{ url }}/ a server that the person names: its origin, and this path

In `deny`, an entry without a scheme covers http and https, on every port unless one is written.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.http.target import DEFAULT_PORTS, Target, parse_target
from gateway.policy.context import Context
from gateway.policy.template import TemplateInvalid
from gateway.policy.url import Spot, UrlInvalid, UrlTemplate

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WILDCARD = "*."
_VALUE = "{{"
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


class EntryInvalid(ValueError):
    """The text is no entry; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one entry covers. `written` is the file's text, `shown` the same with the fields' values.

    `port` None: every port. `itself` and `below`: the host, its subdomains. `path` is "" for every path, else without
    its last slash. `port_written`: the port stands in the entry.
    """

    written: str
    shown: str
    schemes: tuple[str, ...]
    host: str
    port: int | None
    port_written: bool
    itself: bool
    below: bool
    path: str

    def covers_origin(self, scheme: str, port: int) -> bool:
        """Whether the scheme and port are the entry's; the host is looked up before."""
        return scheme in self.schemes and self.port in (None, port)

    def covers_host(self, host: str) -> bool:
        """Whether the host (canonical) is the entry's."""
        return (self.itself and host == self.host) or (self.below and host.endswith(f".{self.host}"))


@dataclass(frozen=True, slots=True)
class EntryTemplate:
    """A parsed entry whose fields have no values yet."""

    written: str
    url: UrlTemplate
    scheme_written: bool
    port_written: bool
    wildcard: bool
    deny: bool

    @classmethod
    def parse(cls, text: str, *, deny: bool = False) -> "EntryTemplate":
        """Read an entry. Raises `EntryInvalid`. Parsed once for each text, as its URL is."""
        return _parse(text, deny)

    def render(self, context: Context) -> Entry:
        """Fill in the fields. Raises `MissingValue`, `UrlInvalid`."""
        return self._entry(parse_target(self.url.render(context)))

    def shape(self) -> Entry:
        """Return what the entry covers with a stand-in for each field (`url.stand_ins`)."""
        return self._entry(self.url.sample)

    def _entry(self, target: Target) -> Entry:
        both = self.deny and not self.scheme_written
        stars = _WILDCARD if self.wildcard else ""
        bare = not self.scheme_written
        port_written = self.port_written or (
            not {Spot.HOST, Spot.URL}.isdisjoint(self.url.spots.values())
            and target.port != DEFAULT_PORTS[target.scheme]
        )
        return Entry(
            written=self.written,
            shown=f"{stars}{target.authority}"
            if bare and not self.deny
            else f"{target.scheme}://{stars}{target.authority}{target.path_and_query}",
            schemes=tuple(DEFAULT_PORTS) if both else (target.scheme,),
            host=target.host,
            port=None if both and not self.port_written else target.port,
            port_written=port_written,
            itself=not self.wildcard,
            below=self.wildcard or (bare and not _ADDRESS.fullmatch(target.host)),
            path=target.path.rstrip("/"),
        )


@lru_cache(maxsize=2048)
def _parse(text: str, deny: bool) -> EntryTemplate:  # noqa: FBT001  private, and lru_cache keys by position
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    wildcard = rest.startswith(_WILDCARD)
    rest = rest.removeprefix(_WILDCARD)
    _check_form(text, rest, bare=not scheme, deny=deny)
    whole = scheme is not None or text.startswith(_VALUE)
    try:
        url = UrlTemplate.parse(text if text.startswith(_VALUE) else (scheme[0] if scheme else "https://") + rest)
    except (UrlInvalid, TemplateInvalid) as error:
        raise EntryInvalid(str(error)) from None
    entry = EntryTemplate(text, url, whole, _port_written(rest), wildcard, deny)
    _check(entry)
    return entry


def _check(entry: EntryTemplate) -> None:
    sample = entry.url.sample
    if entry.wildcard and not {Spot.HOST, Spot.URL}.isdisjoint(entry.url.spots.values()):
        raise EntryInvalid("has * before a value that is a whole host; it may be an address, or have a port")
    if sample.query is not None:
        raise EntryInvalid("has a query; an entry ends with its path and covers every query")
    if entry.wildcard and _ADDRESS.fullmatch(sample.host):
        raise EntryInvalid("has * before an address; an address has no subdomains")
    for stand_in in entry.url.stand_ins:
        if stand_in in sample.path and stand_in not in sample.path.split("/"):
            raise EntryInvalid(
                "has a value in a part of a path segment; a field is one whole segment, as in /{{ team }}/"
            )


def _check_form(text: str, rest: str, *, bare: bool, deny: bool) -> None:
    if not rest.strip():
        raise EntryInvalid("is empty; write a host such as example.com, or a URL")
    if text != text.strip():
        raise EntryInvalid("has spaces around it")
    if text.startswith("/"):
        raise EntryInvalid("has no host; write a host such as example.com, or a whole URL")
    if bare and "/" in rest and not deny and not text.startswith(_VALUE):
        raise EntryInvalid(f"has a path but no scheme; write https://{text}")
    authority, _, path = rest.partition("/")
    if "*" in path:
        raise EntryInvalid("has * in its path; a path covers everything below it already")
    if "*" in authority:
        raise EntryInvalid("has * in the middle; it stands for subdomains, and only at the start, as in *.example.com")


def _port_written(rest: str) -> bool:
    return re.search(r":\d+$", rest.partition("/")[0]) is not None
