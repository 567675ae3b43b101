"""A service for what nginx can't do: read whole bodies, issue tokens, and revoke them. Runs by itself.

    POST /sink…       reads the body and says how long it was; with `X-Expect: TEXT`, 400 unless the body has TEXT
    POST /token       a new access token, after a pause; the call is counted
    GET  /guarded     200 with the newest token that counts, else 401
    POST /revoke      no token issued so far counts any more
    GET  /issued      how many token calls there were
    anything else     404

`python service.py PORT TOKEN PAUSE`. Every path but /token and /revoke wants an Authorization: TOKEN for /sink.
"""

import asyncio
import json
import sys
from typing import Any, cast

import httptools
import uvloop


class Desk:
    """The token endpoint's memory."""

    def __init__(self, token: str, pause: float) -> None:
        self.sink = b"Bearer " + token.encode()
        self.pause = pause
        self.issued = 0
        self.valid_from = 0

    def issue(self) -> bytes:
        self.issued += 1
        return json.dumps(
            {"access_token": f"at_{self.issued:09d}", "token_type": "Bearer", "expires_in": 3600}
        ).encode()

    def accepts(self, authorization: bytes) -> bool:
        return authorization == b"Bearer at_%09d" % self.issued and self.issued > self.valid_from

    def count(self) -> bytes:
        return b'{"issued":%d}' % self.issued

    def revoke(self) -> bytes:
        self.valid_from = self.issued
        return self.count()


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser: Any = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._url, self._authorization, self._expected, self._length, self._has = b"", b"", b"", 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"authorization":
                self._authorization = value
            case b"x-expect":
                self._expected = value
            case b"expect":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._length += len(body)
        if self._expected and self._expected in body:  # such bodies are short: they come in one piece or two
            self._has = True

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path.startswith(b"/sink"):
            self._sunk()
        elif path == b"/token":
            asyncio.get_running_loop().call_later(self._desk.pause, self._answer, 200, self._desk.issue())
        elif path == b"/guarded":
            is_known = self._desk.accepts(self._authorization)
            self._answer(200 if is_known else 401, b'{"id":42,"name":"Ann Example"}')
        elif path == b"/revoke":
            self._answer(200, self._desk.revoke())
        elif path == b"/issued":
            self._answer(200, self._desk.count())
        else:
            self._answer(404, b"{}")

    def _sunk(self) -> None:
        if self._authorization != self._desk.sink:
            self._answer(401, json.dumps({"saw": self._authorization.decode("latin-1")}).encode())
        elif self._expected and not self._has:
            self._answer(400, b'{"error":"the body was not injected"}')
        else:
            self._answer(200, json.dumps({"length": self._length, "saw": self._authorization.decode()}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


async def main(port: int, token: str, pause: float) -> None:
    """Serve until killed."""
    desk = Desk(token, pause)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(desk), "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
