"""Turns a host into addresses that have been checked. What is dialled afterwards is these, never the name."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gateway.egress.address import ALWAYS_REFUSED_NAMES, parse_address
from gateway.egress.guard import Guard
from gateway.errors import Refusal, UpstreamError

AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""As `socket.getaddrinfo` has it: family, type, protocol, canonical name, address."""
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""The seam to the name service: host and port to IP addresses in text. Raises `OSError`."""

MOST_ADDRESSES = 64  # of a name: each is checked, and whoever owns a name may give it as many as an answer has room for
LOOKUP_THREADS = 16  # getaddrinfo blocks; a pool of its own, so that slow names don't hold up other work in threads


class SystemLookup:
    """The system's resolver, `getaddrinfo`, in threads of its own."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises `OSError`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _getaddrinfo, host, port)

    def close(self) -> None:
        """End the threads; a look-up that hangs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _getaddrinfo(host: str, port: int) -> Sequence[str]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [_with_scope(sockaddr) for _, _, _, _, sockaddr in infos]


def _with_scope(sockaddr: tuple[object, ...]) -> str:
    scope = sockaddr[3] if len(sockaddr) == 4 else 0  # noqa: PLR2004 -- AF_INET6: address, port, flow, scope
    return f"{sockaddr[0]}%{scope}" if scope and "%" not in str(sockaddr[0]) else str(sockaddr[0])


async def resolve(host: str, port: int, *, guard: Guard, lookup: Lookup, within: float) -> list[AddrInfo]:
    """Return the addresses of `host`, in the resolver's order, if every single one may be dialled.

    One refused address refuses them all: a name that also points inside is not trusted with the rest. Of more than
    `MOST_ADDRESSES` the others are as if they weren't there.
    `within` is in seconds. Raises `UpstreamError` (`upstream_dns`, `address_not_allowed`, `loop_detected`).
    """
    if host.rstrip(".").lower() in ALWAYS_REFUSED_NAMES:
        raise UpstreamError(
            Refusal(code="address_not_allowed", detail=f"{host} is a cloud's metadata service, which is never reached.")
        )
    addresses = await _addresses(host, port, lookup, within)
    infos = [_addr_info(text, port) for text in addresses[:MOST_ADDRESSES]]
    if not infos:
        raise UpstreamError(Refusal(code="upstream_dns", detail=f"The name {host} has no address."))
    for info in infos:
        refuse(host, info, guard)
    return infos


def refuse(host: str, info: AddrInfo, guard: Guard) -> None:
    """Raise `UpstreamError` if the address of `info` may not be dialled."""
    refusal = guard.check(host, parse_address(info[4][0]), info[4][1])
    if refusal is not None:
        raise UpstreamError(refusal)


def why(error: Exception) -> str:
    """Return why a connection could not be made, in the system's words: asyncio's have a Python tuple in them."""
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else "the network gave no reason"


async def _addresses(host: str, port: int, lookup: Lookup, within: float) -> Sequence[str]:
    try:
        parse_address(host)
    except ValueError:
        pass
    else:
        return [host]
    try:
        async with asyncio.timeout(within):
            return list(dict.fromkeys(await lookup(host, port)))
    except TimeoutError:
        detail = f"The name {host} was not resolved within {within:g} s."
        raise UpstreamError(Refusal(code="upstream_dns", detail=detail)) from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a valid name"
        detail = f"The name {host} could not be resolved: {reason}."
        raise UpstreamError(Refusal(code="upstream_dns", detail=detail)) from error


def _addr_info(text: str, port: int) -> AddrInfo:
    literal, _, scope = text.partition("%")
    if ":" not in literal:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (literal, port))
    return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (literal, port, 0, _scope_id(scope)))


def _scope_id(scope: str) -> int:
    if not scope:
        return 0
    try:
        return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    except (OSError, OverflowError) as error:
        raise UpstreamError(Refusal(code="upstream_dns", detail=f"There is no network interface {scope!r}.")) from error
