"""The live tail over the wire: server-sent events (WHATWG HTML §9.2), each a second's entries.

An event's `id` is a place in both logs: whoever comes back with it in `Last-Event-ID` misses nothing and gets nothing
twice. It lasts no longer than the session, and a comment now and then shows both ends that the other is there.
"""

import asyncio
from contextlib import suppress
from typing import cast

import orjson
from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.errors import ClientError, Refusal, StoreError
from gateway.web.admin import for_admins
from gateway.web.ended import ENDED
from gateway.web.entries import parts
from gateway.web.logs import Place, Wanted
from gateway.web.render import SESSIONS
from gateway.web.session import Session
from gateway.web.tail import TAIL, Batch, Listener
from gateway.web.text import plain
from gateway.web.wire import BOUNDS

KIND = "text/event-stream"
SIGNED_OUT, AGAIN = "signed-out", "again"
"""What an `end` event says that a stream ends with: whether it may be opened again."""


@for_admins
async def stream(request: web.Request) -> web.StreamResponse:
    """Send what happens from now on, or from behind the place that the caller names, until either leaves."""
    if KIND not in request.headers.get("Accept", ""):
        detail = f"This address is a stream, and is read with Accept: {KIND}."
        hint = "The page at /activity reads it."
        raise ClientError(Refusal(code="request_rejected", status=406, detail=detail, hint=hint))
    session = cast(Session, request.app[SESSIONS].read(request))  # for it is an administrator's
    after = Place.parse(request.headers.get("Last-Event-ID", "") or request.query.get("after", ""))
    response = web.StreamResponse()
    response.content_type, response.charset = KIND, "utf-8"
    response.headers["X-Accel-Buffering"] = "no"  # what nginx must be told, or it keeps events back
    wanted = Wanted.of(request.query)
    async with request.app[TAIL].listening(wanted, session=session.id, after=after) as listener:
        await response.prepare(request)
        with suppress(ConnectionError):  # it left: there is nobody to tell
            await _Sender(request, response, session, listener).run()
    return response


class _Sender:
    """One stream, from its first byte to its last."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, session: Session, listener: Listener
    ) -> None:
        self._request = request
        self._response = response
        self._session = session
        self._listener = listener
        self._bounds = request.app[BOUNDS]
        self._time = asyncio.get_running_loop().time
        self._checked = self._time()
        self._said = float("-inf")  # never: it begins with a word, so that its reader sees that it stands

    async def run(self) -> None:
        """Send until it ends."""
        while True:
            await self._listener.turn()
            if self._request.transport is None or self._request.transport.is_closing():
                return
            if why := await self._over():
                await self._send(f"event: end\ndata: {why}\n\n".encode())
                return
            batch = self._listener.take()
            if batch.entries or batch.left_out or batch.skipped:
                await self._send(self._event(batch))
            elif self._time() - self._said >= self._bounds.heartbeat:
                await self._send(f": here\nid: {batch.place}\n\n".encode())

    async def _over(self) -> str | None:
        """Return why it is over. That a session is one still is asked of this process each time, else now and then."""
        if self._listener.ended:
            return AGAIN
        if self._request.app[SESSIONS].read(self._request) is None:
            return SIGNED_OUT
        if self._time() - self._checked < self._bounds.session_check:
            return None
        self._checked = self._time()
        try:
            return SIGNED_OUT if await self._request.app[ENDED].has(self._session) else None
        except StoreError:  # a session that can't be asked about isn't believed
            return AGAIN

    def _event(self, batch: Batch) -> bytes:
        now = self._request.app[SERVICES].clock()
        told = {"entries": [parts(entry, now) for entry in batch.entries], "left_out": left_out_words(batch)}
        return b"id: %s\ndata: %s\n\n" % (str(batch.place).encode(), orjson.dumps(told))

    async def _send(self, content: bytes) -> None:
        transport = self._request.transport
        self._listener.sending(transport.abort if transport is not None else None)
        await self._response.write(content)
        self._listener.sending(None)
        self._said = self._time()


def left_out_words(batch: Batch) -> str:
    """Return the sentence on what isn't shown, empty where all is."""
    if batch.skipped:
        return plain("activity.skipped", n=batch.skipped + batch.left_out)
    return plain("activity.left_out", n=batch.left_out) if batch.left_out else ""
