"""URLs with values in them, under one rule: in a host, only a field, and only where its place says what it may be.

A field that is one whole label, or a part of one, is a label's letters, so no value can move a credential to another
site. One that ends a host (`zoho.{{ region }}`) is one of the policy's choices. One that is the whole host, or that
begins a URL, is where the policy's author lets the person choose the site: its kind says so, and its `domains` how far.
In a path or a query a value is percent-encoded, so that it stays one segment or one parameter.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote

from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.context import Context
from gateway.policy.template import Expression, MissingValue, Path, Template, TemplateInvalid

_LETTERS = re.compile(r"[a-z0-9-]+", re.ASCII | re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)
_RELATIVE = "https://relative.invalid"  # what a relative URL is read against, only to check it
_LOOPBACK = frozenset({"localhost", "::1"})


class Spot(StrEnum):
    """Where in a URL a value stands."""

    BEHIND = "behind"
    """In the path or the query."""
    LABEL = "label"
    PART = "part"
    """A part of a label: `open{{ realm }}.example.com`."""
    TAIL = "tail"
    """The host's end: `example.{{ region }}`."""
    HOST = "host"
    """The whole host."""
    URL = "url"
    """All of the URL's beginning: `{{ server }}/api`."""


class UrlInvalid(ValueError):
    """The text is no URL that a policy may hold, or became none with its values. No secret in the message."""


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A parsed URL.

    `parts` pairs each part of the template with where it stands; `sample` is the URL read with `stand_ins` for its
    values.
    """

    text: str
    parts: tuple[tuple[str | Expression, Spot], ...]
    sample: Target
    stand_ins: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, relative: bool = False) -> "UrlTemplate":
        """Read an absolute http(s) URL; with `relative`, a path such as `/me` too. Raises `UrlInvalid`."""
        return _parse(text, relative)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path that is looked up."""
        return tuple(path for part, _ in self.parts if isinstance(part, Expression) for path in part.paths)

    @property
    def spots(self) -> Mapping[str, Spot]:
        """The fields that stand in the host, and where."""
        return {
            path[-1]: spot
            for part, spot in self.parts
            if isinstance(part, Expression) and spot is not Spot.BEHIND
            for path in part.paths
        }

    @property
    def host_fields(self) -> tuple[str, ...]:
        """The fields that stand in the host."""
        return tuple(self.spots)

    @property
    def is_relative(self) -> bool:
        """Whether it is a path to be joined to the base URL."""
        return self.text.startswith("/")

    def render(self, context: Context) -> str:
        """Return the URL (or the path) with its values. Raises `MissingValue`, `UrlInvalid`."""
        text = "".join(part if isinstance(part, str) else _fill(part, spot, context) for part, spot in self.parts)
        try:
            target = parse_target(_RELATIVE + text if self.is_relative else text)
        except TargetInvalid as error:
            raise UrlInvalid(f"with its values it is no clean URL: {error}") from None
        if Spot.PART in self.spots.values() and not all(map(is_label, target.host.split("."))):
            raise UrlInvalid("with its values a label of its host is none")
        return target.path_and_query if self.is_relative else target.url


def join(base: str, relative: str) -> str:
    """Put a relative URL under a base URL; the base's own path stays in front."""
    return f"{base.rstrip('/')}/{relative.lstrip('/')}"


def is_label(text: str) -> bool:
    """Whether the text is one label of a host name (RFC 1123 §2.1)."""
    return _LABEL.fullmatch(text) is not None


def host_of(text: str) -> Target:
    """Read what a person typed as a host, with a port or without. Raises `UrlInvalid`."""
    if "://" in text:
        raise UrlInvalid("must be a host without https:// before it, such as server.example.com")
    try:
        target = parse_target(f"https://{text}/")
    except TargetInvalid as error:
        raise UrlInvalid(f"must be a host such as server.example.com or server.example.com:8443: {error}") from None
    if target.path != "/" or target.query is not None:
        raise UrlInvalid("must be a host without a path, such as server.example.com")
    return target


def base_of(text: str) -> Target:
    """Read what a person typed as a server's URL, which is https but on this machine. Raises `UrlInvalid`."""
    try:
        target = parse_target(text)
    except TargetInvalid as error:
        raise UrlInvalid(f"must be a URL such as https://server.example.com/base: {error}") from None
    if target.query is not None:
        raise UrlInvalid("must be a URL without a query")
    if target.scheme != "https" and not is_loopback(target.host):
        raise UrlInvalid("must begin with https://, for credentials go there")
    return target


def is_loopback(host: str) -> bool:
    """Whether the host (canonical) is this machine."""
    return (
        host in _LOOPBACK
        or host.endswith(".localhost")
        or (host.startswith("127.") and host.replace(".", "").isdigit())
    )


def is_within(host: str, domains: tuple[str, ...]) -> bool:
    """Whether the host (canonical) is one of the domains, or below one."""
    return any(host == domain.lower() or host.endswith(f".{domain.lower()}") for domain in domains)


def why_not(spot: Spot, value: str) -> str | None:
    """Say why a value can't stand there, or None if it can."""
    match spot:
        case Spot.LABEL if not is_label(value):
            return "must be one label of a host name: letters, digits and hyphens, at most 63"
        case Spot.PART if not _LETTERS.fullmatch(value):
            return "must be letters, digits and hyphens, for it is a part of a host name"
        case Spot.TAIL if not all(map(is_label, value.split("."))):
            return "must be the end of a host name, such as com or co.uk"
        case Spot.HOST | Spot.URL:
            try:
                host_of(value) if spot is Spot.HOST else base_of(value)
            except UrlInvalid as error:
                return str(error)
    return None


@lru_cache(maxsize=2048)
def _parse(text: str, relative: bool) -> UrlTemplate:  # noqa: FBT001  private, and lru_cache keys by position
    try:
        template = Template.parse(text)
    except TemplateInvalid as error:
        raise UrlInvalid(str(error)) from None
    stand_ins = _stand_ins(text, len(template.expressions))
    names = iter(stand_ins)
    begins = bool(template.parts) and isinstance(template.parts[0], Expression)
    if begins and len(template.parts) > 1 and not str(template.parts[1]).startswith("/"):
        raise UrlInvalid("begins with a value, behind which its path must begin, as in {{ server }}/api")
    sample = "".join(part if isinstance(part, str) else next(names) for part in template.parts)
    sample = f"https://{sample}" if begins else sample
    try:
        target = parse_target(_RELATIVE + sample if relative and text.startswith("/") else sample)
    except TargetInvalid as error:
        if any(f":{stand_in}" in sample for stand_in in stand_ins):
            raise UrlInvalid("has a value for its port; a field of kind host may have its port behind it") from None
        raise UrlInvalid(_why(error, relative)) from None
    names = iter(stand_ins)
    parts = tuple(
        (part, Spot.BEHIND if isinstance(part, str) else _spot(part, next(names), target, begins=begins and not number))
        for number, part in enumerate(template.parts)
    )
    return UrlTemplate(text, parts, target, stand_ins)


def _stand_ins(text: str, count: int) -> tuple[str, ...]:
    stem = "value"
    while stem in text.lower():
        stem += "x"
    return tuple(f"{stem}{number}z" for number in range(count))


def _why(error: TargetInvalid, relative: bool) -> str:  # noqa: FBT001  private
    return f"is not a clean URL: {error}" + ("; or write a path such as /me" if relative else "")


def _spot(expression: Expression, stand_in: str, target: Target, *, begins: bool) -> Spot:
    if stand_in not in target.host:
        return Spot.BEHIND
    if len(expression.operands) != 1 or set(expression.filters) - {"lower"}:
        raise UrlInvalid("has more than one plain field in a label; write {{ region }} alone")
    if expression.paths[0][:-1] not in ((), ("fields",)):
        raise UrlInvalid(
            "has a value in its host that is no field; for what an answer says, add a field that has it `from` there"
        )
    labels = target.host.split(".")
    if target.host == stand_in:
        return Spot.URL if begins else Spot.HOST
    if labels[-1] == stand_in:
        return Spot.TAIL
    return Spot.LABEL if stand_in in labels else Spot.PART


def _fill(expression: Expression, spot: Spot, context: Context) -> str:
    if spot is Spot.BEHIND:
        text = expression.evaluate(context)
        return text if "urlencode" in expression.filters else quote(text, safe="-._~")
    name = expression.paths[0][-1]
    try:
        value = context.text(("fields", name))
    except MissingValue:
        if expression.default is None:
            raise
        value = expression.default
    if why := why_not(spot, value):
        raise UrlInvalid(f"the field {name} {why}")
    return value.rstrip("/") if spot is Spot.URL else value.lower()
