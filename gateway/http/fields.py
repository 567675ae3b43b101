"""Field names and what a proxy does with each (RFC 9110 §5.1, §7.6.1; RFC 9112 §6).

A name is looked up once and remembered; what stands in the table is everything the gateway treats specially.
"""

from enum import IntEnum
from typing import NamedTuple

Fields = list[tuple[bytes, bytes]]
"""Fields as they came: names keep their case, order is kept."""


class Role(IntEnum):
    """What is done with a field. Everything not named here is forwarded as it came."""

    ORDINARY = 0
    HOP_BY_HOP = 1  # ends here
    AMBIGUOUS = 2  # a spelling, as with underscores, of a name that matters: refused
    HOST = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    CONNECTION = 6
    UPGRADE = 7
    EXPECT = 8
    VIA = 9
    PROXY_AUTHORIZATION = 10
    CONNECTION_ID = 11
    AUTHORIZATION = 12
    API_KEY = 13
    CONTENT_TYPE = 14
    CONTENT_ENCODING = 15
    ACCEPT_ENCODING = 16
    LOCATION = 17
    SET_COOKIE = 18
    METHOD_OVERRIDE = 19  # a server may take it for the method
    TRACEPARENT = 20
    TRACESTATE = 21


class Name(NamedTuple):
    """A field name, read. `folded` is as `folded_name` has it."""

    role: Role
    folded: bytes


_ROLES = {
    b"host": Role.HOST,
    b"content-length": Role.CONTENT_LENGTH,
    b"transfer-encoding": Role.TRANSFER_ENCODING,
    b"connection": Role.CONNECTION,
    b"upgrade": Role.UPGRADE,
    b"expect": Role.EXPECT,
    b"via": Role.VIA,
    b"proxy-authorization": Role.PROXY_AUTHORIZATION,
    b"x-connection-id": Role.CONNECTION_ID,
    b"authorization": Role.AUTHORIZATION,
    b"x-api-key": Role.API_KEY,
    b"content-type": Role.CONTENT_TYPE,
    b"content-encoding": Role.CONTENT_ENCODING,
    b"accept-encoding": Role.ACCEPT_ENCODING,
    b"location": Role.LOCATION,
    b"content-location": Role.LOCATION,
    b"set-cookie": Role.SET_COOKIE,
    b"set-cookie2": Role.SET_COOKIE,
    b"close": Role.HOP_BY_HOP,  # RFC 9112 §9.6: reserved, for it is what `Connection: close` would nominate
    b"keep-alive": Role.HOP_BY_HOP,
    b"te": Role.HOP_BY_HOP,
    b"trailer": Role.HOP_BY_HOP,  # trailers are dropped whole
    b"http2-settings": Role.HOP_BY_HOP,
    b"alt-svc": Role.HOP_BY_HOP,  # would lead the caller around the gateway
    b"x-original-url": Role.HOP_BY_HOP,  # a server may take it for the target, which is another than was decided on
    b"x-rewrite-url": Role.HOP_BY_HOP,  # the same
    b"x-http-method-override": Role.METHOD_OVERRIDE,
    b"x-http-method": Role.METHOD_OVERRIDE,
    b"x-method-override": Role.METHOD_OVERRIDE,
    b"traceparent": Role.TRACEPARENT,
    b"tracestate": Role.TRACESTATE,
}
_NEVER_DISGUISED = frozenset({b"x-original-url", b"x-rewrite-url"}) | frozenset(
    name
    for name, role in _ROLES.items()
    if role
    in {
        Role.HOST,
        Role.CONTENT_LENGTH,
        Role.TRANSFER_ENCODING,
        Role.CONNECTION,
        Role.CONTENT_TYPE,
        Role.CONTENT_ENCODING,
        Role.UPGRADE,
        Role.CONNECTION_ID,
        Role.EXPECT,
        Role.METHOD_OVERRIDE,
    }
)
_MARKS = bytes.maketrans(b"!#$%&'*+.^_`|~", b"-" * 14)  # all that a name may have beside letters and digits (§5.6.2)
_MAX_REMEMBERED = 4096
_MAX_NAME = 64  # bytes of a name that is remembered
_remembered: dict[bytes, Name] = {}
_NOTHING: frozenset[bytes] = frozenset()


def read_name(raw: bytes) -> Name:
    """Return the role and folded form of a field name, from memory where it was seen before."""
    return _remembered.get(raw) or _remember(raw)


def folded_name(raw: bytes) -> bytes:
    """Return a name in lower case with every mark as `-`: a server that makes variables of names sees no other.

    RFC 3875 §4.1.18 asks for `_` in the place of `-` alone; there are servers that put it in the place of any mark.
    """
    return raw.lower().translate(_MARKS)


def _remember(raw: bytes) -> Name:
    lower = raw.lower()
    folded = folded_name(raw)
    if lower != folded and (folded in _NEVER_DISGUISED or folded.startswith(b"proxy-")):
        role = Role.AMBIGUOUS
    elif lower in _ROLES:
        role = _ROLES[lower]
    else:
        role = Role.HOP_BY_HOP if folded.startswith(b"proxy-") else Role.ORDINARY
    name = Name(role, folded)
    if len(raw) <= _MAX_NAME:  # names are the caller's choice: memory is bounded, and this is cheap
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[bytes(raw)] = name
    return name


def fields_size(fields: Fields) -> int:
    """Return how many bytes the fields take on the wire."""
    return sum(len(name) + len(value) + 4 for name, value in fields)


_USUAL_OPTIONS = frozenset({b"close", b"Close", b"keep-alive", b"Keep-Alive"})


def nominated(connection: bytes) -> frozenset[bytes]:
    """Return the field names, folded, that a `Connection` field nominates (RFC 9110 §7.6.1)."""
    if connection in _USUAL_OPTIONS:
        return _NOTHING  # fields with these names end here in any case
    return frozenset(map(folded_name, list_members(connection)))


def list_members(value: bytes) -> list[bytes]:
    """Split a comma-separated field value into lower-case members (RFC 9110 §5.6.1)."""
    return [member for part in value.split(b",") if (member := part.strip(b" \t").lower())]
