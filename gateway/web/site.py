"""The web application: every route, and the headers of every answer."""

import asyncio

from aiohttp import web

from gateway.admin.answers import CONTENT_SECONDS, REQUEST_ID, answer_faults
from gateway.admin.api import admin_api
from gateway.admin.dispatch import ATTEMPTS, LARGEST_BODY, ORIGIN, SERVICES, TOKEN
from gateway.admin.links import CALLBACK
from gateway.admin.openapi import PREFIX
from gateway.admin.services import Services
from gateway.attempts import Attempts
from gateway.secret import Secret
from gateway.web import (
    actions,
    activity,
    apps,
    callback,
    clients,
    connect,
    connection,
    connections,
    dashboard,
    disconnect,
    explained,
    health,
    new_client,
    signin,
    stream,
    trust,
)
from gateway.web.ended import ENDED, Ended, heed_ended
from gateway.web.headers import put_headers
from gateway.web.readiness import READINESS, Readiness
from gateway.web.render import SESSIONS, render_refusal
from gateway.web.session import Sessions
from gateway.web.setup import allowed, change, keeping, new, save
from gateway.web.static import PREFIX as PREFIX_OF_FILES
from gateway.web.static import static
from gateway.web.strict import strict
from gateway.web.tail import TAIL, Tail
from gateway.web.wire import BOUNDS, Bounds, Room

SECURE = web.AppKey("secure", bool)
"""Whether browsers reach this listener by https alone."""


def site(
    services: Services,
    token: Secret,
    seed: Secret,
    origin: list[str],
    bounds: Bounds,
    *,
    readiness: Readiness,
) -> web.Application:
    """Return the application. `seed` is the sessions'; `origin` a list of one, our own URL, which may come later."""
    secure = services.settings.web.public_url.startswith("https://")
    app = web.Application(
        middlewares=[answer_faults(render_refusal), strict(services.settings.web), heed_ended],
        client_max_size=LARGEST_BODY,
    )
    app[SERVICES], app[TOKEN], app[ORIGIN] = services, token, origin
    app[SESSIONS] = Sessions(token, seed=seed, clock=services.clock, secure=secure)
    app[ENDED] = Ended(services.store.meta, services.clock)
    app[CONTENT_SECONDS] = bounds.content
    app[ATTEMPTS] = Attempts(services.clock)
    app[connect.TRIES] = Attempts(services.clock, group=str)
    app[SECURE] = secure
    app[keeping.PLACES], app[save.SAVING] = Room(keeping.AT_ONCE), asyncio.Lock()
    app[READINESS] = readiness
    app[BOUNDS], app[TAIL] = bounds, Tail(services.store, bounds)
    app.on_shutdown.append(_end_streams)
    app.on_response_prepare.append(_headers)
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get(trust.PATH, trust.certificate())
    app.router.add_get("/", dashboard.show)
    app.router.add_get("/sign-in", signin.show)
    app.router.add_post("/sign-in", signin.sign_in)
    app.router.add_post("/sign-out", signin.sign_out)
    app.router.add_get(connections.PATH, connections.show)
    app.router.add_get(f"{connections.PATH}/{{id}}", connection.show)
    app.router.add_post(f"{connections.PATH}/{{id}}", actions.act)
    app.router.add_get(f"{connections.PATH}/{{id}}/disconnect", disconnect.show)
    app.router.add_post(f"{connections.PATH}/{{id}}/disconnect", disconnect.disconnect)
    app.router.add_get("/clients", clients.show_all)
    app.router.add_get(new_client.PATH, new_client.show)
    app.router.add_post(new_client.PATH, new_client.make)
    app.router.add_get("/clients/{name}", clients.show)
    app.router.add_post("/clients/{name}/recipes", clients.show_recipes)
    app.router.add_get("/clients/{name}/revoke", clients.ask_to_revoke)
    app.router.add_post("/clients/{name}/revoke", clients.revoke)
    _add_apps(app.router)
    app.router.add_post("/connect", apps.connect)
    app.router.add_get("/connect/{token}", connect.show)
    app.router.add_post("/connect/{token}", connect.connect)
    app.router.add_get(f"{CALLBACK}/{{app}}", callback.arrive, allow_head=False)
    app.router.add_post(f"{CALLBACK}/{{app}}", callback.arrive_with_fragment)
    app.router.add_get(f"{callback.REFUSED}/{{why}}", callback.show_refused)
    app.router.add_get("/activity", activity.show)
    app.router.add_get("/activity/stream", stream.stream, allow_head=False)
    app.router.add_get("/activity/requests/{id}", explained.show_request)
    app.router.add_get("/activity/events/{id}", explained.show_event)
    app.router.add_get(f"{PREFIX_OF_FILES}{{name}}", static)
    app.add_subapp(PREFIX, admin_api())
    return app


def _add_apps(router: web.UrlDispatcher) -> None:
    router.add_get("/apps", apps.show)
    router.add_get("/apps/new", new.show)
    router.add_post("/apps/new", new.begin)
    router.add_get("/apps/{app}", change.show)
    router.add_post("/apps/{app}", change.change)
    router.add_get("/apps/{app}/text", change.show_text)
    router.add_post("/apps/{app}/allowed", allowed.check)
    router.add_post("/apps/{app}/link", apps.send)
    router.add_get("/apps/{app}/delete", apps.ask_delete)
    router.add_post("/apps/{app}/delete", apps.delete)


async def _end_streams(app: web.Application) -> None:
    await app[TAIL].close()


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    put_headers(response, secure=request.config_dict[SECURE])
    # An Upgrade is declined, and what is behind the offer can be read in more ways than one.
    if "Upgrade" in request.headers or request.config_dict[READINESS].draining:
        response.force_close()
        response.headers["Connection"] = "close"
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
