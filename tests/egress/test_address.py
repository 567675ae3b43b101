"""Each class of http-rules.md, "Addresses", by a named address."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.egress.address import AddressClass, classify, parse_address
from gateway.egress.guard import Guard

REFUSED = {
    "0.0.0.0": AddressClass.UNSPECIFIED,
    "0.255.255.255": AddressClass.UNSPECIFIED,
    "10.0.0.1": AddressClass.PRIVATE,
    "10.255.255.255": AddressClass.PRIVATE,
    "100.64.0.0": AddressClass.SHARED,
    "100.127.255.255": AddressClass.SHARED,
    "127.0.0.1": AddressClass.LOOPBACK,
    "127.255.255.254": AddressClass.LOOPBACK,
    "169.254.0.1": AddressClass.LINK_LOCAL,
    "172.16.0.1": AddressClass.PRIVATE,
    "172.31.255.255": AddressClass.PRIVATE,
    "192.0.0.8": AddressClass.PROTOCOL,
    "192.0.2.1": AddressClass.DOCUMENTATION,
    "192.88.99.1": AddressClass.RESERVED,
    "192.168.1.1": AddressClass.PRIVATE,
    "198.18.0.1": AddressClass.BENCHMARKING,
    "198.19.255.255": AddressClass.BENCHMARKING,
    "198.51.100.1": AddressClass.DOCUMENTATION,
    "203.0.113.1": AddressClass.DOCUMENTATION,
    "224.0.0.1": AddressClass.MULTICAST,
    "239.255.255.255": AddressClass.MULTICAST,
    "240.0.0.1": AddressClass.RESERVED,
    "255.255.255.255": AddressClass.RESERVED,
    "::": AddressClass.TRANSLATED,
    "::1": AddressClass.LOOPBACK,
    "::127.0.0.1": AddressClass.TRANSLATED,
    "::ffff:127.0.0.1": AddressClass.TRANSLATED,
    "::ffff:8.8.8.8": AddressClass.TRANSLATED,
    "::ffff:0:127.0.0.1": AddressClass.TRANSLATED,
    "64:ff9b::a00:1": AddressClass.TRANSLATED,
    "64:ff9b:1::a00:1": AddressClass.TRANSLATED,
    "100::1": AddressClass.DISCARD,
    "2001::1": AddressClass.PROTOCOL,
    "2001:1ff:ffff::1": AddressClass.PROTOCOL,
    "2001:db8::1": AddressClass.DOCUMENTATION,
    "2002:a00:1::1": AddressClass.TRANSLATED,
    "3fff::1": AddressClass.DOCUMENTATION,
    "5f00::1": AddressClass.SEGMENT_ROUTING,
    "fc00::1": AddressClass.PRIVATE,
    "fdff::1": AddressClass.PRIVATE,
    "fe80::1": AddressClass.LINK_LOCAL,
    "fe80::1%lo": AddressClass.LINK_LOCAL,
    "febf::1": AddressClass.LINK_LOCAL,
    "fec0::1": AddressClass.SITE_LOCAL,
    "ff02::1": AddressClass.MULTICAST,
}
METADATA = [
    "169.254.169.254",
    "fd00:ec2::254",
    "fd00:ec2::254%lo",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::",
]
PUBLIC = [
    "100.63.255.254",
    "100.128.0.1",
    "1.1.1.1",
    "8.8.8.8",
    "11.0.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450::1",
]


@pytest.mark.parametrize(("text", "kind"), REFUSED.items(), ids=list(REFUSED))
def test_a_special_address_is_classed_and_refused(text: str, kind: AddressClass) -> None:
    assert classify(parse_address(text)) is kind
    refusal = guard().check("host.test", parse_address(text), 443)
    assert refusal is not None
    assert refusal.code == "address_not_allowed"


@pytest.mark.parametrize("text", METADATA)
def test_a_metadata_service_is_refused_even_where_everything_is_allowed(text: str) -> None:
    assert classify(parse_address(text)) is AddressClass.METADATA
    refusal = guard("0.0.0.0/0", "::/0").check("host.test", parse_address(text), 443)
    assert refusal is not None
    assert refusal.hint is None, "there is no setting that would help"


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_passes(text: str) -> None:
    assert classify(parse_address(text)) is AddressClass.PUBLIC
    assert guard().check("host.test", parse_address(text), 443) is None


def test_a_network_that_is_allowed_passes_and_its_neighbour_does_not() -> None:
    allowing = guard("10.1.0.0/16")
    assert allowing.check("host.test", parse_address("10.1.2.3"), 443) is None
    assert allowing.check("host.test", parse_address("10.2.0.1"), 443) is not None


def test_an_allowed_ipv4_network_does_not_allow_its_spellings_in_ipv6() -> None:
    for text in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"):
        assert guard("127.0.0.0/8").check("host.test", parse_address(text), 443) is not None


def test_the_refusal_says_what_it_is_and_what_to_change() -> None:
    refusal = guard().check("db.test", parse_address("10.0.0.5"), 443)
    assert refusal is not None
    assert refusal.detail == "db.test is 10.0.0.5, a private network."
    assert refusal.hint == 'If the gateway may reach it, add "10.0.0.5" to egress.allow_networks.'


def guard(*allow: str, own: set[tuple[str, int]] | None = None) -> Guard:
    return Guard(allow_networks=allow, own_listeners=lambda: own or set())


@pytest.mark.parametrize(
    ("listener", "target"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.53"),
        ("0.0.0.0", "0.0.0.0"),
        ("::", "::1"),
        ("::", "127.0.0.1"),
        ("::1", "::1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
    ],
)
def test_the_gateways_own_listeners_are_a_loop_whatever_is_allowed(listener: str, target: str) -> None:
    refusal = guard("0.0.0.0/0", "::/0", own={(listener, 8080)}).check("x.test", parse_address(target), 8080)
    assert refusal is not None
    assert refusal.code == "loop_detected"


@pytest.mark.parametrize(
    ("listener", "target", "port"),
    [("0.0.0.0", "127.0.0.1", 9000), ("127.0.0.1", "127.0.0.2", 8080), ("0.0.0.0", "8.8.8.8", 8080)],
    ids=["another port", "another loopback address", "not a local address"],
)
def test_what_is_not_the_gateway_is_no_loop(listener: str, target: str, port: int) -> None:
    assert guard("127.0.0.0/8", own={(listener, 8080)}).check("x.test", parse_address(target), port) is None


# http-rules.md, "Addresses", word for word; read here by arithmetic alone, without the networks of `ipaddress`.
WRITTEN_V4 = """
0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.0.0/24, 192.0.2/24, 192.88.99/24, 192.168/16, 198.18/15,
198.51.100/24, 203.0.113/24, 224/4, 240/4
"""
WRITTEN_V6 = """
::/96, ::ffff:0:0/96, ::ffff:0:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48, 100::/64, 2001::/23, 2001:db8::/32, 2002::/16,
3fff::/20, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8
"""
ALWAYS = ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")


def _range_v4(text: str) -> range:
    prefix, _, length = text.strip().partition("/")
    octets = [*map(int, prefix.split(".")), 0, 0, 0][:4]
    first = sum(octet << shift for octet, shift in zip(octets, (24, 16, 8, 0), strict=True))
    return range(first, first + (1 << 32 - int(length)))


def _range_v6(text: str) -> range:
    prefix, _, length = text.strip().partition("/")
    before, _, behind = prefix.partition("::")
    left, right = ([group for group in side.split(":") if group] for side in (before, behind))
    groups = [*left, *["0"] * (8 - len(left) - len(right)), *right]
    first = sum(int(group, 16) << 16 * (7 - at) for at, group in enumerate(groups))
    return range(first, first + (1 << 128 - int(length)))


RANGES = {
    4: [_range_v4(one) for one in WRITTEN_V4.split(",")],
    6: [_range_v6(one) for one in WRITTEN_V6.split(",")],
}
NAMED = {
    4: [int(ip_address(one)) for one in ALWAYS if "." in one],
    6: [int(ip_address(one)) for one in ALWAYS if ":" in one],
}
IPV4 = (
    st.integers(0, 2**32 - 1)
    | st.builds(
        lambda one, at, step: (one.start if at else one.stop - 1) + step,
        st.sampled_from(RANGES[4]),
        st.booleans(),
        st.integers(-2, 2),
    ).filter(lambda value: 0 <= value < 2**32)
    | st.sampled_from(NAMED[4])
)
EMBEDDING = {
    "compatible": lambda v4: v4,
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "NAT64": lambda v4: 0x64FF9B << 96 | v4,
    "local NAT64, /96": lambda v4: 0x64FF9B0001 << 80 | v4,
    "local NAT64, /48": lambda v4: 0x64FF9B0001 << 80 | (v4 >> 16) << 64 | (v4 & 0xFFFF) << 40,
    "local NAT64, /64": lambda v4: 0x64FF9B0001 << 80 | v4 << 24,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "Teredo's server": lambda v4: 0x20010000 << 96 | v4 << 64,
    "Teredo's client": lambda v4: 0x20010000 << 96 | (v4 ^ 0xFFFFFFFF),
}
IPV6 = (
    st.integers(0, 2**128 - 1)
    | st.builds(
        lambda one, at, step: (one.start if at else one.stop - 1) + step,
        st.sampled_from(RANGES[6]),
        st.booleans(),
        st.integers(-2, 2),
    ).filter(lambda value: 0 <= value < 2**128)
    | st.sampled_from(NAMED[6])
)


@given(st.tuples(st.just(4), IPV4) | st.tuples(st.just(6), IPV6))
def test_an_address_is_public_where_the_written_list_has_no_network_with_it(one: tuple[int, int]) -> None:
    version, value = one
    address = IPv4Address(value) if version == 4 else IPv6Address(value)
    listed = value in NAMED[version] or any(value in network for network in RANGES[version])
    assert (classify(parse_address(str(address))) is AddressClass.PUBLIC) == (not listed)
    assert (guard().check("x.test", parse_address(str(address)), 443) is None) == (not listed)
    if value in NAMED[version]:
        assert guard("0.0.0.0/0", "::/0").check("x.test", parse_address(str(address)), 443) is not None


@given(IPV4, st.sampled_from(sorted(EMBEDDING)))
def test_an_ipv4_address_inside_an_ipv6_one_is_never_public_and_never_let_in_as_itself(value: int, how: str) -> None:
    address = parse_address(str(IPv6Address(EMBEDDING[how](value))))
    assert classify(address) is not AddressClass.PUBLIC
    assert guard("0.0.0.0/0").check("x.test", address, 443) is not None
    is_metadata = value in NAMED[4]
    assert not is_metadata or guard("0.0.0.0/0", "::/0").check("x.test", address, 443) is not None
