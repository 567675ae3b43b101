"""The page behind a connect link: what the app asks for, connecting, and "Connected as …".

Whoever has the link may use it, once, until it expires; no sign-in is asked for. What was typed stays in the form when
something isn't right, but for secrets, which never leave this listener again. What the link brings filled in can't be
changed here, and is not even sent to the browser where it is secret.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.links import redirect_url
from gateway.attempts import Attempts
from gateway.errors import GatewayError, Refusal, StoreError
from gateway.policy.fields import validate_fields
from gateway.policy.model import Policy
from gateway.vault import Connected
from gateway.web import device, login
from gateway.web.advice import for_the_admin, for_the_visitor, word_in
from gateway.web.asking import asked_of, host_of, preset_of, scopes_of
from gateway.web.forms import read_form
from gateway.web.link import ACTOR, Opened, attempt, open_link, sorted_out
from gateway.web.render import SESSIONS, page, see_other
from gateway.web.session import Session
from gateway.web.text import has, plain

TRIES = web.AppKey("tries", Attempts)
"""By a link's hash: each try is kept for ten minutes, or asks the provider whether a password is right."""
PREFIX = "field."
"""Before a field's name in the form, so that no field of a policy can meet a name of ours."""
AGAIN, STILL = "again", "still"
"""The button that gives a code up, and the parameter of the page that doesn't load itself again."""
_GONE = 410


async def show(request: web.Request) -> web.StreamResponse:
    """Show the form, how connecting ended, or why the link can't be used."""
    found = await open_link(request, request.match_info["token"])
    if isinstance(found, str):
        return _closed(request, found)
    sessions = request.app[SESSIONS]
    session = sessions.read(request)
    if found.by_device and found.row.used_at is None and session is not None:
        looked = await device.look(request.app[SERVICES], found, session)
        if looked:
            return see_other(found.path) if looked is True else _wait(request, found, looked)
    outcome = found.outcome_for(session)
    if found.row.used_at is not None:
        if outcome is None:
            return _closed(request, plain("link_closed.used"))
        return page(
            request,
            "connected.html",
            name=found.policy.name,
            label=outcome.label,
            connection=outcome.connection,
            created=outcome.created,
        )
    problem = None if outcome is None else Refusal(code="invalid", detail=outcome.problem, hint=outcome.hint or None)
    if found.row.expires_at <= request.app[SERVICES].clock():
        return _closed(request, plain("link_closed.expired"), problem, name=found.policy.name)
    typed = await _standing(request, found) | (dict(outcome.typed) if outcome else {})
    return await _form(
        request, found, session=session or sessions.begin(admin=False), typed=typed, errors={}, problem=problem
    )


async def connect(request: web.Request) -> web.StreamResponse:
    """Check what was typed; then connect, send the person to the provider's login, or get a code to type in there."""
    session, values = await read_form(request, request.app[SESSIONS])
    found = await open_link(request, request.match_info["token"])
    if isinstance(found, str):
        return _closed(request, found)
    if found.row.used_at is not None or found.row.expires_at <= request.app[SERVICES].clock():
        return see_other(found.path)
    if found.by_device and values.get(AGAIN):
        kept = await device.give_up(request.app[SERVICES], found, session)
        typed = {name: value for name, value in kept.items() if name not in found.preset}
        return await _form(request, found, typed=typed, errors={}, problem=None)
    typed = {name[len(PREFIX) :]: value for name, value in values.items() if name.startswith(PREFIX)}
    for one in found.policy.fields:
        if not one.is_asked:
            typed.pop(one.name, None)  # not for whoever has the link to say
    given = typed | dict(found.preset)
    valid, errors = validate_fields(found.policy, given)
    if errors:
        return await _form(request, found, typed=typed, errors=errors, problem=None, status=422)
    tries, link = request.app[TRIES], found.row.token_hash.hex()
    if wait := tries.wait(link):
        detail = plain("connect.tried_too_often", wait=wait)
        problem = Refusal(code="rate_limited", detail=detail, retry_after=wait)
        shown = {name: value for name, value in typed.items() if name not in found.preset}
        response = await _form(request, found, typed=shown, errors={}, problem=problem, status=problem.status)
        response.headers["Retry-After"] = str(wait)
        return response
    tries.failed(link)
    return await _begin(request, found, session, valid)


async def _begin(request: web.Request, found: Opened, session: Session, valid: Mapping[str, str]) -> web.StreamResponse:
    if found.by_login:
        return await _leave(request, found, session, valid)
    if found.by_device:
        return await _get_code(request, found, session, valid)
    return await _connect(request, found, session, valid)


async def _connect(
    request: web.Request, found: Opened, session: Session, given: Mapping[str, str]
) -> web.StreamResponse:
    services = request.app[SERVICES]
    fields, hidden = sorted_out(found.policy, given)

    async def work() -> Connected:
        return await services.vault.connect(
            found.app,
            connection_id=found.row.connection,
            fields=fields,
            secrets=hidden,
            actor=ACTOR,
        )

    shown = {name: value for name, value in fields.items() if name not in found.preset}
    done = await attempt(services, found.row, session, begun=services.clock(), typed=shown, work=work)
    if isinstance(done, Refusal):
        errors = _field_errors(found.policy, done)
        return await _form(request, found, typed=shown, errors=errors, problem=done, status=done.status)
    return see_other(found.path)


async def _leave(request: web.Request, found: Opened, session: Session, valid: Mapping[str, str]) -> web.StreamResponse:
    """Show a page that goes on to the provider by itself.

    Not a redirect: Chromium holds every hop behind a form to the page's `form-action`, and a provider's own redirects
    lead nobody knows where. So the form that may hold secrets can send them to us alone.
    """
    services = request.app[SERVICES]
    fields, hidden = sorted_out(found.policy, valid)
    redirect_uri = redirect_url(request.app[ORIGIN][0], found.app)
    try:
        url = await login.begin(services, found, session, redirect_uri=redirect_uri, fields=fields, hidden=hidden)
    except StoreError:
        raise
    except GatewayError as error:
        return await _form(request, found, typed=fields, errors={}, problem=error.refusal, status=error.refusal.status)
    response = page(request, "leaving.html", name=found.policy.name, url=url, host=urlsplit(url).hostname)
    response.headers["Refresh"] = f"0; url={url}"
    return response


async def _get_code(
    request: web.Request, found: Opened, session: Session, valid: Mapping[str, str]
) -> web.StreamResponse:
    """Get a code, and show it at the link's own URL."""
    fields, hidden = sorted_out(found.policy, valid)
    try:
        await device.begin(request.app[SERVICES], found, session, fields=fields, hidden=hidden)
    except StoreError:
        raise
    except GatewayError as error:
        shown = {name: value for name, value in fields.items() if name not in found.preset}
        return await _form(request, found, typed=shown, errors={}, problem=error.refusal, status=error.refusal.status)
    return see_other(found.path)


def _wait(request: web.Request, found: Opened, waiting: device.Waiting) -> web.StreamResponse:
    """Show the code. The page loads itself again when it is worth it, unless whoever reads it wants it to be still."""
    still = STILL in request.query
    seconds = math.ceil(waiting.look_in)
    response = page(
        request,
        "device.html",
        name=found.policy.name,
        waiting=waiting,
        seconds=seconds,
        still=still,
        path=found.path,
        quiet=f"{found.path}?{STILL}=1",
        again=AGAIN,
    )
    if not still:
        response.headers["Refresh"] = str(seconds)
    return response


async def _standing(request: web.Request, found: Opened) -> dict[str, str]:
    """Return what was filled in when this connection was last authorised."""
    if found.standing is None:
        return {}
    return await request.app[SERVICES].vault.open_fields(found.standing.id)


def _closed(request: web.Request, reason: str, problem: Refusal | None = None, *, name: str = "") -> web.StreamResponse:
    return page(request, "link_closed.html", status=_GONE, reason=reason, problem=problem, name=name)


async def _form(
    request: web.Request,
    found: Opened,
    *,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    problem: Refusal | None,
    **how: Any,
) -> web.StreamResponse:
    policy = found.policy
    login_page = policy.auth.authorize
    return page(
        request,
        "connect.html",
        app=found.app,
        name=policy.name,
        by_login=found.by_login,
        by_device=found.by_device,
        asker=_asker(found.row.created_by),
        scopes=scopes_of(policy),
        reach=dict.fromkeys(host_of(url, policy) for url in policy.allow.urls),
        login_host="" if login_page is None else host_of(login_page.url, policy),
        groups=asked_of(policy, found.preset, typed, errors),
        preset=preset_of(policy, found.preset),
        errors=errors,
        problem=problem,
        advice="" if problem is None else _advice(request, problem),
        prefix=PREFIX,
        again=found.standing,
        **how,
    )


def _advice(request: web.Request, problem: Refusal) -> str:
    """Say what to do about a provider's refusal: to whoever set the app up how, to everybody else who can."""
    word = word_in(problem.detail)
    if word is None or problem.hint:
        return ""
    session = request.app[SESSIONS].read(request)
    return for_the_admin(word) if session is not None and session.admin else for_the_visitor(word)


def _asker(created_by: str) -> str:
    """Return who made a link, in words a stranger understands."""
    key = f"connect.asker.{created_by}"
    return plain(key) if has(key) else created_by


def _field_errors(policy: Policy, refusal: Refusal) -> dict[str, str]:
    """Put a refusal's single faults beside the fields that they are about."""
    names = {field.name for field in policy.fields}
    found = {}
    for error in refusal.errors:
        name = error["path"].rpartition(".")[2]
        if name in names:
            found[name] = error["message"]
    return found
