"""What a service says about how much it takes: `Retry-After` (RFC 9110 §10.2.3), and what is left of a quota.

Of quotas there are many spellings: `X-RateLimit-Remaining` with `X-RateLimit-Reset`, the same without `X-` or as
`X-Rate-Limit-`, and the IETF draft's `RateLimit`, older (`remaining=0, reset=30`) and newer (`"default";r=0;t=30`).
Resets are seconds from now, or of the epoch, or its milliseconds. What can't be read says nothing. A policy may name
the header by which its service says it on a 429 or 503, and how that is written.
"""

import math
import re
from email.utils import mktime_tz, parsedate_tz
from typing import Literal, NamedTuple

from gateway.http.response import ResponseHead

LONGEST_PAUSE = 3_600.0
"""Seconds: no service stops us for longer by one answer."""
_WITHOUT_A_WORD = 1.0
"""Seconds after a 429 that says nothing more."""

_LONGEST_SAID = 86_400.0
"""Seconds: what the caller is told at most."""

_TOO_MANY, _UNAVAILABLE = 429, 503
_RETRY_AFTER, _DATE = b"retry-after", b"date"
_QUOTAS = (
    (b"x-ratelimit-remaining", b"x-ratelimit-reset"),
    (b"ratelimit-remaining", b"ratelimit-reset"),
    (b"x-rate-limit-remaining", b"x-rate-limit-reset"),
)
_RATELIMIT = b"ratelimit"
_SAYS_SOMETHING = frozenset({_RETRY_AFTER, _RATELIMIT, *(remaining for remaining, _ in _QUOTAS)})

_NUMBER = re.compile(rb"\d{1,14}(?:\.\d{1,9})?")
_REMAINING = re.compile(rb"(?:^|[;,\s])r(?:emaining)?\s*=\s*(\d{1,14})\s*(?:[;,]|$)")
_RESET = re.compile(rb"(?:^|[;,\s])(?:t|reset)\s*=\s*(\d{1,14})\s*(?:[;,]|$)")
_LONGEST_VALUE = 256  # bytes; it is upstream that decides on its length
_EPOCH, _EPOCH_MS = 1e9, 1e11  # from here on, a number is no span: 30 years; a time in milliseconds, since 1973


ResetForm = Literal["seconds", "milliseconds", "at", "at_milliseconds", "date"]
"""How a reset is written: a span, a time of the epoch, or an HTTP-date."""


class ResetField(NamedTuple):
    """The field of a 429 or 503 that says how long to wait. `name` is folded."""

    name: bytes
    form: ResetForm


def retry_after(head: ResponseHead, now: float) -> float | None:
    """Return the seconds to wait, None where the answer doesn't say. `now` is in epoch seconds."""
    value = _value(head, _RETRY_AFTER)
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    at = _date(value)
    return None if at is None else max(0.0, at - _service_s_time(head, now))


def retry_after_line(head: ResponseHead, now: float, reset: ResetField) -> bytes:
    """Return Retry-After as a line for the caller, where upstream says how long to wait in a field of its own alone."""
    seconds = _reset_asked(head, now, reset)
    if seconds is None or _RETRY_AFTER in head.shape.folded:
        return b""
    return b"Retry-After: %d\r\n" % math.ceil(min(seconds, _LONGEST_SAID))


def pause_asked(head: ResponseHead, now: float, reset: ResetField | None = None) -> float | None:
    """Return for how many seconds the service wants nothing more, None: it says nothing of the kind.

    A 429 does, with whatever it names; so does a 503 with Retry-After or the policy's own `reset`, and every answer by
    which a quota is used up.
    """
    status = head.status
    if status not in (_TOO_MANY, _UNAVAILABLE) and _SAYS_SOMETHING.isdisjoint(head.shape.folded):
        return None
    asked = [_used_up(head, now)]
    if status in (_TOO_MANY, _UNAVAILABLE):
        asked.append(retry_after(head, now))
        if reset is not None:
            asked.append(_reset_asked(head, now, reset))
    seconds = max((one for one in asked if one is not None), default=None)
    if seconds is None:
        return _WITHOUT_A_WORD if status == _TOO_MANY else None
    return min(seconds, LONGEST_PAUSE) if seconds > 0 else None


def _reset_asked(head: ResponseHead, now: float, reset: ResetField) -> float | None:
    """Return the seconds that the policy's own field names on a 429 or 503."""
    value = _value(head, reset.name) if head.status in (_TOO_MANY, _UNAVAILABLE) else None
    if value is None:
        return None
    if reset.form == "date":
        at = _date(value)
    elif not _NUMBER.fullmatch(value):
        return None
    elif reset.form == "seconds":
        return float(value)
    elif reset.form == "milliseconds":
        return float(value) / 1000
    else:
        at = float(value) / (1000 if reset.form == "at_milliseconds" else 1)
    return None if at is None else max(0.0, at - _service_s_time(head, now))


def _used_up(head: ResponseHead, now: float) -> float | None:
    """Return the seconds until a quota is there again of which nothing is left."""
    for remaining, reset in _QUOTAS:
        left, again = _value(head, remaining), _value(head, reset)
        if left is not None and again is not None and _NUMBER.fullmatch(left) and _NUMBER.fullmatch(again):
            return _span(float(again), head, now) if float(left) < 1 else None
    value = _value(head, _RATELIMIT)
    if value is None:
        return None
    # One item for each of several quotas, separated by commas; in the older form the commas stand between its parts.
    spans = []
    for item in value.split(b",") if b";" in value else [value]:
        left_at, again_at = _REMAINING.search(item), _RESET.search(item)
        if left_at and again_at and not int(left_at[1]):
            spans.append(_span(float(again_at[1]), head, now))
    return max(spans, default=None)


def _span(number: float, head: ResponseHead, now: float) -> float:
    if number < _EPOCH:
        return number
    at = number / 1000 if number > _EPOCH_MS else number
    return max(0.0, at - _service_s_time(head, now))


def _service_s_time(head: ResponseHead, now: float) -> float:
    """Return what the service's own clock shows, where it says: the two may differ by minutes."""
    date = _value(head, _DATE)
    at = _date(date) if date is not None else None
    return now if at is None else at


def _date(value: bytes) -> float | None:
    """Read an HTTP-date in any of its three forms (RFC 9110 §5.6.7)."""
    try:
        parts = parsedate_tz(value.decode("ascii"))
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _value(head: ResponseHead, name: bytes) -> bytes | None:
    """Return a field's value, None where it stands nowhere, twice, or is too long to mean anything."""
    folded = head.shape.folded
    if folded.count(name) != 1:
        return None
    value = head.values[folded.index(name)].strip(b" \t")
    return value if len(value) <= _LONGEST_VALUE else None
