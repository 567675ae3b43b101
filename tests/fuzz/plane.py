"""The data plane without a socket: the gateway's own connections on both sides, on wires that remember what is written.

No event loop runs. What would wait for one has its stand-in here: a new upstream connection is there at once, and
nothing speaks TLS. So one run takes a fraction of a millisecond, and the same bytes always give the same bytes.

The compiled data plane takes no stand-ins: it is held to the same on sockets.
"""

import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.attempts import Attempts
from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.proxy import exchange
from gateway.proxy.caller import CallerConnection
from gateway.proxy.outbox import Outbox
from gateway.proxy.services import Services
from gateway.proxy.tally import Tally
from gateway.proxy.upstream import PoolKey, UpstreamConnection
from gateway.secret import Secret
from gateway.settings import Settings
from gateway.store import Status
from gateway.vault.live import Live
from tests.fuzz import strict
from tests.proxy.harness import OK, FakeAccess, FakeVault, make_live

COMPILED = not exchange.__file__.endswith(".py")
SECRET = "tok_abcdefgh"
VIA = b"1.1 gateway-test"
_FIELD = '[[fields]]\nname = "api_key"\nsecret = true\n[auth]\ngrant = "api_key"\n'
_ALLOW = '[allow]\nurls = ["https://ok.test/v1", "http://ok.test:8080"]\ndeny = ["https://ok.test/v1/admin"]\n'
_QUERY = '[inject.query]\nkey = "{{ api_key }}"\n'
_HEADERS = '[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\nX-Key_Id = "us"\n'
LIVES: dict[str, Live] = {
    "crm-ann": make_live(
        f'name = "A"\nbase_url = "https://ok.test/v1"\n{_ALLOW}{_FIELD}{_HEADERS}{_QUERY}',
        secret=SECRET,
    ),
    "crm-bea": make_live(
        f'name = "B"\n{_ALLOW}cookies = true\nscrub_body = true\n{_FIELD}{_HEADERS}[inject.body]\nversion = "v2"\n',
        secret=SECRET,
        connection_id="crm-bea",
    ),
}
_GONE = replace(
    LIVES["crm-ann"],
    status=Status.DISCONNECTED,
    refusal=Refusal(code="connection_not_permitted", detail="It is gone."),
    injection=None,
)
_SETTINGS = Settings(data_dir=Path("/nonexistent"), limits={"header_bytes": 2048, "header_count": 20})
_METRICS = Metrics()


class _Vault(FakeVault):
    """What isn't there is found to be gone at once, with no store to ask."""

    def peek(self, connection_id: str) -> Live:
        return LIVES.get(connection_id, _GONE)


class Wire:
    """One end of a connection. What is fed waits while reading is paused, as in a socket's buffer."""

    def __init__(self, protocol: Any, ended: Callable[["Wire"], None]) -> None:
        self.written = b""
        self.closed = self.aborted = self.paused = self.eof = False
        self._protocol, self._ended = protocol, ended
        self._waiting: deque[bytes] = deque()
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bring a piece."""
        self._waiting.append(data)

    def deliver(self) -> bool:
        """Let the protocol read one piece, if there is one and it reads."""
        if self.closed or self.paused or not self._waiting:
            return False
        self._protocol.data_received(self._waiting.popleft())
        return True

    def end(self) -> None:
        """The other end has said all that it says."""
        if not self.closed and not self._protocol.eof_received():
            self.close()

    # What a transport is asked.

    def write(self, data: bytes) -> None:
        assert not self.eof, "written behind the end"
        self.written += b"" if self.closed else data

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._ended(self)

    def abort(self) -> None:
        self.aborted = self.aborted or not self.closed
        self.close()

    def lost(self) -> None:
        self._protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None


class Plane:
    """One caller's connection, and a service that answers each whole request with `answer`."""

    def __init__(self, answer: Callable[["Asked"], None] | None = None) -> None:
        self.draining = False
        self.asked: list[Asked] = []
        self.entries: list[Any] = []
        self.tally = Tally()
        self._soon: deque[Callable[[], None]] = deque()
        self.outbox = Outbox(self._soon.append)
        self._answer = answer or (lambda asked: asked.wire.feed(OK))
        ids = itertools.count()
        vault: Any = _Vault()
        nothing: Any = self
        self.services = Services(
            vault=vault,
            access=FakeAccess(),  # type: ignore[arg-type]
            pool=nothing,
            certs=nothing,
            metrics=_METRICS,
            log=nothing,
            settings=_SETTINGS,
            via=b"Via: %b\r\n" % VIA,
            via_name=b"gateway-test",
            clock=lambda: 1000.0,
            time=lambda: 1000.0,
            request_id=lambda: f"r{next(ids)}",
            background=_never,
            guesses=Attempts(lambda: 1000.0),
            strangers=Attempts(lambda: 1000.0),
            tracer=None,
            limiter=nothing,
            chance=lambda: 0.0,
            entropy=bytes,
        )
        self.wire = Wire(self.caller(), self._lost)

    def run(self, pieces: list[bytes]) -> None:
        """Let the caller send these pieces, one read each."""
        for piece in pieces:
            self.wire.feed(piece)
            self._turn()

    def _turn(self) -> None:
        moved = True
        while moved:
            moved = self.wire.deliver()
            while self._soon:
                self._soon.popleft()()
                moved = True
            for asked in list(self.asked):
                if not asked.answered and not asked.wire.closed and asked.is_whole():
                    asked.answered = True
                    self._answer(asked)
                moved = asked.wire.deliver() or moved

    def _lost(self, wire: Wire) -> None:
        self._soon.append(wire.lost)

    # A pool: each exchange has a connection of its own.

    def take(self, key: PoolKey, _certificate: Secret | None = None) -> UpstreamConnection:
        connection = UpstreamConnection(key, self, self.outbox, max_head=2048)
        self.asked.append(Asked(key, Wire(connection, self._lost)))
        return connection

    def put(self, connection: UpstreamConnection) -> None:
        """Keep none."""

    def gone(self, connection: UpstreamConnection) -> None:
        """Have none to forget."""

    # A listener.

    def caller(self, tunnel: Any = None, *, secure: bool = False) -> CallerConnection:
        return CallerConnection(self, tunnel=tunnel, secure=secure)  # type: ignore[arg-type]

    def joined(self, _one: object) -> bool:
        return True

    def left(self, _one: object) -> None:
        """Count nobody."""

    def may_open_tunnel(self) -> bool:
        return True

    def tunnel_opened(self) -> None:
        """Count none."""

    def tunnel_closed(self) -> None:
        """Count none."""

    def refused(self, refusal: Refusal, request_id: str, entrance: str, admission: object) -> None:
        """Count none."""

    def spawn(self, step: Coroutine[Any, Any, None]) -> None:
        step.close()

    # Certificates, and a log.

    def cached(self, _host: str) -> None:
        """No host has one: what speaks TLS waits for good."""

    def add(self, entry: Any) -> None:
        self.entries.append(entry)


class Asked:
    """What one exchange has sent upstream."""

    def __init__(self, key: PoolKey, wire: Wire) -> None:
        self.key, self.wire = key, wire
        self.answered = False
        self._read = 0  # bytes that were read and found to be less than a request

    def is_whole(self) -> bool:
        """Whether all of a request is there. Raises `Malformed` where it can't become one."""
        if len(self.wire.written) == self._read:
            return False
        try:
            strict.request(self.wire.written)
        except strict.Incomplete:
            self._read = len(self.wire.written)
            return False
        return True


def _never(step: Coroutine[Any, Any, Any]) -> None:
    step.close()


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut into pieces of that many bytes; 0: leave it whole."""
    return [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
