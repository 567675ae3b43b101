"""The apps: how each stands, connecting one, a link to send, and taking one away."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.links import BY_LOGIN, LIFETIME, make_link, redirect_url
from gateway.admin.policies import app_ids, delete_policy, named_secrets
from gateway.errors import ClientError, GatewayError, Refusal
from gateway.policy.load import APP, Finding
from gateway.web.admin import ACTOR, for_admins, read_admin_form
from gateway.web.render import page, see_other
from gateway.web.setup.shipped import shipped
from gateway.web.text import plain
from gateway.web.times import near

CONFLICT, NOT_RIGHT = 409, 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One app as the list shows it. `name` is its id where the file has never been right; `can_be` whether it could."""

    app: str
    name: str
    grant: str
    connections: int
    in_force: bool
    redirect: str
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    can_be: bool


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show every app, those too whose file isn't right."""
    services = request.app[SERVICES]
    counts = await services.store.connections.count_by_app()
    stored = await services.store.secrets.times()
    shown = [_shown(request, app, counts.get(app, 0), stored) for app in app_ids(services)]
    return page(
        request,
        "apps.html",
        apps=sorted(shown, key=lambda one: (one.name.casefold(), one.app)),
        known=len(shipped()),
    )


async def connect(request: web.Request) -> web.StreamResponse:
    """Make a link for an app, or for one of its connections to be authorised again, and open it."""
    _, values = await read_admin_form(request)
    token = await _link(request, values.get("app", ""), values.get("connection") or None)
    return see_other(f"/connect/{token}")


async def send(request: web.Request) -> web.StreamResponse:
    """Make a link for an app and show it, this once, to be sent to whoever is to connect."""
    session, _ = await read_admin_form(request)
    services, app = request.app[SERVICES], request.match_info["app"]
    token = await _link(request, app)
    policy, now = services.catalog.get(app), services.clock()
    return page(
        request,
        "apps_link.html",
        session=session,
        app=app,
        name=policy.name if policy else app,
        link=f"{request.app[ORIGIN][0]}/connect/{token}",
        until=near(now + LIFETIME, now),
    )


@for_admins
async def ask_delete(request: web.Request) -> web.StreamResponse:
    """Ask for the app's id before it is deleted."""
    return await _delete_page(request, _existing(request))


async def delete(request: web.Request) -> web.StreamResponse:
    """Delete an app whose id was typed."""
    session, values = await read_admin_form(request)
    app = _existing(request)
    if values.get("id", "").strip() != app:
        return await _delete_page(
            request,
            app,
            session=session,
            status=NOT_RIGHT,
            typed=values.get("id", ""),
            error=plain("apps.deleting.wrong"),
        )
    try:
        await delete_policy(request.app[SERVICES], app, actor=ACTOR)
    except GatewayError as error:
        refusal = error.refusal
        return await _delete_page(request, app, session=session, status=refusal.status, problem=refusal)
    return see_other("/apps?done=app-deleted")


async def _link(request: web.Request, app: str, connection: str | None = None) -> str:
    services = request.app[SERVICES]
    if services.catalog.get(app) is None:
        raise ClientError(Refusal(code="not_found", detail="There is no such app."))
    token, _ = await make_link(services, app=app, connection=connection, fields={}, lifetime=LIFETIME, actor=ACTOR)
    return token


def _shown(request: web.Request, app: str, connections: int, stored: Mapping[tuple[str, str], float]) -> Shown:
    services = request.app[SERVICES]
    policy = services.catalog.get(app)
    needed = named_secrets(policy) if policy else frozenset[str]()
    return Shown(
        app=app,
        name=policy.name if policy else app,
        grant=str(policy.auth.grant) if policy else "",
        connections=connections,
        in_force=policy is not None,
        redirect=redirect_url(request.app[ORIGIN][0], app) if policy and policy.auth.grant in BY_LOGIN else "",
        missing=tuple(sorted(name for name in needed if (app, name) not in stored)),
        findings=tuple(one for one in services.catalog.findings if Path(one.file).stem == app),
        can_be=APP.fullmatch(app) is not None,
    )


def _existing(request: web.Request) -> str:
    app = request.match_info["app"]
    if app not in app_ids(request.app[SERVICES]) or not APP.fullmatch(app):
        raise ClientError(Refusal(code="not_found", detail=plain("setup.no_app"), hint=plain("setup.no_app_hint")))
    return app


async def _delete_page(request: web.Request, app: str, **how: object) -> web.StreamResponse:
    services = request.app[SERVICES]
    policy = services.catalog.get(app)
    values = {"typed": "", "error": "", "problem": None} | how
    return page(
        request,
        "apps_delete.html",
        app=app,
        name=policy.name if policy else app,
        file=f"{app}.toml",
        living=(await services.store.connections.count_by_app()).get(app, 0),
        **values,  # type: ignore[arg-type]
    )
