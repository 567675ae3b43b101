"""Where a browser goes that is told to go to a reference: the URL Standard's parser, as far as the host."""

import re
from typing import NamedTuple

_AROUND = "".join(map(chr, range(0x21)))  # C0 controls and the space
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SLASHES = re.compile(r"[/\\]{2,}")
_AUTHORITY = re.compile(r"[/\\]*([^/\\?#]*)")


class Place(NamedTuple):
    """A scheme, and the host and port as they are written."""

    scheme: str
    host: str


def place_of(reference: str, base: Place) -> Place:
    """Where a reference leads from a page of `base`, which is http or https."""
    rest = re.sub(r"[\t\n\r]", "", reference.strip(_AROUND))
    scheme = base.scheme
    if match := _SCHEME.match(rest):
        scheme, rest = match[1].lower(), rest[match.end() :]
        if scheme not in {"http", "https"}:
            return Place(scheme, "")
        if scheme != base.scheme:
            rest = "//" + rest  # slashes don't count behind a scheme that isn't the base's
    if not _SLASHES.match(rest):
        return base
    authority = _AUTHORITY.match(rest)
    return Place(scheme, authority[1].rpartition("@")[2].lower() if authority else "")
