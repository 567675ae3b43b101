"""Pages from templates. Whatever isn't a template's own is escaped; an unknown name is a fault, not an empty place."""

from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.admin.answers import REQUEST_ID, problem_response
from gateway.admin.dispatch import SERVICES
from gateway.errors import PROBLEMS, Refusal
from gateway.web.forms import TOKEN_NAME
from gateway.web.headers import POLICY
from gateway.web.session import Session, Sessions
from gateway.web.static import SHEET
from gateway.web.text import has, plain, t
from gateway.web.times import machine, moment, near, span

HERE = Path(__file__).parent
SESSIONS: web.AppKey[Sessions] = web.AppKey("sessions")
SECTIONS = (
    ("/", "dashboard"),
    ("/apps", "apps"),
    ("/connections", "connections"),
    ("/clients", "clients"),
    ("/activity", "activity"),
)
"""The pages that every page of an administrator leads to: each path, and its name among the words."""
SCRIPT_POLICY = POLICY.replace("default-src 'none';", "default-src 'none'; script-src 'self'; connect-src 'self';")
"""For a page with a script of ours: it may ask this listener, and nobody else."""
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,  # a running server's don't change
)
"""Compiled when first used: the set-up page takes a fifth of a second, once for a process."""
TEMPLATES.globals.update(
    t=t, plain=plain, moment=moment, machine=machine, near=near, span=span, sections=SECTIONS, style_sheet=SHEET
)
_MACHINES = ("/api/", "/healthz", "/readyz", "/metrics", "/ca.pem")


def page(
    request: web.Request,
    template: str,
    /,
    *,
    status: int = 200,
    session: Session | None = None,
    script: str = "",
    **values: Any,
) -> web.Response:
    """Return a page, and the cookie of the session whose forms are on it. `script` is a file of `static/`.

    `?done=…` in the page's address says at its top what was done, where that is one of the texts under `done`.
    """
    sessions = request.app[SESSIONS]
    session = session or sessions.read(request)
    done = f"done.{request.query.get('done', '')}"
    known = {
        "form_name": TOKEN_NAME,
        "form_token": sessions.form_token(session) if session else "",
        "signed_in": session is not None and session.admin,
        "section": _section(request.path),
        "now": request.app[SERVICES].clock(),
        "done": t(done) if has(done) else "",
        "script": script,
    }
    text = TEMPLATES.get_template(template).render(known | values)
    response = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
    if script:
        response.headers["Content-Security-Policy"] = SCRIPT_POLICY
    if session is not None and session != sessions.read(request):
        sessions.write(response, session)
    return response


def _section(path: str) -> str:
    """Return which of `SECTIONS` a page belongs to."""
    return f"/{path[1:].partition('/')[0]}"


def see_other(path: str) -> web.Response:
    """Send the browser to a page of ours (RFC 9110 §15.4.4)."""
    return web.Response(status=303, headers={"Location": path})


async def render_refusal(request: web.Request, refusal: Refusal) -> web.StreamResponse:
    """Answer a refusal in the form of the place: a problem for programs, a page for people."""
    if request.path.startswith(_MACHINES):
        return await problem_response(request, refusal)
    title = PROBLEMS[refusal.code].title
    return page(
        request,
        "problem.html",
        status=refusal.status,
        title=title,
        refusal=refusal,
        request_id=request[REQUEST_ID],
        done="",  # whatever was done before this page was asked for
    )
