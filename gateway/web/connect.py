"""The page behind a connect link: what the app asks for, connecting, and "Connected as …".

Whoever has the link may use it, once, until it expires; no sign-in is asked for. What was typed stays in the form when
something isn't right, but for secrets, which never leave this listener again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.links import find_link, preset_fields
from gateway.admin.services import Services
from gateway.errors import AuthorizationServerError, ClientError, PolicyError, Refusal, UpstreamError
from gateway.policy.fields import validate_fields
from gateway.policy.model import Field, Grant, Policy
from gateway.secret import Secret
from gateway.store.rows import LinkRow
from gateway.vault import Connected
from gateway.web.forms import read_form
from gateway.web.render import SESSIONS, page

PREFIX = "field."
"""Before a field's name in the form, so that no field of a policy can meet a name of ours."""
LOCKS: web.AppKey[WeakValueDictionary[bytes, asyncio.Lock]] = web.AppKey("connect_locks")
_BY_LOGIN = frozenset({Grant.AUTHORIZATION_CODE, Grant.IMPLICIT})
_GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A link that can be used, and what it is for."""

    row: LinkRow
    app: str
    policy: Policy
    preset: dict[str, str]

    @property
    def by_login(self) -> bool:
        """Whether this app's people sign in on its own pages."""
        return self.policy.auth.grant in _BY_LOGIN


async def show(request: web.Request) -> web.StreamResponse:
    """Show the form, or why the link can't be used."""
    found = await _open(request)
    if isinstance(found, str):
        return _closed(request, found)
    sessions = request.app[SESSIONS]
    session = sessions.read(request) or sessions.begin(admin=False)
    return _form(request, found, session=session, typed=found.preset, errors={}, problem=None)


async def connect(request: web.Request) -> web.StreamResponse:
    """Check what was typed and connect. Of two that use the link at once, the second is told that it was used."""
    _, values = await read_form(request, request.app[SESSIONS])
    found = await _open(request)
    if isinstance(found, str):
        return _closed(request, found)
    locks = request.app[LOCKS]
    lock = locks.setdefault(found.row.token_hash, asyncio.Lock())
    async with lock:
        again = await _open(request)
        if isinstance(again, str):
            return _closed(request, again)
        return await _connect(request, again, values)


async def _connect(request: web.Request, found: Opened, values: Mapping[str, str]) -> web.StreamResponse:
    if found.by_login:
        return _form(request, found, typed=found.preset, errors={}, problem=None)
    typed = found.preset | {name[len(PREFIX) :]: value for name, value in values.items() if name.startswith(PREFIX)}
    _, errors = validate_fields(found.policy, typed)
    if errors:
        return _form(request, found, typed=typed, errors=errors, problem=None, status=422)
    services = request.app[SERVICES]
    try:
        connected = await _call_vault(services, found, typed)
    except (ClientError, PolicyError, UpstreamError, AuthorizationServerError) as error:
        refusal = error.refusal
        errors = _field_errors(found.policy, refusal)
        return _form(request, found, typed=typed, errors=errors, problem=refusal, status=refusal.status)
    await services.store.links.use(found.row.token_hash, now=services.clock())
    return page(
        request,
        "connected.html",
        name=found.policy.name,
        label=connected.row.label or connected.row.id,
        connection=connected.row.id,
        created=connected.created,
    )


async def _call_vault(services: Services, found: Opened, typed: Mapping[str, str]) -> Connected:
    secret = {field.name for field in found.policy.fields if field.secret}
    return await services.vault.connect(
        found.app,
        connection_id=found.row.connection,
        fields={name: value for name, value in typed.items() if name not in secret},
        secrets={name: Secret(value) for name, value in typed.items() if name in secret},
        actor="connect-link",
    )


async def _open(request: web.Request) -> Opened | str:
    """Return what the link is for, or one sentence saying why it can't be used."""
    services = request.app[SERVICES]
    row = await find_link(services, request.match_info["token"])
    if row is None:
        return "This link isn't one of ours, or part of it is missing."
    if row.used_at is not None:
        return "This link was used already."
    if row.expires_at <= services.clock():
        return "This link has expired."
    policy = services.catalog.get(row.app)
    if policy is None:
        return "The app that this link was for isn't set up any more."
    return Opened(row=row, app=row.app, policy=policy, preset=preset_fields(services, row))


def _closed(request: web.Request, reason: str) -> web.StreamResponse:
    return page(request, "link_closed.html", status=_GONE, reason=reason)


def _form(
    request: web.Request,
    found: Opened,
    *,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
    problem: Refusal | None,
    **how: Any,
) -> web.StreamResponse:
    return page(
        request,
        "connect.html",
        name=found.policy.name,
        by_login=found.by_login,
        fields=[_shown(field, typed, errors) for field in found.policy.fields],
        errors=errors,
        problem=problem,
        prefix=PREFIX,
        again=found.row.connection,
        **how,
    )


def _shown(field: Field, typed: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Any]:
    """Return a field as the form shows it: a secret always empty."""
    kept = "" if field.secret or field.once else typed.get(field.name, field.default or "")
    return {
        "name": field.name,
        "label": field.label,
        "help": field.help,
        "choices": field.choices,
        "required": field.required and not (field.secret and field.default),
        "secret": field.secret,
        "once": field.once,
        "value": kept,
        "error": errors.get(field.name, ""),
    }


def _field_errors(policy: Policy, refusal: Refusal) -> dict[str, str]:
    """Put a refusal's single faults beside the fields that they are about."""
    names = {field.name for field in policy.fields}
    found = {}
    for error in refusal.errors:
        name = error["path"].rpartition(".")[2]
        if name in names:
            found[name] = error["message"]
    return found
