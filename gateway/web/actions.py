"""What can be done with a connection on its page: each button's form names one of these.

What changed something answers with a redirect; what only has something to show, or failed, with the page itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from gateway.admin.dispatch import ORIGIN, SERVICES, faults_of
from gateway.admin.links import LIFETIME, make_link
from gateway.admin.models import Question
from gateway.errors import AuthorizationServerError, ClientError, PolicyError, Refusal, UpstreamError
from gateway.store.rows import ConnectionRow
from gateway.web.admin import ACTOR, read_admin_form
from gateway.web.connection import connection_of, path_of, shown
from gateway.web.link import path_of as path_of_link
from gateway.web.render import see_other
from gateway.web.text import plain

REFUSED = (ClientError, PolicyError, UpstreamError, AuthorizationServerError)
"""What a person can be told on the page; a store that can't be read is a page of its own."""
Action = Callable[[web.Request, ConnectionRow, Mapping[str, str]], Awaitable[web.StreamResponse]]


async def act(request: web.Request) -> web.StreamResponse:
    """Do what the form says, and tell on the connection's page how it went."""
    _, values = await read_admin_form(request)
    row = await connection_of(request)
    name = values.get("do", "")
    action = _ACTIONS.get(name)
    if action is None:
        raise ClientError(Refusal(code="invalid", detail="The form doesn't say what is to be done."))
    try:
        return await action(request, row, values)
    except REFUSED as error:
        return await refused(request, row, error.refusal, tried=name)


async def refused(
    request: web.Request, row: ConnectionRow, refusal: Refusal, *, tried: str, **typed: Any
) -> web.Response:
    """Return the page as it is now, with the problem. What was tried may have changed how the connection stands."""
    row = await request.app[SERVICES].store.connections.get(row.id) or row
    return await shown(request, row, problem=refusal, tried=tried, **typed)


async def _test(request: web.Request, row: ConnectionRow, _values: Mapping[str, str]) -> web.StreamResponse:
    tested = await request.app[SERVICES].vault.test(row.id, actor=ACTOR)
    return await shown(request, await connection_of(request), tested=tested)


async def _refresh(request: web.Request, row: ConnectionRow, _values: Mapping[str, str]) -> web.StreamResponse:
    await request.app[SERVICES].vault.refresh(row.id, actor=ACTOR)
    return see_other(f"{path_of(row)}?done=connection_refreshed")


async def _link(request: web.Request, row: ConnectionRow, _values: Mapping[str, str]) -> web.StreamResponse:
    """Make a link that authorises the connection again. Its token is on this page, and nowhere else."""
    services = request.app[SERVICES]
    if services.catalog.get(row.app) is None:
        detail = f"The policy of the app {row.app} is not there, so nobody can connect to it."
        raise ClientError(Refusal(code="not_found", detail=detail, hint=f"Put policies/{row.app}.toml back."))
    token, link = await make_link(services, app=row.app, connection=row.id, fields={}, lifetime=LIFETIME, actor=ACTOR)
    path = path_of_link(token)
    made = {"url": request.app[ORIGIN][0] + path, "path": path, "expires_at": link.expires_at}
    return await shown(request, row, link=made)


async def _label(request: web.Request, row: ConnectionRow, values: Mapping[str, str]) -> web.StreamResponse:
    label = values.get("label", "")
    try:
        await request.app[SERVICES].vault.rename(row.id, label, actor=ACTOR)
    except ClientError as error:
        errors = {one["path"]: one["message"] for one in error.refusal.errors}
        return await refused(request, row, error.refusal, tried="label", label=label, errors=errors)
    return see_other(f"{path_of(row)}?done=connection_renamed")


async def _explain(request: web.Request, row: ConnectionRow, values: Mapping[str, str]) -> web.StreamResponse:
    """Say what would be done with a request. Not by an address: what is asked about may have a token in its query."""
    asked = {"method": values.get("method", "").strip(), "url": values.get("url", "").strip()}
    if not asked["url"]:
        errors = {"url": plain("connection.try.needed")}
        refusal = Refusal(code="invalid", detail=plain("connection.try.error", error=errors["url"]))
        return await refused(request, row, refusal, tried="explain", asked=asked, errors=errors)
    try:
        question = Question(connection=row.id, **asked)
        answer = await request.app[SERVICES].vault.explain(row.id, question.method, question.url)
    except ValidationError as error:
        errors = {fault["path"]: fault["message"] for fault in faults_of(error)}
        refusal = Refusal(code="invalid", detail="This can't be asked about.")
        return await refused(request, row, refusal, tried="explain", asked=asked, errors=errors)
    except ClientError as error:
        return await refused(request, row, error.refusal, tried="explain", asked=asked)
    return await shown(request, row, asked=asked, answer=answer)


_ACTIONS: Mapping[str, Action] = {
    "test": _test,
    "refresh": _refresh,
    "link": _link,
    "label": _label,
    "explain": _explain,
}
