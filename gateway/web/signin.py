"""Signing in with the admin token, and out again."""

import re
from collections.abc import Mapping

from aiohttp import web

from gateway.admin.dispatch import SERVICES, refusal_of
from gateway.errors import Refusal
from gateway.web.admin import ACTOR
from gateway.web.ended import ENDED
from gateway.web.forms import read_form
from gateway.web.render import SESSIONS, page, see_other
from gateway.web.session import Session
from gateway.web.text import plain

# A path of ours, and nothing that a browser could read as another host: no `//`, `/\`, percent sign or control byte.
_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*)?", re.ASCII)


def own_path(text: str) -> str:
    """Return the path if it is one of ours, else the start page."""
    return text if _OWN_PATH.fullmatch(text) else "/"


async def show(request: web.Request) -> web.StreamResponse:
    """Show the sign-in form, or go on where somebody is signed in."""
    going_to = own_path(request.query.get("next", "/"))
    sessions = request.app[SESSIONS]
    session = sessions.read(request)
    if session is not None and session.admin:
        return see_other(going_to)
    return ask(request, session or sessions.begin(admin=False), going_to=going_to)


async def sign_in(request: web.Request) -> web.StreamResponse:
    """Compare the token and begin a new session."""
    sessions = request.app[SESSIONS]
    session, values = await read_form(request, sessions)
    going_to = own_path(values.get("next", "/"))
    admitted = await admit(request, values)
    if isinstance(admitted, Refusal):
        return ask(request, session, going_to=going_to, refusal=admitted)
    response = see_other(going_to)
    sessions.write(response, admitted)
    return response


async def admit(request: web.Request, values: Mapping[str, str]) -> Session | Refusal:
    """Compare the token of a sign-in form; return a new session, or why there is none."""
    if refusal := refusal_of(request, values.get("token", "").strip()):
        return refusal
    await request.app[SERVICES].audit.record("admin.signed_in", actor=ACTOR, remote=request.remote)
    return request.app[SESSIONS].begin(admin=True)


def ask(
    request: web.Request,
    session: Session,
    *,
    going_to: str,
    refusal: Refusal | None = None,
    back_to: str = "",
    typed: Mapping[str, str] | None = None,
) -> web.Response:
    """Show the sign-in form, and why it is there again. `typed` goes along, and on to `back_to`."""
    error = ""
    if refusal is not None:
        error = refusal.detail if refusal.retry_after else plain("sign_in.wrong")
    response = page(
        request,
        "sign_in.html",
        status=refusal.status if refusal else 401 if back_to else 200,
        session=session,
        going_to=going_to,
        error=error,
        back_to=back_to,
        typed=typed or {},
    )
    if refusal is not None and refusal.retry_after:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


async def sign_out(request: web.Request) -> web.StreamResponse:
    """End the session."""
    sessions = request.app[SESSIONS]
    session, _ = await read_form(request, sessions)
    if session.admin:
        await request.app[ENDED].add(session)
    response = see_other("/sign-in")
    sessions.end(response, session)
    return response
