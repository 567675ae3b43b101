"""The start page: the apps, the connections, and the way to connect another."""

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.links import BY_LOGIN, LIFETIME, make_link, redirect_url
from gateway.catalog import SUFFIX
from gateway.errors import ClientError, Refusal
from gateway.policy.model import Policy
from gateway.web.admin import ACTOR, for_admins, read_admin_form
from gateway.web.render import page, see_other

SHOWN = 50


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the apps and the first connections."""
    services = request.app[SERVICES]
    policies = services.catalog.policies
    connections = await services.store.connections.list(limit=SHOWN)
    return page(
        request,
        "overview.html",
        apps=sorted((_shown(app, policy, request.app[ORIGIN][0]) for app, policy in policies.items()), key=_by_name),
        findings=services.catalog.findings,
        suffix=SUFFIX,
        connections=connections.items,
        more=connections.next is not None,
        total=await services.store.connections.count(),
    )


async def connect(request: web.Request) -> web.StreamResponse:
    """Make a link for an app and open it."""
    _, values = await read_admin_form(request)
    services, app = request.app[SERVICES], values.get("app", "")
    if services.catalog.get(app) is None:
        raise ClientError(Refusal(code="not_found", detail="There is no such app."))
    token, _ = await make_link(services, app=app, connection=None, fields={}, lifetime=LIFETIME, actor=ACTOR)
    return see_other(f"/connect/{token}")


def _shown(app: str, policy: Policy, origin: str) -> tuple[str, str, str, str]:
    """Return an app's id, name and grant, and the redirect URL to register at its provider, empty where none is."""
    grant = policy.auth.grant
    return app, policy.name, str(grant), redirect_url(origin, app) if grant in BY_LOGIN else ""


def _by_name(app: tuple[str, str, str, str]) -> tuple[str, str]:
    return app[1].casefold(), app[0]
