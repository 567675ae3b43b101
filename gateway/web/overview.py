"""The start page: the apps, the connections, and the way to connect another."""

from datetime import UTC, datetime

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.links import BY_LOGIN, LIFETIME, make_link, redirect_url
from gateway.catalog import SUFFIX
from gateway.errors import ClientError, Refusal
from gateway.policy.model import Policy
from gateway.web.forms import read_form
from gateway.web.render import SESSIONS, page, see_other

SHOWN = 50


async def show(request: web.Request) -> web.StreamResponse:
    """Show the apps and the first connections."""
    if not _is_admin(request):
        return see_other("/sign-in")
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
        moment=moment,
    )


async def connect(request: web.Request) -> web.StreamResponse:
    """Make a link for an app and open it."""
    session, values = await read_form(request, request.app[SESSIONS])
    if not session.admin:
        raise ClientError(Refusal(code="unauthorized", detail="This needs a sign-in."))
    services, app = request.app[SERVICES], values.get("app", "")
    if services.catalog.get(app) is None:
        raise ClientError(Refusal(code="not_found", detail="There is no such app."))
    token, _ = await make_link(services, app=app, connection=None, fields={}, lifetime=LIFETIME, actor="admin-page")
    return see_other(f"/connect/{token}")


def moment(epoch: float | None) -> str:
    """Return a time as people read it, in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC") if epoch is not None else "never"


def _is_admin(request: web.Request) -> bool:
    session = request.app[SESSIONS].read(request)
    return session is not None and session.admin


def _shown(app: str, policy: Policy, origin: str) -> tuple[str, str, str, str]:
    """Return an app's id, name and grant, and the redirect URL to register at its provider, empty where none is."""
    grant = policy.auth.grant
    return app, policy.name, str(grant), redirect_url(origin, app) if grant in BY_LOGIN else ""


def _by_name(app: tuple[str, str, str, str]) -> tuple[str, str]:
    return app[1].casefold(), app[0]
