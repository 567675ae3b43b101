"""What kind of place an IP address is: one ladder of networks, read from the top, that ends in PUBLIC.

Python's `ipaddress.is_global` is not used: it calls 64:ff9b::a00:1, 2002:a00:1::1, ::127.0.0.1, fec0::1, 224.0.0.1 and
168.63.129.16 global. The registries are IANA's special-purpose address registries (RFC 6890).
"""

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class AddressClass(StrEnum):
    """The classes; the value is what a person reads."""

    PUBLIC = "a public address"
    METADATA = "a cloud's metadata or platform service"
    UNSPECIFIED = "this network (0.0.0.0/8)"
    PRIVATE = "a private network"
    SHARED = "a carrier's shared address space"
    LOOPBACK = "this machine itself"
    LINK_LOCAL = "a link-local address"
    PROTOCOL = "an address set aside for protocols"
    DOCUMENTATION = "an address for documentation"
    BENCHMARKING = "a network for benchmarks"
    MULTICAST = "a multicast address"
    RESERVED = "a reserved address"
    TRANSLATED = "an IPv4 address inside an IPv6 one"
    SITE_LOCAL = "a deprecated site-local address"
    SEGMENT_ROUTING = "a segment-routing identifier"
    DISCARD = "a discard-only address"


# Never reached, whatever the configuration says: these hand out credentials to whoever asks from the machine.
ALWAYS_REFUSED: frozenset[Address] = frozenset(
    ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
ALWAYS_REFUSED_NAMES = frozenset({"metadata.google.internal"})

_LADDER: tuple[tuple[Network, AddressClass], ...] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", AddressClass.UNSPECIFIED),
        ("10.0.0.0/8", AddressClass.PRIVATE),
        ("100.64.0.0/10", AddressClass.SHARED),
        ("127.0.0.0/8", AddressClass.LOOPBACK),
        ("169.254.0.0/16", AddressClass.LINK_LOCAL),
        ("172.16.0.0/12", AddressClass.PRIVATE),
        ("192.0.0.0/24", AddressClass.PROTOCOL),
        ("192.0.2.0/24", AddressClass.DOCUMENTATION),
        ("192.88.99.0/24", AddressClass.RESERVED),  # RFC 7526: the 6to4 relays' anycast prefix, withdrawn
        ("192.168.0.0/16", AddressClass.PRIVATE),
        ("198.18.0.0/15", AddressClass.BENCHMARKING),
        ("198.51.100.0/24", AddressClass.DOCUMENTATION),
        ("203.0.113.0/24", AddressClass.DOCUMENTATION),
        ("224.0.0.0/4", AddressClass.MULTICAST),
        ("240.0.0.0/4", AddressClass.RESERVED),
        ("::1/128", AddressClass.LOOPBACK),
        ("::/96", AddressClass.TRANSLATED),  # RFC 4291 §2.5.5.1: IPv4-compatible; "::" is here too
        ("::ffff:0:0/96", AddressClass.TRANSLATED),  # §2.5.5.2: IPv4-mapped
        ("::ffff:0:0:0/96", AddressClass.TRANSLATED),  # RFC 2765: IPv4-translated
        ("64:ff9b::/96", AddressClass.TRANSLATED),  # RFC 6052: NAT64
        ("64:ff9b:1::/48", AddressClass.TRANSLATED),  # RFC 8215: local NAT64
        ("100::/64", AddressClass.DISCARD),
        ("2001::/23", AddressClass.PROTOCOL),  # Teredo, ORCHID and the like
        ("2001:db8::/32", AddressClass.DOCUMENTATION),
        ("2002::/16", AddressClass.TRANSLATED),  # RFC 3056: 6to4
        ("3fff::/20", AddressClass.DOCUMENTATION),
        ("5f00::/16", AddressClass.SEGMENT_ROUTING),
        ("fc00::/7", AddressClass.PRIVATE),
        ("fe80::/10", AddressClass.LINK_LOCAL),
        ("fec0::/10", AddressClass.SITE_LOCAL),
        ("ff00::/8", AddressClass.MULTICAST),
    )
)
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("::/96"), ip_network("::ffff:0:0/96"), ip_network("::ffff:0:0:0/96"))
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address:
    """Return the address of what a resolver or a URL says, without its scope id. Raises `ValueError`."""
    address = ip_address(text)
    # `fd00:ec2::254%eth0` must be the same address as `fd00:ec2::254` to every check below.
    return IPv6Address(int(address)) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def classify(address: Address) -> AddressClass:
    """Return the class of an address."""
    if address in ALWAYS_REFUSED or embedded(address) & ALWAYS_REFUSED:
        return AddressClass.METADATA
    for network, kind in _LADDER:
        if address in network:
            return kind
    return AddressClass.PUBLIC


def embedded(address: Address) -> frozenset[Address]:
    """Return the IPv4 addresses that an IPv6 address may stand for: mapped, compatible, NAT64, 6to4, Teredo."""
    if isinstance(address, IPv4Address):
        return frozenset()
    found: set[Address] = set()
    if address.sixtofour is not None:
        found.add(address.sixtofour)
    if address.teredo is not None:
        found.update(address.teredo)
    if any(address in network for network in _NAT64):
        found.add(IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _LOCAL_NAT64:  # RFC 6052 §2.2: the place of the IPv4 address depends on the operator's prefix length
        value = int(address)
        found.add(IPv4Address(value & 0xFFFFFFFF))  # /96
        found.add(IPv4Address(((value >> 64 & 0xFFFF) << 16) | (value >> 40 & 0xFFFF)))  # /48
        found.add(IPv4Address((value >> 24) & 0xFFFFFFFF))  # /64
    return frozenset(found)
