"""Sessions of the administrator that were signed out: no server of the store takes their cookies, nor after a restart.

A cookie is good by its MAC alone, so a copy of it would outlive the sign-out. The store has a mark for each, by a hash
of the session's id, until the cookie is over anyway. Only what carries a right MAC is looked up: a stranger costs no
read.
"""

import hashlib
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.store.meta import Meta
from gateway.web.render import SESSIONS
from gateway.web.session import Session

PREFIX = "ended_session/"
"""Before a mark's end, epoch seconds in twelve digits, and the hash: names sort by when they may go."""
_ELSEWHERE = ("/api/", "/static/", "/healthz", "/readyz", "/metrics")  # no session counts there


class Ended:
    """The marks. `clock` gives epoch seconds."""

    def __init__(self, meta: Meta, clock: Callable[[], float]) -> None:
        self._meta = meta
        self._clock = clock

    async def add(self, session: Session) -> None:
        """Mark a session; marks that nobody needs any more go. Raises `StoreError`."""
        await self._meta.put(_name(session), b"ended")
        await self._meta.prune(PREFIX, f"{PREFIX}{int(self._clock()):012d}")

    async def has(self, session: Session) -> bool:
        """Whether a session was signed out, at whichever server. Raises `StoreError`."""
        return await self._meta.get(_name(session)) is not None


ENDED = web.AppKey("ended", Ended)


@web.middleware
async def heed_ended(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take no cookie of a session that was ended elsewhere."""
    if not request.path.startswith(_ELSEWHERE):
        sessions = request.config_dict[SESSIONS]
        session = sessions.read(request)
        if session is not None and session.admin and await request.config_dict[ENDED].has(session):
            sessions.forget(session)
    return await handler(request)


def _name(session: Session) -> str:
    return f"{PREFIX}{session.expires_at:012d}/{hashlib.sha256(session.id.encode()).hexdigest()}"
