"""W3C Trace Context, read strictly: what isn't exactly right is as if it weren't there (§3.2.2.5, §3.3.1.5).

https://www.w3.org/TR/trace-context/
"""

import re
from typing import NamedTuple

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_FORBIDDEN_VERSION = b"ff"
_KEY = rb"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z0-9][a-z0-9_\-*/]{0,13})?|[a-z][a-z0-9_\-*/]{0,255}"
_MEMBER = re.compile(rb"(" + _KEY + rb")=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MOST_MEMBERS = 32


class TraceParent(NamedTuple):
    """Whose trace a request is a part of: lower-case hex of 32 and 16 digits, and the flags, of which 1 is sampled."""

    trace_id: str
    span_id: str
    flags: int


def read_traceparent(value: bytes) -> TraceParent | None:
    """Read a field's value; None: it is none. Of a version to come, what version 00 has is read (§4.3)."""
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _FORBIDDEN_VERSION or (more is not None and version == b"00"):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceParent(trace_id.decode(), span_id.decode(), int(flags, 16))


def is_tracestate(value: bytes) -> bool:
    """Whether a list is one that may be passed on: known keys once each, values of printable characters (§3.3.1)."""
    members = [member for part in value.split(b",") if (member := part.strip(b" \t"))]
    if len(members) > _MOST_MEMBERS:
        return False
    found = [_MEMBER.fullmatch(member) for member in members]
    return None not in found and len({one[1] for one in found if one is not None}) == len(members)
