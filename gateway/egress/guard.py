"""Decides whether an address may be dialled. A refusal is a value."""

import errno
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

from gateway.egress.address import Address, AddressClass, Network, classify, embedded, parse_address
from gateway.errors import Refusal

OwnListeners = Callable[[], set[tuple[str, int]]]
"""Returns where the gateway itself listens, as (IP address, port) pairs."""


class Guard:
    """The rules of http-rules.md, "Addresses"."""

    def __init__(self, *, allow_networks: Iterable[str], own_listeners: OwnListeners) -> None:
        self._allowed: tuple[Network, ...] = tuple(ip_network(network) for network in allow_networks)
        self._own_listeners = own_listeners

    def check(self, host: str, address: Address, port: int) -> Refusal | None:
        """Return why `address` may not be dialled at `port` for `host`; None: it may."""
        if self._is_own(address, port):
            return Refusal(
                code="loop_detected",
                detail=f"{host} port {port} is this gateway itself.",
                hint="Write the service's own URL: what goes through the gateway must not end at it.",
            )
        kind = classify(address)
        if kind is AddressClass.PUBLIC:
            return None
        if kind is AddressClass.METADATA:
            return Refusal(code="address_not_allowed", detail=f"{host} is {address}, {kind}, which is never reached.")
        if any(address in network for network in self._allowed):
            return None
        return Refusal(
            code="address_not_allowed",
            detail=f"{host} is {address}, {kind}.",
            hint=f'If the gateway may reach it, add "{address}" to egress.allow_networks.',
        )

    def _is_own(self, address: Address, port: int) -> bool:
        places = {address, *(embedded(address) if isinstance(address, IPv6Address) else ())}
        for text, listening in self._own_listeners():
            if listening != port:
                continue
            own = parse_address(text)
            if own in places:
                return True
            # A listener on every address is reached through each address of this machine, and so is 0.0.0.0.
            if (own.is_unspecified or any(place.is_unspecified for place in places)) and any(map(_is_local, places)):
                return True
        return False


def _is_local(address: Address) -> bool:
    """Return whether the address is one of this machine's, in whatever way it got it: a socket can be bound to it."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        # Anything but "not an address of ours" leaves it open: a wildcard listener then counts as reached.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.EACCES)
    return True
