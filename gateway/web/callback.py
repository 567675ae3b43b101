"""Where providers send people back to: one redirect URL for each app, so that no code can be used at another's.

A code (or an error) comes in the query and is answered with a redirect to a clean URL. An implicit grant's token comes
in the fragment, which only a browser sees: a page of ours with one small script takes it out of the URL and the history
before anything else and posts it. Nothing is created unless the `state` was this browser's, for this app, just now.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.links import find_link
from gateway.admin.services import Services
from gateway.errors import AuthorizationServerError, Refusal
from gateway.oauth.answer import TokenAnswer
from gateway.oauth.authorize import (
    NO_CODE,
    WRONG_ISSUER,
    CallbackRefused,
    as_standard,
    callback_error,
    expected_issuer,
    read_callback,
    wrong_issuer,
)
from gateway.oauth.oauth1 import OURS, WRONG_TOKEN, read_signed_callback
from gateway.policy.context import SECRET_TOKENS
from gateway.policy.model import Grant, Policy
from gateway.vault import Connected
from gateway.web.forms import read_form
from gateway.web.link import ACTOR, attempt, path_of
from gateway.web.login import Login, Refused, take
from gateway.web.render import SESSIONS, page, see_other
from gateway.web.text import plain

REFUSED = "/oauth/refused"
# As on every page, and one script of ours besides; it can load and send nothing.
FRAGMENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_PARAMETERS = 100
_SINGLE = OURS | {"state", "code", "iss", "error", "error_description", "access_token"}
_TOLD = frozenset({Refused.EXPIRED, Refused.OTHER_BROWSER, Refused.OTHER_APP})
"""What the log is told of: it takes a state that was begun here, once. The rest anybody could fill it with."""

log = structlog.get_logger("gateway.web")


async def arrive(request: web.Request) -> web.StreamResponse:
    """Take a code or an error out of the query; for an implicit grant, serve the page that reads the fragment."""
    app, query = request.match_info["app"], request.query
    policy = request.app[SERVICES].catalog.get(app)
    is_implicit = policy is not None and policy.auth.grant is Grant.IMPLICIT
    if policy is not None and is_implicit and not dict(_standard(policy, query.items())).get("error"):
        sessions = request.app[SESSIONS]
        session = sessions.read(request) or sessions.begin(admin=False)
        response = page(request, "fragment.html", session=session, name=policy.name, path=request.path)
        response.headers["Content-Security-Policy"] = FRAGMENT_POLICY
        return response
    return await _finish(request, app, query.items())


async def arrive_with_fragment(request: web.Request) -> web.StreamResponse:
    """Take an implicit grant's token out of the form that our page sent."""
    _, values = await read_form(request, request.app[SESSIONS])
    app = request.match_info["app"]
    policy = request.app[SERVICES].catalog.get(app)
    if policy is None or policy.auth.grant is not Grant.IMPLICIT:
        return _refused(app, Refused.UNREADABLE)
    try:
        pairs = parse_qsl(values.get("fragment", ""), keep_blank_values=True, max_num_fields=_PARAMETERS)
    except ValueError:
        return _refused(app, Refused.UNREADABLE)
    return await _finish(request, app, pairs)


async def show_refused(request: web.Request) -> web.StreamResponse:
    """Say why a sign-in came to nothing."""
    try:
        why = Refused(request.match_info["why"])
    except ValueError:
        raise web.HTTPNotFound from None
    return page(request, "login_refused.html", status=400, reason=plain(f"login_refused.{why}"))


async def _finish(request: web.Request, app: str, pairs: Iterable[tuple[str, str]]) -> web.StreamResponse:
    services, session = request.app[SERVICES], request.app[SESSIONS].read(request)
    policy = services.catalog.get(app)
    params = _once(_standard(policy, pairs))
    if params is None:
        return _refused(app, Refused.UNREADABLE)
    taken = await take(services, app, session, params.pop("state", ""))
    if isinstance(taken, Refused):
        return _refused(app, taken)
    link = await find_link(services, taken.link)
    if policy is None or link is None or session is None:
        return _refused(app, Refused.UNKNOWN)

    async def work() -> Connected:
        answer = await _answer(services, app, policy, taken, params)
        return await services.vault.connect(
            app,
            connection_id=link.connection,
            fields=taken.fields,
            secrets=taken.secrets,
            actor=ACTOR,
            answer=answer,
            callback=told(params),
        )

    await attempt(services, link, session, begun=taken.begun, typed=taken.fields, work=work)
    return see_other(path_of(taken.link))


async def _answer(services: Services, app: str, policy: Policy, login: Login, params: Mapping[str, str]) -> TokenAnswer:
    """Return the tokens that came, or that a code is worth. Raises `AuthorizationServerError` and as the vault."""
    if policy.auth.grant is Grant.OAUTH1:
        return await _verified(services, app, policy, login, params)
    known = None if policy.auth.authorize is None else policy.auth.authorize.issuer
    issuer = expected_issuer(known, login_url=login.login_url, sent=params.get("iss"))
    if policy.auth.grant is Grant.IMPLICIT:
        refused = wrong_issuer(params, issuer) or callback_error(params)
        if refused is not None:
            raise _said(policy, refused)
        return services.vault.logins.read_fragment(policy, params)
    came = read_callback(params, issuer=issuer)
    if isinstance(came, CallbackRefused):
        raise _said(policy, came)
    return await services.vault.logins.redeem(
        app,
        policy,
        fields={**login.fields, **login.secrets},
        code=came.code,
        redirect_uri=login.redirect_uri,
        verifier=login.verifier,
        callback=told(params),
    )


async def _verified(
    services: Services, app: str, policy: Policy, login: Login, params: Mapping[str, str]
) -> TokenAnswer:
    """Return the tokens of OAuth 1.0a. Raises as `_answer`; nothing is asked where the login began otherwise."""
    if login.token is None:
        detail = f"The policy of {app} was changed while somebody was signing in."
        raise AuthorizationServerError(Refusal(code="refresh_failed", detail=detail, hint="Begin again."))
    came = read_signed_callback(params, token=login.token)
    if isinstance(came, CallbackRefused):
        raise _said(policy, came)
    return await services.vault.logins.redeem_verifier(
        app,
        policy,
        fields={**login.fields, **login.secrets},
        token=login.token,
        verifier=came.verifier,
        callback=told(params),
    )


def told(params: Mapping[str, str]) -> dict[str, str]:
    """Return what a callback said beside what it is made of (RFC 6749 §4.1.2, §4.2.2): no code, token or state."""
    return {name: value for name, value in params.items() if name not in _SINGLE | SECRET_TOKENS}


def _said(policy: Policy, refused: CallbackRefused) -> AuthorizationServerError:
    detail = refused.detail
    hint = None
    if refused.error == WRONG_ISSUER:
        log.warning("login.wrong_issuer", app=policy.name)
        hint = "If both are the same provider, its policy needs `issuer` in [auth.authorize]. Nothing was connected."
    elif refused.error not in (NO_CODE, WRONG_TOKEN):
        code = "" if refused.error in detail else f" ({refused.error})"
        detail = f"{policy.name} said: {detail}{code}"
    return AuthorizationServerError(Refusal(code="refresh_failed", detail=detail, hint=hint))


def _standard(policy: Policy | None, pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Return the parameters by their standard names, where the provider has others."""
    login = None if policy is None else policy.auth.authorize
    return pairs if login is None else as_standard(pairs, login.response)


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str] | None:
    """Return the parameters; None where one that matters is there twice (RFC 6749 §3.1 forbids it)."""
    params: dict[str, str] = {}
    for name, value in pairs:
        if name in params and name in _SINGLE:
            return None
        params[name] = value
    return params


def _refused(app: str, why: Refused) -> web.StreamResponse:
    if why in _TOLD:
        log.warning("login.refused", app=app, why=why.value)
    return see_other(f"{REFUSED}/{why.value}")
