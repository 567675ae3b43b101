"""What is made anew for one request, and named in templates as `request`: the time in its forms, and random values.

Both are arguments: nothing here looks at a clock or draws a number.
"""

from email.utils import formatdate, parsedate

ENTROPY = 32
"""Random bytes that one request needs."""
MADE = ("time", "time_ms", "iso", "random", "uuid")


def moment(now: float, random: bytes) -> dict[str, str]:
    """Return the values of `MADE`; `now` is in epoch seconds, `random` at least `ENTROPY` bytes."""
    return {
        "time": str(int(now)),
        "time_ms": str(int(now * 1000)),
        "iso": iso(now),
        "random": random[:16].hex(),
        "uuid": uuid(random[16:32]),
    }


def iso(now: float) -> str:
    """Return a time as ISO 8601's basic form has it, in UTC: `20261126T101500Z`."""
    year, month, day, hour, minute, second, *_ = parsedate(formatdate(int(now))) or (0,) * 6
    return f"{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"


def uuid(random: bytes) -> str:
    """Return a random UUID (RFC 9562 §5.4)."""
    octets = bytearray(random)
    octets[6] = octets[6] & 0x0F | 0x40
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
