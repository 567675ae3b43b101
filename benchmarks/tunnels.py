"""CONNECT and TLS inside, which wrk can't: handshakes, and requests in tunnels that stay open.

One thread and an epoll on the load's processor; OpenSSL does the rest. The proof checks the contender's certificate
against the contender's own authority; the load doesn't, because that would cost only the caller.
"""

import selectors
import socket
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.callers import is_whole
from benchmarks.contenders import Running, judge
from benchmarks.figures import percentile
from benchmarks.processes import Refused, on_load_cpu
from benchmarks.wrk import Driven

PATIENCE = 10.0
RECEIVE = 65536


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What is asked in a tunnel: the authority that it goes to, and the path."""

    authority: str
    path: str

    def request(self) -> bytes:
        """Return the request inside."""
        return (
            f"GET {self.path} HTTP/1.1\r\nHost: {self.authority}\r\nUser-Agent: tunnels\r\nAccept: */*\r\n\r\n".encode()
        )

    def connect(self, one: Running) -> bytes:
        """Return the CONNECT."""
        fields = "".join(f"{line}\r\n" for line in one.headers)
        return f"CONNECT {self.authority} HTTP/1.1\r\nHost: {self.authority}\r\n{fields}\r\n".encode()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def open_tunnel(one: Running, inside: Inside, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Open a tunnel and shake hands in it. Raises `Refused`."""
    raw = socket.create_connection(("127.0.0.1", one.port), PATIENCE)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(inside.connect(one))
        _raise_unless_open(raw.recv(RECEIVE))
        return context.wrap_socket(raw, server_hostname=inside.authority.partition(":")[0])
    except OSError as error:
        raw.close()
        raise Refused(f"no tunnel: {error}") from error
    except BaseException:
        raw.close()
        raise


def _raise_unless_open(said: bytes) -> None:
    if not said.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise Refused(f"CONNECT is answered {said[:200]!r}")


def prove_inside(one: Running, inside: Inside, token: str) -> None:
    """Ask once in a tunnel, with an Authorization of the caller's. Raises `Refused`."""
    request = inside.request().replace(b"Accept:", b"Authorization: Bearer the-callers-own\r\nAccept:", 1)
    with open_tunnel(one, inside, ssl.create_default_context(cafile=one.ca)) as tunnel:
        tunnel.sendall(request)
        head, _, body = _answer(tunnel).partition(b"\r\n\r\n")
    judge(int(head.split(b" ")[1]), body, token)


class _Tunnel:
    """An open tunnel in which one request after another is asked."""

    def __init__(self, stream: ssl.SSLSocket, request: bytes) -> None:
        self.stream, self._request, self._said, self._sent = stream, request, b"", 0.0
        stream.setblocking(False)

    def ask(self) -> None:
        """Send the request."""
        self._sent = time.perf_counter()
        self.stream.send(self._request)

    def hear(self) -> float | None:
        """Read what has come, and return the answer's seconds when it is whole. Raises `Refused` unless it is a 200."""
        while True:
            try:
                more = self.stream.recv(RECEIVE)
            except ssl.SSLWantReadError:
                return None
            self._said += more
            if not more or not self._said.startswith(b"HTTP/1.1 200"[: len(self._said)]):
                raise Refused(f"in a tunnel: {self._said[:200]!r}")
            if is_whole(self._said):
                self._said = b""
                return time.perf_counter() - self._sent


def keep_asking(one: Running, inside: Inside, *, connections: int, seconds: float) -> Driven:
    """Ask in tunnels that stay open, in each as fast as answers come. Raises `Refused`."""
    context, request = _trusting(), inside.request()
    latencies: list[float] = []
    with on_load_cpu(), ExitStack() as stack, selectors.EpollSelector() as waiting:
        streams = [stack.enter_context(open_tunnel(one, inside, context)) for _ in range(connections)]
        tunnels = [_Tunnel(stream, request) for stream in streams]
        for tunnel in tunnels:
            waiting.register(tunnel.stream, selectors.EVENT_READ, tunnel)
        began = now = time.perf_counter()
        for tunnel in tunnels:
            tunnel.ask()
        while now - began < seconds:
            ready = waiting.select(PATIENCE)
            if not ready:
                raise Refused(f"no answer in a tunnel for {PATIENCE:.0f} s")
            for key, _ in ready:
                took = key.data.hear()
                if took is not None:
                    latencies.append(took)
                    key.data.ask()
            now = time.perf_counter()
    return _driven(latencies, now - began)


def keep_shaking_hands(one: Running, inside: Inside, *, seconds: float) -> Driven:
    """Open tunnel after tunnel, each with a whole handshake, and close it. Raises `Refused`."""
    context = _trusting()
    latencies: list[float] = []
    with on_load_cpu():
        began = now = time.perf_counter()
        while now - began < seconds:
            open_tunnel(one, inside, context).close()
            then, now = now, time.perf_counter()
            latencies.append(now - then)
    return _driven(latencies, now - began)


def _driven(latencies: list[float], seconds: float) -> Driven:
    return Driven(
        requests=len(latencies),
        seconds=seconds,
        p50_ms=percentile(latencies, 0.5) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
    )


def _answer(stream: ssl.SSLSocket) -> bytes:
    said = b""
    while not is_whole(said):
        more = stream.recv(RECEIVE)
        if not more:
            raise Refused(f"the tunnel ended after {said[:200]!r}")
        said += more
    return said
