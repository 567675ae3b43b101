"""A service that records what reaches its socket, byte for byte, and answers by its path.

No HTTP library reads the requests here: what a test sees is what was sent. Paths below `/v1/` want a bearer token that
the provider holds to be in force, and answer 401 without one; paths below `/open/` ask for nothing.
"""

import asyncio
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from websockets.frames import Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.server import ServerProtocol

HEAD_LIMIT = 1 << 20
BLOCK = bytes(range(256)) * 1024  # 256 KiB, of which downloads are made
PATIENCE = 20.0


@dataclass(kw_only=True)
class Recorded:
    """One request as it came: `head` with its empty line, `raw` all of it, `body` without the framing."""

    tls: bool
    connection: int
    head: bytes
    raw: bytearray = field(default_factory=bytearray)
    body: bytes = b""
    complete: bool = False

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode()

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.target.partition("?")[2]).items()}

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields in order, names and values as they came."""
        lines = self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]

    def values(self, name: str) -> list[bytes]:
        """Return the values of every field of this name, whatever its case and whether `-` or `_` is in it."""
        wanted = name.lower().replace("_", "-").encode()
        return [value for given, value in self.fields if given.lower().replace(b"_", b"-") == wanted]


class _Connection:
    """One accepted connection: reads requests one after another and answers each."""

    def __init__(self, service: "Upstream", number: int, *, tls: bool, reader: Any, writer: Any) -> None:
        self.service, self.number, self.tls, self.reader, self.writer = service, number, tls, reader, writer

    async def run(self) -> None:
        while True:
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as end:
                self.service.note_bytes(end.partial)
                return
            request = Recorded(tls=self.tls, connection=self.number, head=head, raw=bytearray(head))
            self.service.record(request)
            if request.values("expect") == [b"100-continue"]:
                self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = await self._body(request)
            request.complete = True
            self.service.changed()
            if not await self._answer(request) or request.values("connection") == [b"close"]:
                return

    async def _body(self, request: Recorded) -> bytes:
        if request.values("transfer-encoding") == [b"chunked"]:
            return await self._chunks(request)
        (length,) = request.values("content-length") or [b"0"]
        body = await self.reader.readexactly(int(length))
        request.raw += body
        return body

    async def _chunks(self, request: Recorded) -> bytes:
        body = bytearray()
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line, 16)
            data = await self.reader.readexactly(size + 2)
            request.raw += line + data
            if not size:
                return bytes(body)
            body += data[:-2]

    async def _answer(self, request: Recorded) -> bool:
        if request.path.startswith("/v1/") and not self.service.accepts(request):
            await self.service.meet(request)
            await self._send(401, {"error": "invalid_token"}, b"WWW-Authenticate: Bearer")
            return True
        handler = getattr(self, "on_" + request.path.rsplit("/", 1)[-1].replace("-", "_"), self.on_json)
        return (await handler(request)) is not False

    async def _send(self, status: int, body: Any, *fields: bytes, length: bool = True) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [b"HTTP/1.1 %d Scripted" % status, b"Content-Type: application/json", *fields]
        if length:
            lines.append(b"Content-Length: %d" % len(content))
        self.writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + content)
        await self.writer.drain()

    async def on_json(self, request: Recorded) -> None:
        """Say what came."""
        await self._send(200, {"method": request.method, "target": request.target})

    async def on_upload(self, request: Recorded) -> None:
        """Say how long the body was and its SHA-256."""
        digest = hashlib.sha256(request.body).hexdigest()
        await self._send(200, {"length": len(request.body), "sha256": digest})

    async def on_head(self, _: Recorded) -> None:
        """Answer a HEAD: a length, and no body."""
        await self._send(200, b"", b"Content-Length: 12345", length=False)

    async def on_nothing(self, _: Recorded) -> None:
        """Answer 204."""
        await self._send(204, b"", length=False)

    async def on_redirect(self, request: Recorded) -> None:
        """Send the caller to `?to=`."""
        await self._send(302, b"", b"Location: " + request.query["to"].encode())

    async def on_leak(self, request: Recorded) -> None:
        """Give the credential back in a header, as careless services do."""
        (credential,) = request.values("authorization")
        token = credential.split(b" ")[-1]
        await self._send(200, {}, b"Location: /next?token=" + token, b"X-Debug: " + token, b"Set-Cookie: sid=" + token)

    async def on_chunked(self, _: Recorded) -> None:
        """Answer in chunks of odd sizes."""
        self.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n")
        for word in (b"one", b"twenty-two", b"three hundred and thirty-three"):
            self.writer.write(b"%x\r\n%b\r\n" % (len(word), word))
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def on_download(self, request: Recorded) -> None:
        """Stream `?bytes=` bytes."""
        left = int(request.query["bytes"])
        self.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % left
        )
        while left > 0:
            self.writer.write(BLOCK[:left])
            left -= len(BLOCK)
            await self.writer.drain()

    async def on_events(self, request: Recorded) -> bool:
        """Send one event, and the second when the test says `open_gate(?gate=)`."""
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n")
        self.writer.write(b"data: first\n\n")
        await self.writer.drain()
        await self.service.gate(request.query["gate"]).wait()
        self.writer.write(b"data: second\n\n")
        await self.writer.drain()
        return False

    async def on_gated(self, request: Recorded) -> None:
        """Answer when the test says `open_gate(?gate=)`, unless the other side leaves first."""
        gate = asyncio.ensure_future(self.service.gate(request.query["gate"]).wait())
        left = asyncio.ensure_future(self.reader.read(1))
        await asyncio.wait({gate, left}, return_when=asyncio.FIRST_COMPLETED)
        gate.cancel()
        if left.done():
            raise ConnectionAbortedError
        left.cancel()
        await self.on_json(request)

    async def on_ws(self, request: Recorded) -> bool:
        """Echo WebSocket messages until the other side closes."""
        protocol = ServerProtocol(max_size=None)
        protocol.receive_data(bytes(request.raw))
        (handshake,) = protocol.events_received()
        assert isinstance(handshake, HandshakeRequest)
        protocol.send_response(protocol.accept(handshake))
        while True:
            for data in protocol.data_to_send():
                if data:
                    self.writer.write(data)
            await self.writer.drain()
            if protocol.close_expected():
                return False
            data = await self.reader.read(65536)
            if not data:
                return False
            protocol.receive_data(data)
            for frame in protocol.events_received():
                if frame.opcode is Opcode.TEXT:
                    protocol.send_text(frame.data)
                elif frame.opcode is Opcode.BINARY:
                    protocol.send_binary(frame.data)


class Upstream:
    """The recording service on http and https, in a thread with a loop of its own.

    `requests` is what came since `clear()`; `stray` is whatever came that was no whole request.
    """

    def __init__(self, tls: ssl.SSLContext, in_force: Callable[[str], bool]) -> None:
        self._tls, self._in_force = tls, in_force
        self._condition = threading.Condition()
        self._gates: dict[str, asyncio.Event] = {}
        self._meeting: tuple[int, asyncio.Event] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._closed: set[int] = set()
        self.requests: list[Recorded] = []
        self.stray = bytearray()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self._servers = self._call(self._start())
        self.port, self.tls_port = (server.sockets[0].getsockname()[1] for server in self._servers)

    @property
    def http(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.tls_port}"

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _start(self) -> list[asyncio.Server]:
        options = {"host": "127.0.0.1", "port": 0, "limit": HEAD_LIMIT, "backlog": 1024}
        return [
            await asyncio.start_server(lambda r, w: self._accept(r, w, tls=False), **options),
            await asyncio.start_server(lambda r, w: self._accept(r, w, tls=True), ssl=self._tls, **options),
        ]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        number = self._connections
        writer.transport.set_write_buffer_limits(high=1 << 20)
        try:
            await _Connection(self, number, tls=tls, reader=reader, writer=writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError):
            pass  # the other side went away, which is its right
        except asyncio.CancelledError:
            pass  # the run is over
        finally:
            self._tasks.discard(task)
            writer.close()
            with self._condition:
                self._closed.add(number)
                self._condition.notify_all()

    def close(self) -> None:
        """Stop listening, drop what is open and end the thread."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0.05)  # lets the transports of closed TLS connections end before the loop does

    # What tests use.

    def clear(self) -> None:
        """Forget what came so far."""
        with self._condition:
            self.requests = []
            self.stray = bytearray()
            self._gates = {}

    def wait_for(self, count: int) -> list[Recorded]:
        """Return the requests once `count` of them are complete."""
        with self._condition:
            done = self._condition.wait_for(lambda: sum(r.complete for r in self.requests) >= count, PATIENCE)
            assert done, f"{len(self.requests)} requests came, {count} were expected"
            return list(self.requests)

    def only(self) -> Recorded:
        """Return the one request that came."""
        (request,) = self.wait_for(1)
        return request

    def saw_nothing(self) -> bool:
        """Say that not a byte of a request came since `clear()`."""
        with self._condition:
            return not self.requests and not self.stray

    def is_closed(self, connection: int) -> bool:
        """Say whether a connection has ended."""
        with self._condition:
            return connection in self._closed

    def wait_closed(self, connection: int) -> None:
        """Return once a connection has ended."""
        with self._condition:
            assert self._condition.wait_for(lambda: connection in self._closed, PATIENCE), "the connection stays open"

    def open_gate(self, name: str) -> None:
        """Let the answers that wait at this gate go on."""
        self._loop.call_soon_threadsafe(lambda: self.gate(name).set())

    def meet_at_401(self, count: int) -> None:
        """Keep 401s back until `count` requests have earned one: then all of them have met it."""
        self._meeting = (count, asyncio.Event())

    # What connections use, in the loop's thread.

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def meet(self, request: Recorded) -> None:
        """Wait at the meeting point, if there is one and this request belongs to it (its path says `/meet/`)."""
        if self._meeting is None or "/meet/" not in request.path:
            return
        left, everyone = self._meeting[0] - 1, self._meeting[1]
        self._meeting = (left, everyone)
        if left <= 0:
            everyone.set()
        await asyncio.wait_for(everyone.wait(), PATIENCE)

    def accepts(self, request: Recorded) -> bool:
        """Say whether the request carries exactly one credential and the provider holds it to be in force."""
        credentials = request.values("authorization")
        if len(credentials) != 1:
            return False
        scheme, _, token = credentials[0].decode().partition(" ")
        return scheme == "Bearer" and self._in_force(token)

    def record(self, request: Recorded) -> None:
        with self._condition:
            self.requests.append(request)

    def note_bytes(self, data: bytes) -> None:
        with self._condition:
            self.stray += data

    def changed(self) -> None:
        with self._condition:
            self._condition.notify_all()


def download_digest(length: int) -> str:
    """Return the SHA-256 of what `/download?bytes=length` sends."""
    digest = hashlib.sha256()
    for piece in _pieces(length):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(length: int) -> Iterator[bytes]:
    while length > 0:
        yield BLOCK[:length]
        length -= len(BLOCK)
