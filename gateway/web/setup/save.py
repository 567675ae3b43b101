"""Saving: the file is written where nothing is wrong with it and nobody else has changed it; then its secrets.

What was typed stays on the page whatever stands against it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.links import LIFETIME, make_link
from gateway.admin.policies import set_secret, write_policy
from gateway.admin.services import Services
from gateway.authoring import form
from gateway.authoring.merge import merge
from gateway.authoring.names import CREDENTIALS, begins
from gateway.authoring.steps import APP, steps
from gateway.errors import Refusal, StoreError
from gateway.policy.load import load
from gateway.policy.model import Grant
from gateway.web.admin import ACTOR
from gateway.web.render import see_other
from gateway.web.session import Session
from gateway.web.setup.attempt import shown_again
from gateway.web.setup.file import same, text_of
from gateway.web.setup.page import PATH, render, render_text
from gateway.web.setup.sheet import Sheet, read
from gateway.web.text import has, plain

CONFLICT, NOT_RIGHT = 409, 422
SAVING = web.AppKey("saving", asyncio.Lock)
"""Whoever saves looks at the file and writes it in one step: of two at once the later one is told of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """The file isn't what the form began with. `theirs` only they changed, `both` both did; `gone`: it was removed."""

    theirs: tuple[str, ...] = ()
    both: tuple[str, ...] = ()
    gone: bool = False
    text: str = ""


async def save(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Save, and show the page as the file has it now."""
    return await _saved(request, session, sheet) or see_other(f"{PATH.format(app=sheet.app)}?done=app-saved")


async def save_and_connect(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Save, make a link and open it."""
    if refused := await _saved(request, session, sheet):
        return refused
    services = request.app[SERVICES]
    token, _ = await make_link(services, app=sheet.app, connection=None, fields={}, lifetime=LIFETIME, actor=ACTOR)
    return see_other(f"/connect/{token}")


async def download(_request: web.Request, _session: Session, sheet: Sheet) -> web.StreamResponse:
    """Give the file, as it would be written."""
    name = f"{sheet.app}.toml"
    response = web.Response(text=sheet.text(), content_type="application/toml", charset="utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def keep_mine(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Put what is on the page on top of what the file has become. Nothing is written yet."""
    now = await _now(request, sheet.app)
    if now is None:
        return await render(request, replace(sheet, is_new=True), session=session)
    try:
        theirs = form.values_of(now)
    except form.Unreadable:  # then only the whole text can be put in its place
        return render_text(request, replace(sheet, base=now, is_new=False), sheet.text(), session=session, findings=())
    merged = merge(form.values_of(sheet.base), sheet.values, theirs)
    after = replace(sheet, base=now, is_new=False, values=merged.values)
    return await render(request, after, session=session, tried=shown_again(after), notes=(plain("setup.merged"),))


async def take_theirs(_request: web.Request, _session: Session, sheet: Sheet) -> web.StreamResponse:
    """Show the file as it is now."""
    return see_other(PATH.format(app=sheet.app))


async def save_text(request: web.Request, session: Session, sheet: Sheet, text: str) -> web.StreamResponse:
    """Save what was edited as text."""
    async with request.app[SAVING]:
        return await _text_written(request, session, sheet, text)


async def _text_written(request: web.Request, session: Session, sheet: Sheet, text: str) -> web.StreamResponse:
    now = await _now(request, sheet.app)
    if now is not None and not same(now, sheet.base):
        after = replace(sheet, base=now, is_new=False)
        return render_text(request, after, text, session=session, findings=(), clash=Clash(text=now), status=CONFLICT)
    findings = load(text, app=sheet.app, file=f"{sheet.app}.toml").findings
    if findings:
        return render_text(request, sheet, text, session=session, findings=findings, status=NOT_RIGHT)
    services = request.app[SERVICES]
    try:
        if now is None or not same(now, text):
            await write_policy(services, sheet.app, text, actor=ACTOR)
    except StoreError as error:
        return render_text(
            request, sheet, text, session=session, findings=(), problem=error.refusal, status=error.refusal.status
        )
    await _keep_secrets(services, sheet, text)
    return see_other(f"{PATH.format(app=sheet.app)}?done=app-saved")


async def _saved(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse | None:
    """Write the file and the secrets; return the page that says why not."""
    async with request.app[SAVING]:
        return await _written(request, session, sheet)


async def _written(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse | None:
    services, again = request.app[SERVICES], shown_again(sheet)
    now = await _now(request, sheet.app)
    if clash := _clash(sheet, now):
        return await render(request, sheet, session=session, status=CONFLICT, clash=clash, tried=again)
    if now is not None:
        sheet = replace(sheet, base=now)
    found = read(sheet)
    if found.findings or form.repeated(sheet.wanted) or sheet.lost:
        problem = Refusal(code="invalid", detail=plain("setup.not_saved"))
        return await render(request, sheet, session=session, status=NOT_RIGHT, problem=problem, tried=again)
    try:
        if sheet.is_new or found.text != sheet.base:
            await write_policy(services, sheet.app, found.text, actor=ACTOR)
    except StoreError as error:
        return await render(
            request,
            sheet,
            session=session,
            status=error.refusal.status,
            problem=error.refusal,
            offered=True,
            tried=again,
        )
    await _keep_secrets(services, sheet, found.text)
    return None


async def _keep_secrets(services: Services, sheet: Sheet, text: str) -> None:
    """Seal and store the secrets that were typed, under the names that the policy has for them."""
    values = form.values_of(text)
    for name in CREDENTIALS:
        if name in sheet.typed and values.get(f"{name}.kind") == "secret":
            await set_secret(services, sheet.app, values[f"{name}.value"], sheet.typed[name], actor=ACTOR)


def _clash(sheet: Sheet, now: str | None) -> Clash | None:
    if now is None:
        return None if sheet.is_new else Clash(gone=True)
    if not sheet.is_new and same(now, sheet.base):
        return None
    try:
        merged = merge({} if sheet.is_new else form.values_of(sheet.base), sheet.values, form.values_of(now))
    except form.Unreadable:
        return Clash(text=now)
    grant = sheet.grant or Grant.AUTHORIZATION_CODE
    return Clash(theirs=_titles(merged.theirs, grant), both=_titles(merged.clashes, grant), text=now)


def _titles(parts: Iterable[str], grant: Grant) -> tuple[str, ...]:
    """Return what the page calls these parts of the form: their steps, or the inputs above the steps."""
    return tuple(dict.fromkeys(_title(part, grant) for part in parts))


def _title(part: str, grant: Grant) -> str:
    step = next((step for step in steps(grant) if begins(part, step.names)), None)
    if step is not None:
        return plain(f"setup.step.{step.id}.title")
    label = f"setup.label.{part.removeprefix('auth.')}"
    return plain(label) if part in APP and has(label) else part


async def _now(request: web.Request, app: str) -> str | None:
    return await asyncio.to_thread(text_of, request.app[SERVICES].catalog, app)
