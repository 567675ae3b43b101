"""A form whose session has ended is kept: whoever sent it signs in, and everything typed is on the page again.

That it came from a page of ours is said by the page's keepsake, which no other site can know, and nothing is done with
it but showing it again: the button that was pressed is pressed once more, by somebody who is signed in. Secrets that
were just typed don't go along; those that the page had sealed already do.

Such a form is large, and anybody may send one: few are read at a time, and only one with the keepsake is looked into.
"""

import re
from collections.abc import Mapping

from aiohttp import web

from gateway.errors import ClientError, Refusal
from gateway.web.forms import TOKEN_NAME, foreign, is_own, read_raw, values_of
from gateway.web.render import SESSIONS
from gateway.web.session import Session, Sessions
from gateway.web.setup.allowed import LIMIT
from gateway.web.setup.sheet import TYPED
from gateway.web.signin import admit, ask
from gateway.web.wire import Room

KEEPSAKE = "kept"
AT_ONCE = 4
"""Forms without an administrator's session that are read at a time."""
_TOKEN = "token"  # noqa: S105 - the sign-in form's input

_KEPT = re.compile(rb"(?:\A|&)kept=([0-9a-f]{64})(?:&|\Z)")

PLACES = web.AppKey("places_of_kept_forms", Room)
Form = tuple[Session, Mapping[str, str], str]
"""Who sent it, what was in it, and which button was pressed."""


async def read_kept_form(request: web.Request) -> Form | web.StreamResponse:
    """Return the form, or the sign-in page that keeps it. Raises `ClientError` for what isn't from a page of ours."""
    sessions = request.app[SESSIONS]
    session = sessions.read(request)
    if not is_own(request):
        raise foreign()
    if session is not None and session.admin:
        raw = await read_raw(request, limit=LIMIT)
    else:
        raw = await _read_without_session(request, sessions)
    values = values_of(raw)
    token, is_kept = values.pop(TOKEN_NAME, ""), sessions.is_keepsake(request.path, values.get(KEEPSAKE, ""))
    if session is None or not sessions.is_form_token(session, token):
        if not is_kept:
            raise foreign()
        if session is None or not session.admin:
            return _ask(request, session or sessions.begin(admin=False), values)
        return session, values, "again"
    if session.admin:
        return session, values, values.pop("action", "check")
    if not is_kept or _TOKEN not in values:
        raise ClientError(Refusal(code="unauthorized", detail="This needs a sign-in."))
    admitted = await admit(request, values)
    if isinstance(admitted, Refusal):
        return _ask(request, session, values, admitted)
    return admitted, {name: value for name, value in values.items() if name != _TOKEN}, "again"


async def _read_without_session(request: web.Request, sessions: Sessions) -> bytes:
    places = request.app[PLACES]
    if places.left <= 0:
        detail = "Too many forms whose session has ended are being sent just now."
        hint = "Go back: what you typed is still there. Sign in in another tab, and send it again."
        raise ClientError(Refusal(code="overloaded", detail=detail, hint=hint, retry_after=5))
    places.left -= 1
    try:
        raw = await read_raw(request, limit=LIMIT)
    finally:
        places.left += 1
    keepsake = _KEPT.search(raw)
    if keepsake is None or not sessions.is_keepsake(request.path, keepsake[1].decode()):
        raise foreign()
    return raw


def _ask(
    request: web.Request, session: Session, values: Mapping[str, str], refusal: Refusal | None = None
) -> web.Response:
    typed = {name: value for name, value in values.items() if name not in (_TOKEN, "action")}
    typed = {name: value for name, value in typed.items() if not name.startswith(TYPED)}
    return ask(request, session, going_to=request.path, refusal=refusal, back_to=request.path, typed=typed)
