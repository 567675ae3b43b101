"""How many wrong secrets an address may still show, or how often a thing may be tried: a bucket for each, bounded.

A bucket holds `BURST` tries, and gets one back each `EVERY` seconds. An IPv6 host chooses among the addresses of its
/64 as it likes, so those share one (RFC 4291 §2.5.4). The clock is an argument, in seconds; it may be set back.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

BURST = 10
EVERY = 6.0
MOST = 4_096
"""Addresses remembered. Whoever has so many that older ones are forgotten has a bucket for each of them anyway."""
_HOST_BITS = 64


class Attempts:
    """The buckets of all addresses. For each only the moment is kept at which it is full again.

    `group` says what shares a bucket, where it isn't addresses that try.
    """

    def __init__(self, clock: Callable[[], float], group: Callable[[str | None], str] | None = None) -> None:
        self._clock = clock
        self._group = group or network_of
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str | None) -> int:
        """Return whole seconds until the address may try again, 0 where it may now."""
        over = self._owed(self._group(address), self._clock()) - (BURST - 1) * EVERY
        return math.ceil(over) if over > 0 else 0

    def failed(self, address: str | None) -> None:
        """Take a try from the address's bucket."""
        network, now = self._group(address), self._clock()
        self._full_at[network] = now + self._owed(network, now) + EVERY
        self._full_at.move_to_end(network)
        if len(self._full_at) > MOST:
            self._full_at.popitem(last=False)

    def _owed(self, network: str, now: float) -> float:
        """Return seconds until the bucket is full. Never more than an empty one's: the clock was set back."""
        return min(max(self._full_at.get(network, now) - now, 0.0), BURST * EVERY)


def network_of(address: str | None) -> str:
    """Return what shares a bucket with the address. Whatever is no IP address has one together."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS))
