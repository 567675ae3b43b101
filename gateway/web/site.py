"""The web application: every route, and the headers of every answer."""

from pathlib import Path

from aiohttp import web

from gateway.admin.answers import REQUEST_ID, answer_faults
from gateway.admin.api import admin_api
from gateway.admin.dispatch import ATTEMPTS, ORIGIN, SERVICES, TOKEN
from gateway.admin.links import CALLBACK
from gateway.admin.openapi import PREFIX
from gateway.admin.services import Services
from gateway.attempts import Attempts
from gateway.secret import Secret
from gateway.web import callback, connect, health, overview, signin
from gateway.web.render import PAGES, SESSIONS, Pages, render_refusal
from gateway.web.session import Sessions

LARGEST_BODY = 1_048_576
"""Bytes: a policy with room to spare."""
STATIC = Path(__file__).parent / "static"

# Nothing but our own sheet and icon is loaded, nothing runs, nobody frames us (CSP level 3).
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "gateway",
}
HTTPS_ONLY = "max-age=31536000"


def site(services: Services, token: Secret, origin: list[str]) -> web.Application:
    """Return the application. `origin` is a list of one, the listener's own URL, which may be filled in later."""
    secure = services.settings.web.public_url.startswith("https://")
    app = web.Application(middlewares=[answer_faults(render_refusal)], client_max_size=LARGEST_BODY)
    app[SERVICES], app[TOKEN], app[ORIGIN] = services, token, origin
    app[SESSIONS] = Sessions(token, clock=services.clock, secure=secure)
    app[PAGES] = Pages()
    app[ATTEMPTS] = Attempts(services.clock)
    app.on_response_prepare.append(_https_headers if secure else _headers)
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get("/", overview.show)
    app.router.add_get("/sign-in", signin.show)
    app.router.add_post("/sign-in", signin.sign_in)
    app.router.add_post("/sign-out", signin.sign_out)
    app.router.add_post("/connect", overview.connect)
    app.router.add_get("/connect/{token}", connect.show)
    app.router.add_post("/connect/{token}", connect.connect)
    app.router.add_get(f"{CALLBACK}/{{app}}", callback.arrive, allow_head=False)
    app.router.add_post(f"{CALLBACK}/{{app}}", callback.arrive_with_fragment)
    app.router.add_get(f"{callback.REFUSED}/{{why}}", callback.show_refused)
    app.router.add_static("/static", STATIC)
    app.add_subapp(PREFIX, admin_api())
    return app


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer what keeps it out of frames, caches, referrers and other sites' reach."""
    own = response.headers.get("Content-Security-Policy")  # a page that needs another one says so
    response.headers.update(HEADERS if own is None else HEADERS | {"Content-Security-Policy": own})
    response.headers["Cache-Control"] = "no-cache" if request.path.startswith("/static/") else "no-store"
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]


async def _https_headers(request: web.Request, response: web.StreamResponse) -> None:
    await _headers(request, response)
    response.headers["Strict-Transport-Security"] = HTTPS_ONLY
