"""URLs with values in them, under one rule: in a host, only a field, only as one whole label, and only a valid label.

So no value can move a credential to another site, whatever a field's own pattern lets through. In a path or a query a
value is percent-encoded, so that it stays one segment or one parameter.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.context import Context
from gateway.policy.template import Expression, MissingValue, Path, Template, TemplateInvalid

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)
_RELATIVE = "https://relative.invalid"  # what a relative URL is read against, only to check it


class UrlInvalid(ValueError):
    """The text is no URL that a policy may hold, or became none with its values. No secret in the message."""


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A parsed URL.

    `parts` pairs each part of the template with whether it stands in the host; `sample` is the URL read with
    `stand_ins` for its values.
    """

    text: str
    parts: tuple[tuple[str | Expression, bool], ...]
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
    def host_fields(self) -> tuple[str, ...]:
        """The fields that stand in the host."""
        return tuple(
            path[-1] for part, in_host in self.parts if isinstance(part, Expression) and in_host for path in part.paths
        )

    @property
    def is_relative(self) -> bool:
        """Whether it is a path to be joined to the base URL."""
        return self.text.startswith("/")

    def render(self, context: Context) -> str:
        """Return the URL (or the path) with its values. Raises `MissingValue`, `UrlInvalid`."""
        text = "".join(part if isinstance(part, str) else _fill(part, in_host, context) for part, in_host in self.parts)
        try:
            target = parse_target(_RELATIVE + text if self.is_relative else text)
        except TargetInvalid as error:
            raise UrlInvalid(f"with its values it is no clean URL: {error}") from None
        return target.path_and_query if self.is_relative else target.url


def join(base: str, relative: str) -> str:
    """Put a relative URL under a base URL; the base's own path stays in front."""
    return f"{base.rstrip('/')}/{relative.lstrip('/')}"


def is_label(text: str) -> bool:
    """Whether the text is one label of a host name (RFC 1123 §2.1)."""
    return _LABEL.fullmatch(text) is not None


@lru_cache(maxsize=2048)
def _parse(text: str, relative: bool) -> UrlTemplate:  # noqa: FBT001  private, and lru_cache keys by position
    try:
        template = Template.parse(text)
    except TemplateInvalid as error:
        raise UrlInvalid(str(error)) from None
    stand_ins = _stand_ins(text, len(template.expressions))
    names = iter(stand_ins)
    sample = "".join(part if isinstance(part, str) else next(names) for part in template.parts)
    try:
        target = parse_target(_RELATIVE + sample if relative and text.startswith("/") else sample)
    except TargetInvalid as error:
        raise UrlInvalid(_why(template, error, relative)) from None
    names = iter(stand_ins)
    parts = tuple((part, not isinstance(part, str) and _in_host(part, next(names), target)) for part in template.parts)
    return UrlTemplate(text, parts, target, stand_ins)


def _stand_ins(text: str, count: int) -> tuple[str, ...]:
    stem = "value"
    while stem in text.lower():
        stem += "x"
    return tuple(f"{stem}{number}z" for number in range(count))


def _why(template: Template, error: TargetInvalid, relative: bool) -> str:  # noqa: FBT001  private
    if template.parts and isinstance(template.parts[0], Expression):
        return "starts with a value; write the scheme and site out, as in https://{{ field }}.example.com"
    return f"is not a clean URL: {error}" + ("; or write a path such as /me" if relative else "")


def _in_host(expression: Expression, stand_in: str, target: Target) -> bool:
    if stand_in not in target.host:
        return False
    if stand_in not in target.host.split("."):
        raise UrlInvalid(
            "has a value in a part of a label; in a host a field is one whole label, as in {{ region }}.example.com"
        )
    if len(expression.operands) != 1 or set(expression.filters) - {"lower"}:
        raise UrlInvalid("has more than one plain field in a label; write {{ region }} alone")
    if expression.paths[0][:-1] not in ((), ("fields",)):
        raise UrlInvalid("has a value in its host that is no field; only what the person filled in may choose a host")
    return True


def _fill(expression: Expression, in_host: bool, context: Context) -> str:  # noqa: FBT001  private
    if not in_host:
        text = expression.evaluate(context)
        return text if "urlencode" in expression.filters else quote(text, safe="-._~")
    name = expression.paths[0][-1]
    try:
        label = context.text(("fields", name))
    except MissingValue:
        if expression.default is None:
            raise
        label = expression.default
    if not is_label(label):
        raise UrlInvalid(f"the field {name} must be one label of a host name: letters, digits and hyphens, at most 63")
    return label.lower()
