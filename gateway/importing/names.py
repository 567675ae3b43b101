"""Names of fields, from names that others gave: `apiSubdomain` is `api_subdomain`."""

import re

from gateway.policy.context import ALIAS, ROOTS
from gateway.policy.suffix import is_public_suffix

_STANDARD = ("access_token", "refresh_token", "token_type", "expires_in", "scope", "id_token")
"""A bare name is looked up in the token's answer first, so no field has one of these."""
_TAKEN = frozenset({*ROOTS, ALIAS, *_STANDARD, "app", "request", "signature", "assertion", "callback", "lookup"})
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST = 48


def field_name(written: str, taken: frozenset[str] | set[str] = frozenset()) -> str:
    """Return a name for a field that means something in templates and isn't taken."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", _BOUNDARY.sub("_", written)).lower().strip("_")[:_LONGEST]
    name = words or "value"
    if name[0].isdigit() or name in _TAKEN:
        name = f"own_{name}"
    number, base = 1, name
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def from_javascript(pattern: str) -> str:
    """Return a pattern that covers a whole value, from JavaScript's, which may stand anywhere in it."""
    inner = pattern.removeprefix("^")
    before = "" if pattern.startswith("^") else ".*"
    ends = inner.endswith("$") and not inner.endswith("\\$")
    inner = inner[:-1] if ends else inner
    after = "" if ends else ".*"
    inner = inner.replace("\\/", "/")
    return f"{before}(?:{inner}){after}" if "|" in inner else f"{before}{inner}{after}"


def pinned(pattern: str) -> str:
    r"""Return the domain that a pattern's values end with, as in `^[a-z]+\.example\.com$`, or ""."""
    found = re.search(r"((?:\\\.[A-Za-z0-9-]+){2,})\$$", pattern)
    return found[1].replace("\\.", ".")[1:].lower() if found else ""


def registrable(host: str) -> str:
    """The domain that somebody has registered, of a host below it."""
    labels = host.partition(":")[0].partition("/")[0].lower().strip(".").split(".")
    for number in range(len(labels) - 1, 0, -1):
        if not is_public_suffix(".".join(labels[number - 1 :]), icann_only=True):
            return ".".join(labels[number - 1 :])
    return ""
