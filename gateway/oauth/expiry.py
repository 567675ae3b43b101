"""Until when a token holds, and when to renew it."""

import base64
import binascii
import json
import math
from typing import Any

MARGIN = 60.0  # seconds before expiry, where the policy names no margin
LONGEST = 10 * 366 * 86400.0  # seconds; what is said to live longer is only a way to write "for ever"


def lifetime(value: Any) -> float | None:
    """Return the seconds of an `expires_in` (RFC 6749 §5.1): a number, or a number in a string, as many send it.

    None where it says nothing useful: absent, not a number, zero or less (which some use for "does not expire").
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST)


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


def expiry(*, expires_in: Any, access_token: str, now: float, default_ttl: float | None) -> float | None:
    """Return when the token expires (epoch seconds): what the answer says, else the policy, else the JWT, else None.

    A JWT that has expired by our clock the moment it is issued tells about the clocks, not about the token: None. No
    answer names a time further off than `LONGEST`: the calendar ends somewhere, and every list shows these times.
    """
    seconds = lifetime(expires_in)
    if seconds is not None:
        return now + seconds
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
