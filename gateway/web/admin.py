"""The pages that an administrator alone sees: who isn't signed in is sent to sign in, and comes back."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from urllib.parse import quote

from aiohttp import web

from gateway.errors import ClientError, Refusal
from gateway.web.forms import LIMIT, read_form
from gateway.web.render import SESSIONS, see_other
from gateway.web.session import Session

ACTOR = "admin-page"
"""Who did it, in the audit trail."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def for_admins(handler: Handler) -> Handler:
    """Let a page be seen by an administrator's session; send everybody else to sign in first."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        session = request.app[SESSIONS].read(request)
        if session is None or not session.admin:
            # The path is a stranger's: what isn't encoded could end the header.
            return see_other("/sign-in" if request.path == "/" else f"/sign-in?next={quote(request.path)}")
        return await handler(request)

    return guarded


async def read_admin_form(request: web.Request, *, limit: int = LIMIT) -> tuple[Session, Mapping[str, str]]:
    """Return the session and the form's values, as `read_form`; raises `ClientError` for a visitor's too."""
    session, values = await read_form(request, request.app[SESSIONS], limit=limit)
    if not session.admin:
        raise ClientError(Refusal(code="unauthorized", detail="This needs a sign-in."))
    return session, values
