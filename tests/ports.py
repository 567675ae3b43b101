"""Ports for programs that are told theirs: free now, and not what the system hands out of its own accord next.

A port that was bound as 0 and given back may be anybody's outgoing connection a moment later. These are below the range
that the system takes such ports from (32768 and up on Linux), and each test process begins at a place of its own.
"""

import itertools
import os
import socket

_FIRST, _COUNT = 20_000, 12_000
_places = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """Return a port on which nobody listens; never the same twice in one process."""
    for place in itertools.islice(_places, _COUNT):
        port = _FIRST + place % _COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
