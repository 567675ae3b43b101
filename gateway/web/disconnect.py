"""Disconnecting: a page that says what will happen, and asks for the connection's id."""

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.errors import ClientError
from gateway.store.rows import ConnectionRow, Status
from gateway.web.admin import ACTOR, for_admins, read_admin_form
from gateway.web.connection import connection_of, path_of, users_of
from gateway.web.render import page, see_other
from gateway.web.text import plain


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Say what would happen."""
    row = await connection_of(request)
    if row.status is Status.DISCONNECTED:
        return see_other(path_of(row))
    return await _confirmation(request, row)


async def disconnect(request: web.Request) -> web.StreamResponse:
    """Do it, where the id was typed."""
    _, values = await read_admin_form(request)
    row, typed = await connection_of(request), values.get("confirm", "").strip()
    if row.status is Status.DISCONNECTED:
        return see_other(path_of(row))
    if typed != row.id:
        return await _confirmation(request, row, typed=typed, error=plain("disconnect.not_it", id=row.id), status=422)
    try:
        await request.app[SERVICES].vault.disconnect(row.id, actor=ACTOR)
    except ClientError as error:  # somebody else ended it just now: its page says so
        if error.refusal.code != "not_found":
            raise
    return see_other(f"{path_of(row)}?done=connection_disconnected")


async def _confirmation(
    request: web.Request, row: ConnectionRow, *, typed: str = "", error: str = "", status: int = 200
) -> web.Response:
    services = request.app[SERVICES]
    policy = services.catalog.get(row.app)
    return page(
        request,
        "disconnect.html",
        status=status,
        row=row,
        path=path_of(row),
        name=row.app if policy is None else policy.name,
        has_tokens=policy is not None and policy.auth.grant.has_token,
        revokes=policy is not None and policy.auth.revoke is not None,
        clients=users_of(await services.store.clients.all(), row.id, services.clock()),
        typed=typed,
        error=error,
    )
