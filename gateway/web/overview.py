"""Connecting from a page of an administrator's: a link is made and opened."""

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.links import LIFETIME, make_link
from gateway.errors import ClientError, Refusal
from gateway.web.admin import ACTOR, read_admin_form
from gateway.web.render import see_other


async def connect(request: web.Request) -> web.StreamResponse:
    """Make a link for an app, or for one of its connections to be authorised again, and open it."""
    _, values = await read_admin_form(request)
    services, app = request.app[SERVICES], values.get("app", "")
    if services.catalog.get(app) is None:
        raise ClientError(Refusal(code="not_found", detail="There is no such app."))
    connection = values.get("connection") or None
    token, _ = await make_link(services, app=app, connection=connection, fields={}, lifetime=LIFETIME, actor=ACTOR)
    return see_other(f"/connect/{token}")
