"""Many keep-alive connections from one thread: opened, asked one after another, or asked all at once.

What wrk can't: it never stops asking, and asks nobody at the same moment.
"""

import re
import resource
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.contenders import Running, fields_of
from benchmarks.processes import Refused, on_load_cpu

PATIENCE = 15.0
RECEIVE = 65536
SPARE = 256
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def request_of(one: Running, target: str) -> bytes:
    """Return a GET in absolute-form, with the contender's fields."""
    fields = {"Host": target.split("/")[2], "User-Agent": "callers", "Accept": "*/*", **fields_of(one.headers)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode()


@contextmanager
def crowd(one: Running, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections to a contender."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + SPARE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + SPARE), hard))
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", one.port), PATIENCE)) for _ in range(count)]


def ask_in_turn(callers: Sequence[socket.socket], request: bytes) -> None:
    """Ask on each connection once. Raises `Refused` unless each answer is a 200."""
    with on_load_cpu():
        for caller in callers:
            caller.settimeout(PATIENCE)
            caller.sendall(request)
            said = b""
            while not is_whole(said):
                said += _heard(caller)
            _raise_unless_200(said)


def ask_at_once(callers: Sequence[socket.socket], request: bytes) -> list[float]:
    """Ask on all connections at once, and return each answer's seconds. Raises `Refused` unless each is a 200."""
    took: list[float] = []
    with on_load_cpu(), selectors.EpollSelector() as waiting:
        said = dict.fromkeys(callers, b"")
        for caller in callers:
            caller.setblocking(False)
            waiting.register(caller, selectors.EVENT_READ)
        sent = {}
        for caller in callers:
            sent[caller] = time.perf_counter()
            caller.send(request)
        while len(took) < len(callers):
            ready = waiting.select(PATIENCE)
            if not ready:
                raise Refused(f"{len(callers) - len(took)} of {len(callers)} callers got no answer")
            for key, _ in ready:
                caller = key.fileobj
                said[caller] += _heard(caller)
                if is_whole(said[caller]):
                    took.append(time.perf_counter() - sent[caller])
                    _raise_unless_200(said[caller])
    return took


def is_whole(said: bytes) -> bool:
    """Whether this is an answer with all of its body; it must have a Content-Length."""
    head, end, body = said.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def _heard(caller: socket.socket) -> bytes:
    try:
        more = caller.recv(RECEIVE)
    except OSError as error:
        raise Refused(f"no answer: {error}") from error
    if not more:
        raise Refused("a connection was closed before its answer")
    return more


def _raise_unless_200(said: bytes) -> None:
    if not said.startswith(b"HTTP/1.1 200 "):
        raise Refused(f"the answer is {said[:300].decode(errors='replace')!r}")
