"""The service behind every contender: answers 152 bytes to a request with the injected token, and 401 to any other.

Runs by itself: `python upstream.py PORT TOKEN`.
"""

import asyncio
import sys
from typing import cast

import uvloop

BODY = (b'{"id": 42, "name": "Ann Example", "email": "ann@example.test", "roles": ["reader", "writer"]}').ljust(152)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


class Service(asyncio.Protocol):
    """One connection; requests have no body."""

    def __init__(self, token: bytes) -> None:
        self._wanted = b"bearer " + token.lower()
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        *heads, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for head in heads:
            self._transport.write(ANSWER if self._is_right(head) else REFUSAL)

    def _is_right(self, head: bytes) -> bool:
        fields = [line.lower().partition(b":") for line in head.split(b"\r\n")[1:]]
        given = [value.strip() for name, _, value in fields if name == b"authorization"]
        return given == [self._wanted] and not any(name.startswith(b"proxy-") for name, _, _ in fields)


async def main(port: int, token: str) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Service(token.encode()), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
