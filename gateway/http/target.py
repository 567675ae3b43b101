"""Targets: absolute http(s) URLs, read once and never repaired (RFC 3986, RFC 9112 §3.2).

Whatever two parsers might read differently is refused: userinfo, fragments, backslashes, control and non-ASCII bytes,
percent-encoded hosts, numeric hosts that aren't a dotted quad, dot segments in any disguise.
"""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

DEFAULT_PORTS = {"http": 80, "https": 443}

_PATH_BYTES = r"[!-\"$->@-\[\]-~]"  # visible ASCII without # ? \
_QUERY_BYTES = r"[!-\"$-\[\]-~]"  # the same with ?
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_PORT = r"[1-9][0-9]{0,4}"  # no zero, no leading zeros
_URL = re.compile(
    rf"(https?)://({_HOST})(?::({_PORT}))?(/{_PATH_BYTES}*)?(?:\?({_QUERY_BYTES}*))?", re.IGNORECASE | re.ASCII
)
_ORIGIN_FORM = re.compile(rf"(/{_PATH_BYTES}*)(?:\?({_QUERY_BYTES}*))?", re.ASCII)
_AUTHORITY = re.compile(rf"({_HOST}):({_PORT})", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED_QUAD = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # what makes WHATWG parsers read a host as IPv4
_DOT_SEGMENT = re.compile(r"(?:^|/)[\0-\x20]*\.{1,2}[\0-\x20]*(?:[/;?#]|$)")  # a decoded ? or # may end a path, too
_OVERLONG = re.compile(rb"(?:\xc0|\xc1|\xe0[\x80\x81]|\xf0\x80[\x80\x81])[\x80-\xbf]")  # ASCII as RFC 3629 forbids it
_PERCENT_U = re.compile(r"%u([0-9a-f]{4})", re.ASCII | re.IGNORECASE)  # never was a standard, and is still decoded
_PADDING = re.compile(r"(?<![\0-\x20.])[\0-\x20.]++(?=/|$)")  # what a file system leaves out at a name's end
_SHORTEST_ORIGIN = len("http://x")
_MAX_ORIGINS = 4096
_origins: "dict[str, Origin]" = {}
"""What stood before a path that was read, and the origin it names: asked again at nearly every request."""
_MAX_NAME = 253
_MAX_PORT = 65535
_MAX_DECODINGS = 4  # %25252e…: deeper nesting than this is nobody's file name


class TargetInvalid(ValueError):
    """The text is not one clean http(s) URL; the message is one clause that says why."""


class Origin(NamedTuple):
    """Where a service is: scheme, host and port (RFC 6454 §4), and how they are written. Made by `origin_of`.

    `host` is lower case without a trailing dot; an IPv6 address is compressed and has no brackets. `authority` is host
    and port as `Host` carries them: the scheme's default port is left out. `serialized` is as in
    `https://api.example.com` (§6.2).
    """

    scheme: str
    host: str
    port: int
    authority: str
    serialized: str

    def __str__(self) -> str:
        return self.serialized


def origin_of(scheme: str, host: str, port: int) -> Origin:
    """Return the origin of a canonical host."""
    name = f"[{host}]" if ":" in host else host
    authority = name if port == DEFAULT_PORTS[scheme] else f"{name}:{port}"
    return Origin(scheme, host, port, authority, f"{scheme}://{authority}")


@dataclass(slots=True)  # not frozen: that triples what making one costs, and one is made for each request
class Target:
    """Where a request goes. `path` and `query` are the caller's bytes.

    `path` starts with "/"; `query` is what follows "?", or None.
    """

    origin: Origin
    path: str
    query: str | None = None

    @property
    def scheme(self) -> str:
        """The origin's."""
        return self.origin.scheme

    @property
    def host(self) -> str:
        """The origin's, canonical."""
        return self.origin.host

    @property
    def port(self) -> int:
        """The origin's."""
        return self.origin.port

    @property
    def authority(self) -> str:
        """Host and port as `Host` carries them."""
        return self.origin.authority

    @property
    def path_and_query(self) -> str:
        """The origin-form of RFC 9112 §3.2.1."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.origin.serialized + self.path_and_query

    @property
    def path_as_served(self) -> str:
        """The path as a forgiving server may read it: decoded, slashes merged, lower case. For denying only."""
        return served_path(self.path)


def parse_target(url: str) -> Target:
    """Read an absolute http(s) URL. Raises `TargetInvalid`."""
    end = url.find("/", _SHORTEST_ORIGIN)
    origin = _origins.get(url[:end])
    if origin is None or end < 0:
        return _parse_target(url)
    match = _ORIGIN_FORM.fullmatch(url, end)
    if match is None:
        raise TargetInvalid(_why(url))
    path, query = match.groups()
    return Target(origin, check_path(path), query)


def _parse_target(url: str) -> Target:
    match = _URL.fullmatch(url)
    if match is None:
        raise TargetInvalid(_why(url))
    scheme, host, port, path, query = match.groups()
    scheme = scheme.lower()
    origin = origin_of(scheme, canonical_host(host), _port(port, scheme))
    if path is not None:
        if len(_origins) >= _MAX_ORIGINS:
            _origins.clear()
        _origins[url[: match.start(4)]] = origin
    return Target(origin, check_path(path or "/"), query)


def parse_origin_form(text: str, origin: Origin) -> Target:
    """Read `/path?query` against an origin that is known already. Raises `TargetInvalid`."""
    match = _ORIGIN_FORM.fullmatch(text)
    if match is None:
        raise TargetInvalid(_why(text) if not text.startswith("/") else _why_path(text))
    return Target(origin, check_path(match[1]), match[2])


def parse_authority(text: str) -> tuple[str, int]:
    """Read `host:port` of a CONNECT (RFC 9112 §3.2.3); the port is required. Raises `TargetInvalid`."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise TargetInvalid("CONNECT takes host:port and nothing else")
    return canonical_host(match[1]), _port(match[2], "https")


def canonical_host(text: str) -> str:
    """Return the host's one spelling, lower case and without a trailing dot. Raises `TargetInvalid`."""
    if text.startswith("["):
        return _ipv6(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise TargetInvalid("the host is not a valid name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]) and not _DOTTED_QUAD.fullmatch(name):
        raise TargetInvalid("a numeric host must be a plain dotted quad")
    return name


def check_path(path: str) -> str:
    """Return the path unchanged. Raises `TargetInvalid` where a server could climb out of it."""
    if path.startswith("//"):
        raise TargetInvalid("the path starts with two slashes")
    if "/." not in path and "%" not in path:
        return path
    raw = path.encode("ascii")
    for _ in range(_MAX_DECODINGS):
        text = _read_kindly(raw)
        if "\0" in text or "\\" in text:
            raise TargetInvalid("the path has an encoded NUL or backslash")
        if _DOT_SEGMENT.search(text):
            raise TargetInvalid("the path has a . or .. segment, plain or encoded")
        decoded = unquote_to_bytes(raw)
        if decoded == raw:
            return path
        raw = decoded
    raise TargetInvalid("the path is percent-encoded too many times over")


def served_path(path: str) -> str:
    """Return the path as a forgiving server may read it: decoded, slashes merged, no parameters, lower case.

    What a decoded ? or # cuts off, and what a file system leaves out at a name's end, isn't there either.
    """
    if "%" in path:
        raw = path.encode("ascii")
        while (decoded := unquote_to_bytes(raw)) != raw:
            raw = decoded
        path = re.split("[?#]", _read_kindly(raw), maxsplit=1)[0]
    if ";" in path:
        path = re.sub(r";[^/]*", "", path)
    return re.sub(r"/{2,}", "/", _PADDING.sub("", path)).lower()


def _read_kindly(raw: bytes) -> str:
    """Return a decoded path as who reads overlong UTF-8, %u002e and characters that only look like . and / has it."""
    if raw.isascii() and b"%u" not in raw and b"%U" not in raw:
        return raw.decode("ascii")
    raw = _OVERLONG.sub(lambda found: bytes((((found[0][-2] & 1) << 6) | (found[0][-1] & 0x3F),)), raw)
    text = _PERCENT_U.sub(lambda found: chr(int(found[1], 16)), raw.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFKC", text)


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text[1:-1])
    except ValueError:
        raise TargetInvalid("the host is not a valid IPv6 address") from None
    if address.scope_id is not None:  # RFC 4007 §11.2: it means something on this machine only
        raise TargetInvalid("the IPv6 address has a zone")
    if address.ipv4_mapped is None:
        return address.compressed
    high, low = divmod(int(address.ipv4_mapped), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"  # Python 3.13 would write the last 32 bits as a dotted quad


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return DEFAULT_PORTS[scheme]
    port = int(text)
    if port > _MAX_PORT:
        raise TargetInvalid("the port is over 65535")
    return port


def _why(url: str) -> str:  # noqa: PLR0911 - one ladder, one idea
    """Say what is wrong, in the order a reader would notice it. Only for messages: the decision is made already."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        return "it does not start with http:// or https://"
    if "\\" in url:
        return "it has a backslash"
    authority = re.split(r"[/?#]", url.split("://", 1)[1], maxsplit=1)[0]
    if "@" in authority:
        return "it has userinfo before the host"
    if not authority:
        return "it has no host"
    if "#" in url:
        return "it has a fragment"
    host_and_port = re.fullmatch(rf"({_HOST})(?::(.*))?", authority, re.ASCII)
    if host_and_port is None:
        return "the host has characters that no host name has"
    if host_and_port[2] is not None and not re.fullmatch(_PORT, host_and_port[2], re.ASCII):
        return "the port is not a number from 1 to 65535"
    return _why_path(url)


def _why_path(text: str) -> str:
    if "#" in text:
        return "it has a fragment"
    if "\\" in text:
        return "it has a backslash"
    return "it has control, space or non-ASCII characters; percent-encode them"
