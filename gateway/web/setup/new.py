"""A new app: from scratch, from a policy that comes with the gateway, or from an API's own description.

What comes of it is the set-up page with a draft on it. Nothing is written before somebody saves.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.authoring import form
from gateway.authoring.openapi import DocumentInvalid, from_openapi
from gateway.authoring.start import scratch
from gateway.errors import ClientError, Refusal
from gateway.policy.load import APP
from gateway.policy.model import Grant
from gateway.web.admin import for_admins, read_admin_form
from gateway.web.render import page
from gateway.web.setup.file import text_of
from gateway.web.setup.page import grants, render
from gateway.web.setup.sheet import Sheet
from gateway.web.setup.shipped import by_letter, shipped_text
from gateway.web.text import plain

DOCUMENT = 4 * 1024 * 1024
"""Characters of an API's description: those of the largest services are about as long."""
LIMIT = 3 * DOCUMENT
"""Bytes of the form that carries one, percent-encoded."""
RESERVED = frozenset({"new"})
NOT_RIGHT = 422
LONGEST_ID = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a new app begins with, and what there is to say of it. `app` is its id, where nobody chose one."""

    app: str
    text: str
    notes: tuple[str, ...] = ()


class Wrong(Exception):
    """An input isn't right: its name, and what is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name = name
        self.message = message


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the ways to begin."""
    return _page(request, {"from": request.query.get("from", "")})


async def begin(request: web.Request) -> web.StreamResponse:
    """Make the draft, and show the set-up page with it."""
    session, given = await read_admin_form(request, limit=LIMIT)
    way = given.get("from", "")
    app = given.get("id", "").strip()
    make = _WAYS.get(way)
    if make is None:
        raise ClientError(Refusal(code="request_rejected", detail="There is no such way to begin."))
    try:
        if app:
            await _check_id(request, app)
        draft = await asyncio.to_thread(make, app, given)
        if not app:
            app = draft.app
            await _check_id(request, app)
    except Wrong as wrong:
        return _page(request, given, wrong, session=session, status=NOT_RIGHT)
    sheet = Sheet(app=app, base=draft.text, is_new=True, values=form.values_of(draft.text))
    return await render(request, sheet, session=session, notes=draft.notes)


def _page(
    request: web.Request, given: Mapping[str, str], wrong: Wrong | None = None, **how: object
) -> web.StreamResponse:
    return page(
        request,
        "setup/new.html",
        given=given,
        way=given.get("from", ""),
        errors={wrong.name: wrong.message} if wrong else {},
        grants=grants(),
        shipped=by_letter(),
        **how,  # type: ignore[arg-type]
    )


async def _check_id(request: web.Request, app: str) -> None:
    if not APP.fullmatch(app):
        raise Wrong("id", plain("setup.new.id_wrong"))
    if app in RESERVED:
        raise Wrong("id", plain("setup.new.id_new"))
    if await asyncio.to_thread(text_of, request.app[SERVICES].catalog, app) is not None:
        raise Wrong("id", plain("setup.new.id_taken"))


def id_of(name: str) -> str:
    """Return an id that a name makes: `my-crm` for My CRM."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_ID].strip("-")


def _from_scratch(app: str, given: Mapping[str, str]) -> Draft:
    name, grant = given.get("name", "").strip(), given.get("grant", "")
    app = app or id_of(name)
    if not name:
        raise Wrong("name", plain("setup.new.name_wrong"))
    if grant not in dict(grants()):
        raise Wrong("grant", plain("setup.new.shipped_wrong"))
    return Draft(app=app, text=scratch(app, name, Grant(grant), given.get("base_url", "").strip()))


def _from_shipped(_app: str, given: Mapping[str, str]) -> Draft:
    chosen = given.get("shipped", "")
    try:
        return Draft(app=chosen, text=shipped_text(chosen))
    except KeyError:
        raise Wrong("shipped", plain("setup.new.shipped_wrong")) from None


def _from_openapi(_app: str, given: Mapping[str, str]) -> Draft:
    document = given.get("document", "")
    if not document.strip():
        raise Wrong("document", plain("setup.new.openapi_empty"))
    try:
        draft = from_openapi(document, given.get("scheme", "").strip() or None)
    except DocumentInvalid as error:
        raise Wrong("document", str(error)) from None
    chosen = [plain("setup.new.note_scheme", name=one.name) for one in draft.schemes if one.chosen]
    more = chosen if len(draft.schemes) > 1 else []
    return Draft(app=draft.app, text=draft.text, notes=(plain("setup.new.taken"), *more, *draft.notes))


_WAYS: Mapping[str, Callable[[str, Mapping[str, str]], Draft]] = {
    "scratch": _from_scratch,
    "shipped": _from_shipped,
    "openapi": _from_openapi,
}
