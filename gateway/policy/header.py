"""Headers and parameters as they go out: which names may be added, and a value in bytes."""

import re
from urllib.parse import quote

from gateway.http.fields import folded_name

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "expect", "content-encoding", "content-type"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "upgrade", "http2-settings"})  # RFC 9110 §7.6.1
_ROUTING = frozenset({"host", "via", "forwarded", "x-connection-id"})  # who is asked, and who asks: the gateway's own
HIDING = frozenset({b"accept-encoding", b"accept-charset", b"range", b"request-range", b"if-range"})
"""Fields that ask for an answer in which a secret would not be found: packed, as UTF-16, or cut in parts. Folded."""
_DEFAULTS = "inject.defaults."


class InjectionInvalid(ValueError):
    """A value can't be sent. The message names its key path and never holds a value."""


def forbidden_header(name: str, *, default: bool = False) -> str | None:
    """Say why a header can't be injected, or None if it can. A `default` may say what the caller's content is."""
    if not _TOKEN.fullmatch(name):
        return "is no valid header name; letters, digits and hyphens"
    lower = folded_name(name.encode()).decode()
    if default and name.lower() == "content-type":
        return None
    if lower in _FRAMING:
        return "describes the body, which is the caller's; leave it out"
    if lower in _HOP_BY_HOP:
        return "belongs to a single hop (RFC 9110 §7.6.1); leave it out"
    if lower in _ROUTING or lower.startswith("proxy-"):
        return "is the gateway's own; leave it out"
    return None


def header(name: str, value: str, path: str) -> tuple[bytes, bytes]:
    """Return a header as it is sent. `path` is its place in the policy. Raises `InjectionInvalid`."""
    if why := forbidden_header(name, default=path.startswith(_DEFAULTS)):
        raise InjectionInvalid(f"{path} {why}")
    if _CONTROL.search(value):
        raise InjectionInvalid(f"{path} has control characters in its value")
    try:
        return name.encode("ascii"), value.strip(" \t").encode()  # RFC 9110 §5.5: no blanks around a field value
    except UnicodeEncodeError:
        raise InjectionInvalid(f"{path} has a lone surrogate in its value") from None


def encoded(text: str) -> bytes:
    """Return a name or a value for the query. Raises `InjectionInvalid`."""
    try:
        return quote(text, safe="-._~").encode("ascii")
    except UnicodeEncodeError:
        raise InjectionInvalid("inject.query has a lone surrogate in a value") from None
