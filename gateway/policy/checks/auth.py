"""Checks of [auth] and [test]: what each grant needs, where credentials may stand, and where they may be sent."""

import re
from collections.abc import Iterator, Mapping, Sequence

from gateway.policy.checks import urls
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, did_you_mean, key_path
from gateway.policy.model import Auth, Authorize, EnvSource, FieldSource, Grant, Inject, SecretSource, TokenEndpoint

_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ANSWER_PATH = re.compile(r"[^.\s{}\[\]]+(?:\.[^.\s{}\[\]]+)*")
_STANDARD = (
    "access_token",
    "refresh_token",
    "expires_in",
    "token_type",
    "scope",
    "id_token",
)  # RFC 6749 §5.1, and OpenID's
_NEEDS: dict[Grant, tuple[str, ...]] = {
    Grant.AUTHORIZATION_CODE: ("client_id", "authorize", "token"),
    Grant.IMPLICIT: ("client_id", "authorize"),
    Grant.PASSWORD: ("token",),
    Grant.CLIENT_CREDENTIALS: ("client_id", "client_secret", "token"),
    Grant.JWT_BEARER: ("assertion", "token"),
    Grant.JWT: ("assertion",),
    Grant.DEVICE_CODE: ("client_id", "device", "token"),
    Grant.CUSTOM: ("token",),
    Grant.OAUTH1: ("client_id", "client_secret", "request_token", "authorize", "token"),
}
_ASKED = ("request_token", "authorize", "device", "token", "exchange", "refresh", "revoke")
_TOKEN_ONLY = (*_ASKED, "assertion", "keep_alive")
_LOGINS = (Grant.AUTHORIZATION_CODE, Grant.IMPLICIT, Grant.OAUTH1)
_LEFT_OUT: dict[Grant, Mapping[str, str]] = {
    Grant.IMPLICIT: {"exchange": "whose token comes through the browser"},
    Grant.JWT_BEARER: {"refresh": "which asks anew; margin and default_ttl stand in [auth.token], too"},
    Grant.JWT: dict.fromkeys(("token", "exchange", "refresh", "revoke", "keep_alive"), "which asks nobody"),
    Grant.OAUTH1: dict.fromkeys(
        ("exchange", "refresh", "revoke", "assertion", "keep_alive"), "whose token lasts until the person takes it back"
    ),
}
"""What a grant has no use for, and why."""


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of how credentials are got and kept."""
    if draft.auth is None:
        return
    yield from _sections(draft.auth)
    yield from _credentials(draft, draft.auth)
    yield from _endpoints(draft, draft.auth)
    yield from _person(draft, draft.auth)


def _sections(auth: Auth) -> Iterator[Fault]:
    for name in _NEEDS.get(auth.grant, ()):
        if getattr(auth, name) is None and not (name == "client_secret" and _authenticates_without(auth)):
            what = (
                f"add [auth.{name}] with its {'url' if name in _ASKED else 'key'}" if name in _TOKEN_ONLY else "add it"
            )
            yield f"auth.{name}", f"is required for the grant {auth.grant}; {what}"
    if (
        auth.grant is Grant.AUTHORIZATION_CODE
        and auth.client_secret is None
        and auth.token
        and not _authenticates_without(auth)
    ):
        yield "auth.client_secret", 'is required; or say client_auth = "none" in [auth.token] for a public client'
    for name in ("token", "exchange", "refresh", "revoke"):
        if getattr(getattr(auth, name), "client_auth", None) == "tls" and auth.certificate is None:
            yield f"auth.{name}.client_auth", "is by a certificate, and there is no auth.certificate; add it"
    yield from _useless(auth)
    yield from _logins(auth)
    renews = auth.grant.has_token and "refresh" not in _LEFT_OUT.get(auth.grant, {})
    if auth.refresh and auth.refresh.url is None and auth.token is None and renews:
        yield "auth.refresh.url", "is required, as there is no [auth.token] to take it from"
    if auth.keep_alive is not None and auth.keep_alive <= 0:
        yield "auth.keep_alive", "must be more than nothing"


def _useless(auth: Auth) -> Iterator[Fault]:
    """Sections that the grant leaves out."""
    if not auth.grant.has_token:
        for name in _TOKEN_ONLY:
            if getattr(auth, name) is not None:
                yield f"auth.{name}", f"has no use for the grant {auth.grant}; leave it out or choose another grant"
    for name, why in _LEFT_OUT.get(auth.grant, {}).items():
        if getattr(auth, name) is not None:
            yield f"auth.{name}", f"has no use for the grant {auth.grant}, {why}; leave it out"


def _logins(auth: Auth) -> Iterator[Fault]:
    """Where a person allows it: one way alone."""
    if auth.device and auth.grant.has_token and auth.grant is not Grant.DEVICE_CODE:
        yield "auth.device", f"has no use for the grant {auth.grant}; leave it out, or choose the grant device_code"
    if auth.request_token and auth.grant.has_token and auth.grant is not Grant.OAUTH1:
        yield "auth.request_token", f"has no use for the grant {auth.grant}; leave it out, or choose the grant oauth1"
    if auth.authorize and auth.grant.has_token and auth.grant not in _LOGINS:
        yield "auth.authorize", f"has no use for the grant {auth.grant}, which has no login page; leave it out"


def _authenticates_without(auth: Auth) -> bool:
    """Whether the client shows who it is without a secret, or not at all."""
    by = auth.token.client_auth if auth.token else None
    return auth.grant is not Grant.OAUTH1 and by in ("jwt", "tls", "none")


def _credentials(draft: Draft, auth: Auth) -> Iterator[Fault]:
    for name, source in (
        ("client_id", auth.client_id),
        ("client_secret", auth.client_secret),
        ("certificate", auth.certificate),
        ("assertion.key", auth.assertion.key if auth.assertion else None),
    ):
        at = f"auth.{name}"
        match source:
            case str() if name != "client_id":
                right = f'write {{ secret = "{name.replace("assertion.key", "key")}" }} or {{ env = "NAME" }}'
                own = ', or { field = "…" } for the person\'s own' if "{{" in str(source) else ""
                yield at, f"is written as a text, and a policy never holds a secret; {right}{own}"
            case str() as text if "{{" in text:
                yield at, 'is no template; for a value of the person\'s own write { field = "…" }'
            case str() as text if not text.strip():
                yield at, "is empty"
            case EnvSource(env=env) if not _ENV.fullmatch(env):
                yield f"{at}.env", f"{env!r} is no name of an environment variable"
            case SecretSource(secret=secret) if not _SECRET_NAME.fullmatch(secret):
                yield f"{at}.secret", "must be a name of letters, digits, _ - and ., at most 64"
            case FieldSource(field=field):
                yield from _field_source(draft, name, field)


def _field_source(draft: Draft, name: str, field: str) -> Iterator[Fault]:
    at = f"auth.{name}.field"
    known = draft.by_name.get(field)
    if known is None:
        if field not in draft.field_names:
            yield at, urls.unknown_field(draft, field)
        return
    if known.source is not None:
        yield at, f"names the field {field}, which is found only when connecting; a client is known before"
    if known.once:
        yield at, f"names the field {field}, which is used once and never stored; renewing needs it again"
    if name != "client_id" and not known.secret:
        yield at, f"names the field {field}, which is not secret; add secret = true to it"
    if not known.required and known.default is None:
        yield at, f"names the field {field}, which may stay empty; make it required"


def _endpoints(draft: Draft, auth: Auth) -> Iterator[Fault]:
    for name in _ASKED:
        section = getattr(auth, name)
        if section is None or section.url is None:
            continue
        at = f"auth.{name}.url"
        url, faults = urls.read(section.url, at)
        yield from faults
        if url is not None:
            yield from urls.secure(url, at)
            yield from urls.host_fields(draft, url, at)
    for name in ("token", "exchange", "refresh"):
        section = getattr(auth, name)
        if section is not None:
            yield from _answer(section, f"auth.{name}")
    if auth.authorize:
        yield from _login(auth.authorize)
    if auth.device:
        yield from _scopes(auth.device.scopes, "auth.device")


def is_scope(text: str) -> bool:
    """Whether a text is one scope (RFC 6749 §3.3)."""
    return bool(text.strip()) and not re.search(r"[\s\"\\]", text)


def _scopes(scopes: Sequence[str], at: str) -> Iterator[Fault]:
    for number, scope in enumerate(scopes):
        if not is_scope(scope):
            yield f"{at}.scopes[{number}]", "must be one scope, without blanks or quotes; list each by itself"


def _login(login: Authorize) -> Iterator[Fault]:
    yield from _scopes(login.scopes, "auth.authorize")
    for scope, words in login.scope_words.items():
        at = key_path(("auth", "authorize", "scope_words", scope))
        if scope not in login.scopes:
            near = did_you_mean(scope, login.scopes)
            yield at, "is none of the scopes" + (f"; did you mean {near}?" if near else "; leave it out")
        elif not words.strip():
            yield at, "is empty; say what the scope lets programs do"
    if login.issuer is not None:
        url, faults = urls.read(login.issuer, "auth.authorize.issuer")
        yield from faults
        if url is not None:
            yield from urls.secure(url, "auth.authorize.issuer")
            if url.paths or "?" in login.issuer:  # RFC 8414 §2: "has no query or fragment components"
                yield "auth.authorize.issuer", "must be written out, without values and without a query"


def _answer(section: TokenEndpoint, at: str) -> Iterator[Fault]:
    for name, path in (section.response or {}).items():
        if name not in _STANDARD:
            near = did_you_mean(name, _STANDARD)
            yield (
                f"{at}.response.{name}",
                "is no standard name; "
                + (
                    f"did you mean {near}?"
                    if near
                    else f"known are {', '.join(_STANDARD)}, and all else is {{{{ token.… }}}} by itself"
                ),
            )
        elif not _ANSWER_PATH.fullmatch(path):
            yield f"{at}.response.{name}", "must be a path such as authed_user.access_token"
    for name in ("success_when", "error"):
        path = getattr(section, name)
        if path is not None and not _ANSWER_PATH.fullmatch(path):
            yield f"{at}.{name}", "must be a path into the answer, such as error.message"
    for name in ("margin", "default_ttl"):
        seconds = getattr(section, name)
        if seconds is not None and (seconds < 0 or (name == "default_ttl" and not seconds)):
            yield f"{at}.{name}", "must be a duration such as 60s"


def _person(draft: Draft, auth: Auth) -> Iterator[Fault]:
    """The fields that a grant sends by itself."""
    writes_header = any(name.lower() == "authorization" for name in (draft.inject or Inject()).headers)
    if auth.grant is Grant.PASSWORD or (auth.grant is Grant.BASIC and not writes_header):
        why = f"the grant {auth.grant} sends it"
        for name in ("username", "password"):
            field = draft.by_name.get(name)
            if name not in draft.field_names:
                yield "fields", f'has no field {name}, and {why}; add [[fields]] with name = "{name}"'
            elif field and not field.required and field.default is None:
                number = next(number for number, item in draft.fields if item is field)
                yield f"fields[{number}].required", f"must not be false: {why}"
        for number, field in draft.fields:
            if field.name == "password" and not field.secret:
                yield f"fields[{number}].secret", "must be true for a password"
