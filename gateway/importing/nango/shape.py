"""What a value in a URL's host is for us: a part of the host, the whole host, or the URL's beginning.

nango writes any text into a host. Here each place says what a value may be. Where a value would have dots in it,
the person is asked for the whole host instead, below the domain that stood behind it, if there is one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gateway.importing.data import Table, listed, table, text
from gateway.importing.names import pinned, registrable
from gateway.importing.nango.entry import Entry, Use, host_in
from gateway.importing.nango.expression import alternatives

_SCHEMES = ("^https?:", "^https:", "^http:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a field is. `before` and `after` are what the value takes in of the host around it."""

    kind: Literal["text", "host", "url"] = "text"
    before: str = ""
    after: str = ""
    domains: tuple[str, ...] = ()


def shapes(entry: Entry) -> dict[str, Shape]:
    """Return the shape of each value that stands in a host."""
    uses: dict[str, list[Use]] = {}
    for use in entry.uses():
        if use not in uses.setdefault(use.key, []):
            uses[use.key].append(use)
    tails = [host.rpartition("}")[2].lstrip(".-") for url in entry.urls() for host in map(host_in, alternatives(url))]
    literal = {domain for tail in tails if "." in tail and (domain := registrable(tail))}
    return {key: _shape(table(entry.config.get(key)), found, literal) for key, found in uses.items()}


def _shape(spec: Table, uses: list[Use], literal: set[str]) -> Shape:
    """`literal` are the domains that the entry's own URLs are in: an example below one says that all values are."""
    example = registrable(text(spec.get("example")).rpartition("://")[2])
    domain = pinned(text(spec.get("pattern"))) or (example if example in literal else "")
    domains = (domain,) if domain else ()
    if any(use.begins for use in uses):
        return Shape(kind="url", domains=domains)
    around = {(use.before, use.after) for use in uses}
    if around == {("", "")}:
        return Shape(kind="url" if _has_path(spec) else "host", domains=domains)
    (before, after), *others = around
    if others or "${" in before + after or not _needs_whole(spec, after):
        return Shape()
    if _choices(spec) or not after:
        return Shape(kind="host", before=before, after=after)
    return Shape(kind="host", before=before, after=after, domains=(after.lstrip(".-"),) if after[0] == "." else ())


def _needs_whole(spec: Table, after: str) -> bool:
    """Whether the value can't stand where it stands: it has dots in it, or is the host's open end."""
    if not after:
        return not _choices(spec)
    return any("." in value for value in [*_choices(spec), text(spec.get("example")).removesuffix(after)])


def _has_path(spec: Table) -> bool:
    """Whether the value may have a path behind its host, or has a scheme before it."""
    pattern = text(spec.get("pattern"))
    if pattern.replace("\\/", "/").startswith(_SCHEMES):
        return True
    values = _choices(spec) or [text(spec.get("example"))]
    if any("/" in value.partition("://")[2] or ("://" not in value and "/" in value) for value in values):
        return True
    return spec.get("format") != "hostname" and "/" in pattern


def _choices(spec: Table) -> list[str]:
    return list(filter(None, map(text, _few(listed(spec.get("enum"))))))


def _few(values: Iterable[object]) -> list[object]:
    return list(values)[:100]
