"""Listening sockets: bound before anything else is made, or handed over by whoever starts us.

A listening socket that is closed resets every connection that waits in it. So the first process of a server holds each
one for as long as the port is to be served, beside whoever accepts: what waits for a worker that dies is taken up by
the next, and a new version takes over the sockets of the old one.

Two ways to hand over: systemd's (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, the sockets from 3 on), and
our own from one version to the next (`handover`), which names each socket's number.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import structlog

from gateway.errors import Refusal, StartError
from gateway.settings import Listen, Settings

PROXY, WEB = "proxy", "web"
HANDOVER = "GATEWAY_HANDOVER"
"""`ready=NUMBER` and, for each socket, `proxy=NUMBER` or `web=NUMBER`, with spaces between."""
_FIRST = 3  # SD_LISTEN_FDS_START

log = structlog.get_logger()


class Handed:
    """What this process was given at its start. `ready`: where its predecessor hears that it serves; None: nowhere."""

    def __init__(self, sockets: Mapping[str, list[socket.socket]] | None = None, ready: int | None = None) -> None:
        self.sockets = dict(sockets or {})
        self.ready = ready

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> "Handed":
        """Take it out of the environment: nobody whom we start may think that it is theirs. Raises `StartError`."""
        pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
        handover = environ.pop(HANDOVER, "")
        if handover:
            numbers = _numbers(handover)
        elif pid == str(os.getpid()) and count.isdecimal():
            named = names.split(":") if names else []
            numbers = [(named[at] if at < len(named) else "", _FIRST + at) for at in range(int(count))]
        else:
            return cls()
        sockets: dict[str, list[socket.socket]] = {}
        for name, number in numbers:
            try:
                os.set_inheritable(number, False)  # nobody whom we start gets it by chance
            except OSError as error:
                raise _is_none(name, error) from None
            if name != "ready":
                sockets.setdefault(_known(name), []).append(_checked(name, number))
        return cls(sockets, dict(numbers).get("ready"))

    def tell_ready(self) -> None:
        """Tell the predecessor, if there is one, that this process serves."""
        if self.ready is not None:
            number, self.ready = self.ready, None
            with suppress(BrokenPipeError):  # it was killed meanwhile: all the more is this process needed
                os.write(number, b"ready\n")
            os.close(number)


class Sockets:
    """The listening sockets of a server."""

    def __init__(self, *, proxy: Sequence[socket.socket], web: Sequence[socket.socket]) -> None:
        self.proxy, self.web = tuple(proxy), tuple(web)

    def named(self) -> Iterator[tuple[str, socket.socket]]:
        """Yield each with the name of its listener."""
        yield from ((PROXY, one) for one in self.proxy)
        yield from ((WEB, one) for one in self.web)

    def close(self) -> None:
        """Let go of all of them."""
        for _, one in self.named():
            one.close()


@contextmanager
def sockets_for(settings: Settings, handed: Handed) -> Iterator[Sockets]:
    """Bind what the settings ask for, or take what was handed over; let go of it at the end. Raises `StartError`.

    Nothing listens yet, so nobody is kept waiting while the rest is made. With several workers there is a socket for
    each: the kernel shares new connections out among them (SO_REUSEPORT).
    """
    wanted = {f"{PROXY}.listen": (PROXY, settings.proxy.listen), f"{WEB}.listen": (WEB, settings.web.listen)}
    require_free({key: listen for key, (name, listen) in wanted.items() if name not in handed.sockets})
    for key, (name, listen) in wanted.items():
        _tell_other_address(key, listen, handed.sockets.get(name, []))
    proxy = handed.sockets.get(PROXY) or bound(settings.proxy.listen, sharing=settings.workers)
    web = handed.sockets.get(WEB) or bound(settings.web.listen)
    with closing(Sockets(proxy=_enough(proxy, settings.workers), web=web)) as sockets:
        yield sockets


def bound(listen: Listen, *, sharing: int = 1) -> list[socket.socket]:
    """Return a socket for each of the addresses that this one means; `sharing` of each. Raises `StartError`."""
    made: list[socket.socket] = []
    port, shared = listen.port, sharing > 1
    try:
        for family, address in _addresses(listen):
            for _ in range(sharing):
                made.append(_bind(family, (address[0], port, *address[2:]), shared=shared))
                port = port or made[0].getsockname()[1]
        if shared and not listen.port:
            # Bound anew by its number: a socket that was given any port loses it when it stops listening (`park`).
            with made.pop(0) as any_port:
                made.append(_bind(any_port.family, any_port.getsockname(), shared=True))
    except OSError as error:
        for one in made:
            one.close()
        detail = f"{listen} can't be listened on: {error.strerror or error}."
        raise StartError(Refusal(code="internal", detail=detail)) from None
    return made


def by_number(numbers: Iterable[str]) -> list[socket.socket]:
    """Return the sockets that whoever started this process has opened, by their descriptors."""
    return [socket.socket(fileno=int(number)) for number in numbers]


def dealt(sockets: Sequence[socket.socket], hands: int) -> list[list[socket.socket]]:
    """Deal the sockets of each address out, so that each hand has one at least: where there are too few, it shares."""
    groups: dict[object, list[socket.socket]] = {}
    for one in sockets:
        groups.setdefault(one.getsockname(), []).append(one)
    given: list[list[socket.socket]] = [[] for _ in range(hands)]
    for group in groups.values():
        for at in range(max(hands, len(group))):
            given[at % hands].append(group[at % len(group)])
    return given


def copies(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Return other descriptors of the same sockets: for who closes what it was given."""
    return [one.dup() for one in sockets]


def park(sockets: Iterable[socket.socket]) -> None:
    """Listen no more on these, for now: they keep their port, and are sent nothing. Whoever waits in them is reset.

    One that listens no more is left alone. A second shutdown(2) would stay with it: Linux hands it on to each
    connection that it accepts later, which is at its end when it begins.
    """
    for one in sockets:
        with suppress(OSError):  # this is no Linux, where it only goes on waiting
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                one.shutdown(socket.SHUT_RDWR)


def place_of(sockets: Sequence[socket.socket], wanted: Listen) -> Listen:
    """Return where they stand: as it was asked for, with the port that it really has, or where another address is."""
    host, port = sockets[0].getsockname()[:2]
    return Listen(wanted.host, port) if _is_of(wanted, sockets) else Listen(host, port)


def require_free(wanted: Mapping[str, Listen]) -> None:
    """Raise `StartError` where an address can't be had, or two are the same: before anything is made or changed."""
    with ExitStack() as probes:
        for name, listen in wanted.items():
            try:
                _probe(listen, probes)
            except OSError as error:
                detail = f"{name}: {listen} can't be listened on: {error.strerror or error}."
                hint = f"Stop what listens there, or change {name}."
                raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from None


def _probe(listen: Listen, probes: ExitStack) -> None:
    for family, address in _addresses(listen):
        probe = probes.enter_context(_bind(family, address, shared=False))
        probe.listen(1)  # with SO_REUSEADDR, only listening shows that somebody else does


def _bind(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _addresses(listen: Listen) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the family and the address of each that this one means."""
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, address) for family, _, _, _, address in found]


def _enough(sockets: list[socket.socket], workers: int) -> list[socket.socket]:
    """Return the sockets, with more of each address where there are workers without one and the system lets us."""
    made = list(sockets)
    for address in dict.fromkeys(one.getsockname() for one in sockets):
        group = [one for one in sockets if one.getsockname() == address]
        if _is_shared(group[0]):
            made += [_bind(group[0].family, address, shared=True) for _ in range(workers - len(group))]
    return made


def _is_shared(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def _known(name: str) -> str:
    if name in (PROXY, WEB):
        return name
    detail = f"A socket by the name {name!r} was handed over, and there is no such listener."
    hint = "In its .socket unit, write FileDescriptorName=proxy, or web."
    raise StartError(Refusal(code="internal", detail=detail, hint=hint))


def _numbers(handover: str) -> list[tuple[str, int]]:
    try:
        return [(name, int(number)) for name, _, number in (word.partition("=") for word in handover.split())]
    except ValueError:
        detail = f"{HANDOVER} says which sockets are handed over, and can't be read."
        hint = "It is for a gateway to set that starts its successor: take it out of the environment."
        raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from None


def _is_none(name: str, error: OSError) -> StartError:
    detail = f"The socket {name!r} that was to be handed over is none: {error.strerror}."
    return StartError(Refusal(code="internal", detail=detail))


def _checked(name: str, number: int) -> socket.socket:
    """Return what was handed over, if it can be listened on."""
    try:
        one = socket.socket(fileno=number)
    except OSError as error:
        raise _is_none(name, error) from None
    if one.type != socket.SOCK_STREAM or one.family not in (socket.AF_INET, socket.AF_INET6):
        what = "is none of TCP"
    elif _is_connected(one):
        what = "is a connection"
    else:
        return one
    one.close()
    hint = "In its .socket unit, write ListenStream= with an address and a port, and Accept=no."
    raise StartError(Refusal(code="internal", detail=f"The socket {name!r} that was handed over {what}.", hint=hint))


def _is_connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True


def _is_of(wanted: Listen, sockets: Sequence[socket.socket]) -> bool:
    """Whether the sockets stand where the settings say."""
    host, port = sockets[0].getsockname()[:2]
    return wanted.port in (0, port) and (wanted.host == host or not _is_literal(wanted.host))


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _tell_other_address(key: str, listen: Listen, handed: Sequence[socket.socket]) -> None:
    if handed and not _is_of(listen, handed):
        stands = str(place_of(handed, listen))
        hint = f"set {key} to it: commands and pages go by that; or stop and start, to listen there"
        log.warning("listen.handed_over", key=key, configured=str(listen), stands=stands, hint=hint)
