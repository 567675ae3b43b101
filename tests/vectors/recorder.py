"""A service that keeps every byte, reads it by the letter, and answers what it has read with its target."""

import asyncio
from collections.abc import Callable

from tests.vectors.strict import Message, Unclear, read_request


class Connection(asyncio.Protocol):
    """One connection from the gateway."""

    def __init__(self, service: "Recorder") -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self.data = b""
        self.read = 0  # bytes that whole requests take
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._service.connections.append(self)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._service.heard.set()
        try:
            while request := read_request(self.data, self.read):
                self.read = request.end
                self._service.requests.append(request)
                self._answer(request)
        except Unclear as fault:
            self._service.unclear.append(str(fault))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def _answer(self, request: Message) -> None:
        answer = self._service.answer(request, self)
        if answer:
            self.send(answer)


class Recorder:
    """The service. `answer` may be replaced; what it returns is sent."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.requests: list[Message] = []
        self.unclear: list[str] = []
        self.heard = asyncio.Event()
        self.answer: Callable[[Message, Connection], bytes | None] = echo
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.close()
        await asyncio.gather(*(connection.closed.wait() for connection in self.connections))


def echo(request: Message, _connection: Connection | None = None) -> bytes:
    """An answer that says which request it is for."""
    content = b"" if request.start[0] == "HEAD" else request.start[1].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.start[1]), content)
