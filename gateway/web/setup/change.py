"""The set-up page is looked at, and its form comes back: each button is a submit of the whole form.

Whatever the button was, everything typed is on the page again. A file that was changed meanwhile isn't written over:
the form carries the text that it began with.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.authoring import form
from gateway.errors import ClientError, Refusal
from gateway.policy.load import APP
from gateway.vault.credentials import Safe
from gateway.web.admin import for_admins
from gateway.web.session import Session
from gateway.web.setup import attempt, preview, save
from gateway.web.setup.allowed import judge
from gateway.web.setup.edits import edited
from gateway.web.setup.file import text_of
from gateway.web.setup.keeping import read_kept_form
from gateway.web.setup.page import render, render_text
from gateway.web.setup.sheet import Sheet
from gateway.web.text import plain

Act = Callable[[web.Request, Session, Sheet], Awaitable[web.StreamResponse]]


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the page of an app, as its file has it."""
    app, text = await _standing(request)
    return await render(request, sheet_of(app, text))


@for_admins
async def show_text(request: web.Request) -> web.StreamResponse:
    """Show the file of an app as text."""
    app, text = await _standing(request)
    return render_text(request, _blank(app, text), text)


async def change(request: web.Request) -> web.StreamResponse:
    """Do what the button says."""
    app = app_of(request)
    back = await read_kept_form(request)
    if isinstance(back, web.StreamResponse):
        return back
    session, posted, asked = back
    sheet = Sheet.of_form(app, posted, Safe(request.app[SERVICES].keyring))
    if "text" in posted:  # the file was edited as text
        return await save.save_text(request, session, sheet, posted["text"])
    try:
        return await _done(request, session, sheet, asked)
    except form.Unreadable:  # what the form says that it began with is no TOML
        return render_text(request, sheet, sheet.base, session=session, status=save.NOT_RIGHT)


async def _done(request: web.Request, session: Session, sheet: Sheet, asked: str) -> web.StreamResponse:
    action, _, what = asked.partition(":")
    if action in _ACTS:
        return await _ACTS[action](request, session, replace(sheet, judged=True))
    try:
        after = edited(sheet, action, what)
    except (ValueError, KeyError):
        raise ClientError(Refusal(code="request_rejected", detail="There is no such button on this page.")) from None
    if after is None:
        return await render(request, sheet, session=session)
    return await render(request, after, session=session, tried=attempt.shown_again(after))


async def _check(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    return await render(request, sheet, session=session, tried=attempt.shown_again(sheet))


async def _again(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Show what was typed under a session that has ended; whoever signed in since looks at it, and presses again."""
    problem = Refusal(code="unauthorized", detail=plain("setup.again"))
    return await render(request, sheet, session=session, problem=problem, tried=attempt.shown_again(sheet))


async def _look(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    asked = judge(sheet, sheet.own.get("check.url", ""), sheet.own.get("check.method", ""))
    return await render(request, sheet, session=session, asked=asked, tried=attempt.shown_again(sheet))


async def _as_text(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Go on with the file's text, with what was changed on the page in it."""
    return render_text(request, sheet, sheet.text(), session=session, findings=())


_ACTS: Mapping[str, Act] = {
    "again": _again,
    "check": _check,
    "look": _look,
    "try": attempt.attempt,
    "preview": preview.preview,
    "save": save.save,
    "connect": save.save_and_connect,
    "download": save.download,
    "mine": save.keep_mine,
    "theirs": save.take_theirs,
    "text": _as_text,
}


async def _standing(request: web.Request) -> tuple[str, str]:
    app = app_of(request)
    text = await asyncio.to_thread(text_of, request.app[SERVICES].catalog, app)
    if text is None:
        raise _missing()
    return app, text


def app_of(request: web.Request) -> str:
    """Return the app's id from the address. Raises `ClientError` (`not_found`): it can be none."""
    app = request.match_info["app"]
    if not APP.fullmatch(app):
        raise _missing()
    return app


def sheet_of(app: str, text: str) -> Sheet:
    """Return the form of a file's text; of one that is no TOML, an empty one."""
    try:
        return Sheet.of_text(app, text)
    except form.Unreadable:
        return _blank(app, text)


def _blank(app: str, text: str) -> Sheet:
    return Sheet(app=app, base=text, is_new=False, values={})


def _missing() -> ClientError:
    return ClientError(Refusal(code="not_found", detail=plain("setup.no_app"), hint=plain("setup.no_app_hint")))
