"""Until when a token holds, and when to renew it."""

import base64
import binascii
import json
import math
import re
from calendar import timegm
from email.utils import parsedate_tz
from typing import Any

from gateway.duration import parse_duration
from gateway.oauth.endpoint import Expires

MARGIN = 60.0  # seconds before expiry, where the policy names no margin
LONGEST = 10 * 366 * 86400.0  # seconds; what is said to live longer is only a way to write "for ever"
_MILLISECONDS = 1000.0
_DATE = re.compile(  # ISO 8601, as much of it as RFC 3339 has, and dates without a zone: those are UTC's
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*(?:(Z)|([+-])(\d\d):?(\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_SPAN = re.compile(  # ISO 8601's durations of a known length: no months, no years
    r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)
_UNITS = (7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0)


def lifetime(value: Any) -> float | None:
    """Return the seconds of an `expires_in` (RFC 6749 §5.1): a number, or a number in a string, as many send it.

    None where it says nothing useful: absent, not a number, zero or less (which some use for "does not expire").
    """
    seconds = _number(value)
    return None if seconds is None or seconds <= 0 else min(seconds, LONGEST)


def jwt_expiry(token: str) -> float | None:
    """Return the `exp` (RFC 7519 §4.1.4, epoch seconds) of a token that is a JWT, else None.

    The signature is not looked at: the token comes from its issuer over TLS, and only tells us when to come back.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 -- header, payload, signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    exp = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return None
    try:
        seconds = float(exp)
    except OverflowError:  # JSON's integers have no end
        return None
    return seconds if math.isfinite(seconds) else None


def end(value: Any, written: Expires, now: float) -> float | None:
    """Return the time (epoch seconds) that an answer's value says, None where it says nothing useful.

    A time that is over when the token comes tells about the clocks, not about the token, and so does nothing.
    """
    seconds: float | None
    match written:
        case "seconds":
            seconds = lifetime(value)
        case "milliseconds":
            seconds = lifetime(_scaled(_number(value)))
        case "at":
            seconds = _until(_number(value), now)
        case "at_milliseconds":
            seconds = _until(_scaled(_number(value)), now)
        case "date":
            seconds = _until(_date(value), now)
        case "duration":
            seconds = lifetime(_span(value))
    return None if seconds is None else now + seconds


def expiry(
    *, expires_in: Any, access_token: str, now: float, default_ttl: float | None, written: Expires = "seconds"
) -> float | None:
    """Return when the token expires (epoch seconds): what the answer says, else the policy, else the JWT, else None.

    A JWT that has expired by our clock the moment it is issued tells about the clocks, not about the token: None. No
    answer names a time further off than `LONGEST`: the calendar ends somewhere, and every list shows these times.
    """
    said = end(expires_in, written, now)
    if said is not None:
        return said
    if default_ttl is not None:
        return now + min(default_ttl, LONGEST)
    exp = jwt_expiry(access_token)
    return min(exp, now + LONGEST) if exp is not None and exp > now else None


def renewal(*, issued_at: float, expires_at: float, margin: float | None, jitter: float) -> float:
    """Return when to renew ahead of expiry (epoch seconds).

    `jitter` is in [-1, 1] and moves the margin by up to a tenth, so that a thousand connections made together are
    not renewed together. The margin is never over half of the token's life: a short one isn't renewed all the time.
    """
    seconds = (MARGIN if margin is None else margin) * (1 + jitter / 10)
    return expires_at - min(seconds, max(expires_at - issued_at, 0.0) / 2)


def _number(value: Any) -> float | None:
    """Return a finite number, also one in a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _scaled(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / _MILLISECONDS


def _until(at: float | None, now: float) -> float | None:
    return None if at is None or at <= now else min(at - now, LONGEST)


def _date(value: Any) -> float | None:
    """Return the epoch seconds of a date: ISO 8601's, or HTTP's (RFC 9110 §5.6.7)."""
    if not isinstance(value, str):
        return None
    match = _DATE.fullmatch(value.strip())
    try:
        if match is None:
            parts = parsedate_tz(value)
            return None if parts is None else timegm(parts[:6]) - (parts[9] or 0)
        at = timegm(tuple(int(part or 0) for part in match.groups()[:6]))
    except (ValueError, OverflowError):
        return None
    offset = int(match[9] or 0) * 3600 + int(match[10] or 0) * 60
    return at + offset if match[8] == "-" else at - offset


def _span(value: Any) -> float | None:
    """Return the seconds of a duration: `PT1H`, or `1h` as people write it."""
    if not isinstance(value, str):
        return None
    match = _SPAN.fullmatch(value.strip())
    if match is not None:
        return sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS, strict=True))
    try:
        return parse_duration(value)
    except ValueError:
        return None
