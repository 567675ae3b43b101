"""Times as people read them: how long ago or until, in words; and the whole moment, in UTC."""

from datetime import UTC, datetime

from gateway.web.text import plain

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_NOW = 45
"""Seconds that are "just now"."""
_LONGEST = 60 * 86_400
"""Seconds: what is further away is said by its date."""


def moment(epoch: float | None) -> str:
    """Return a moment as `2026-01-31 08:00 UTC`."""
    return (
        datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC") if epoch is not None else plain("time.never")
    )


def machine(epoch: float) -> str:
    """Return a moment as RFC 3339, for an element's `datetime`."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")


def clock(epoch: float, now: float) -> str:
    """Return a moment of today as `08:00:12`, an earlier one with its day, `01-31 08:00`; both in UTC."""
    at, today = datetime.fromtimestamp(epoch, UTC), datetime.fromtimestamp(now, UTC).date()
    return at.strftime("%H:%M:%S" if at.date() == today else "%m-%d %H:%M")


def second(epoch: float) -> str:
    """Return a moment to the second, as `2026-01-31 08:00:12 UTC`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def near(epoch: float, now: float) -> str:
    """Return how far a moment is from now, as `5 minutes ago` or `in 3 days`."""
    away = abs(epoch - now)
    if away < _NOW:
        return plain("time.now")
    if away > _LONGEST:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
    direction = "ago" if epoch < now else "in"
    for seconds, unit in _UNITS:
        if away >= seconds:
            return plain(f"time.{unit}_{direction}", n=int(away // seconds))
    return plain(f"time.minute_{direction}", n=1)


def span(seconds: float) -> str:
    """Return a length of time as `0.3 ms`, `120 ms` or `4.2 s`, and `< 0.1 ms`."""
    if seconds < 1:
        milliseconds = seconds * 1000
        if milliseconds < 0.1:  # noqa: PLR2004 - what one digit can say
            return "< 0.1 ms"
        return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 - one digit
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - a minute
