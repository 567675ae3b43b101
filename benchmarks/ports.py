"""Ports on loopback: free now, and below the range that the system gives to outgoing connections."""

import itertools
import os
import socket

_FIRST, _COUNT = 21_000, 11_000
_places = itertools.count(os.getpid() * 131)


def free_port() -> int:
    """Return a port on which nobody listens; not the same twice in one run."""
    for place in itertools.islice(_places, _COUNT):
        port = _FIRST + place % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True
