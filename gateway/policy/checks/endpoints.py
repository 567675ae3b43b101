"""Checks of how endpoints are spoken to: other names of what is standard, methods, formats, what a callback says."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.http.fields import folded_name
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, did_you_mean, key_path
from gateway.policy.model import Auth, Authorize, Grant, Script, refresh_endpoint
from gateway.policy.template import Template, TemplateInvalid
from gateway.policy.value import leaves

_CLIENT = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
_STANDARD = {
    "authorize": (
        *("response_type", "client_id", "redirect_uri", "scope", "state"),
        *("code_challenge", "code_challenge_method"),
    ),
    "token": (
        *("grant_type", "code", "redirect_uri", "code_verifier", "username", "password", "assertion", "scope"),
        *("device_code", "refresh_token", "access_token", *_CLIENT),
    ),
    "refresh": ("grant_type", "refresh_token", "access_token", *_CLIENT),
    "revoke": ("token", "token_type_hint", *_CLIENT),
}
"""The standard parameters of each endpoint, which `names` may name."""
_ALIEN: Mapping[str, tuple[str, ...]] = {
    "authorize": ("issuer", "scopes", "scope_words", "scope_separator", "pkce", "names", "response"),
    "token": ("client_auth", "names", "response", "expires", "margin", "default_ttl"),
}
"""What OAuth 1.0a has nothing of."""
_CALLBACK = ("code", "state", "error", "error_description")
_NAME = re.compile(r"[^\s{}]+")
_ROUTE = re.compile(r"[^\s?#{}]+")
_BODILESS = ("GET", "DELETE")


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of how the endpoints of [auth] are spoken to."""
    auth = draft.auth
    if auth is None:
        return
    if auth.grant is Grant.OAUTH1:
        yield from _signed(auth)
    for section in ("authorize", "token", "exchange", "refresh", "revoke"):
        model = getattr(auth, section)
        if model is None:
            continue
        if section == "exchange" or (auth.grant is Grant.CUSTOM and section != "revoke"):
            yield from _without_standard(model, section)
        elif auth.grant is not Grant.OAUTH1:
            yield from _names(model.names or {}, model.params or {}, section)
        if section != "authorize":
            yield from _encoding(auth, section)
    if auth.authorize:
        yield from _login(auth.authorize)
    yield from _renewal(auth)


def _names(names: Mapping[str, str], params: Mapping[str, Any], section: str) -> Iterator[Fault]:
    known = _STANDARD[section]
    for name, own in names.items():
        at = key_path(("auth", section, "names", name))
        if name not in known:
            near = did_you_mean(name, known)
            right = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
            yield at, f"is no standard parameter here; {right}"
        elif not _NAME.fullmatch(own):
            yield at, "must be the provider's name for it, without blanks"
        elif list(names.values()).count(own) > 1:
            yield at, f"is called {own}, as another is; each needs its own name"
        elif own in params:
            yield key_path(("auth", section, "params", own)), f"is what {name} is called here; leave it out"
        elif params.get(name, False) is not False:
            yield (
                key_path(("auth", section, "params", name)),
                f"is called {own} here (names); write that, or leave it out",
            )


def _without_standard(model: Any, section: str) -> Iterator[Fault]:
    """A request that sends what the policy says and nothing else."""
    for key in ("names", "client_auth", *(("margin",) if section == "exchange" else ())):
        if key in model.model_fields_set and getattr(model, key) != "none":
            yield f"auth.{section}.{key}", "has no use: this request has no parameters but params, and headers"


def _signed(auth: Auth) -> Iterator[Fault]:
    """The three steps of OAuth 1.0a, whose own parameters are in the header that is signed."""
    for section in ("request_token", "authorize", "token"):
        model = getattr(auth, section)
        for key in _ALIEN.get(section, ()):
            if model is not None and key in model.model_fields_set:
                yield f"auth.{section}.{key}", "has no use for the grant oauth1, whose protocol has no such thing"
        for name, value in (model.params if model else {}).items():
            at = key_path(("auth", section, "params", name))
            if name.lower().startswith("oauth_"):
                yield at, "is the protocol's own, and made anew each time; leave it out"
            elif section == "request_token" and isinstance(value, Mapping | list):
                yield at, "is a table or a list, and a form has texts alone"
    for name in auth.token.headers if auth.token else ():
        if folded_name(name.encode()) == b"authorization":
            yield key_path(("auth", "token", "headers", name)), "is what the signature stands in; leave it out"
    if auth.token and auth.token.format == "json":
        yield "auth.token.format", 'must be "form" or "query" for the grant oauth1, which signs no JSON'


def _encoding(auth: Auth, section: str) -> Iterator[Fault]:
    own = getattr(auth, section)
    model = refresh_endpoint(auth) if section == "refresh" else own
    if model is None or (section == "refresh" and own.method is own.format is own.params is None):
        return  # said already, or as in [auth.token]
    if model.method in _BODILESS and model.format != "query":
        yield f"auth.{section}.method", f'{model.method} has no body for the parameters; say format = "query"'
    for name, value in model.params.items():
        if isinstance(value, Mapping | list) and model.format != "json":
            at = key_path(("auth", section, "params", name))
            yield at, 'is a table or a list, which only JSON has; say format = "json"'


def _login(login: Authorize) -> Iterator[Fault]:
    for name, own in login.response.items():
        at = f"auth.authorize.response.{key_path([name])}"
        if name not in _CALLBACK:
            near = did_you_mean(name, _CALLBACK)
            yield (
                at,
                "is nothing that a callback has; "
                + (f"did you mean {near}?" if near else f"known are {', '.join(_CALLBACK)}"),
            )
        elif not _NAME.fullmatch(own):
            yield at, "must be the provider's name for it, without blanks"
        elif list(login.response.values()).count(own) > 1:
            yield at, f"is called {own}, as another is; each needs its own name"
    if login.fragment is not None and not _ROUTE.fullmatch(login.fragment):
        yield "auth.authorize.fragment", "must be a route such as /oauth, without blanks, ? and #"


def _renewal(auth: Auth) -> Iterator[Fault]:
    """A grant of its own says itself what it renews with."""
    endpoint = refresh_endpoint(auth)
    if auth.grant is not Grant.CUSTOM or auth.refresh is None or endpoint is None:
        return
    kind = auth.refresh.token
    if not _says(endpoint.params, kind) and not _says(endpoint.headers, kind) and not _says(endpoint.url, kind):
        right = f'write params = {{ {kind} = "{{{{ {kind} }}}}" }}'
        anew = "then it is asked anew, and margin and default_ttl stand in [auth.token], too"
        yield "auth.refresh", f"names no {kind} to renew with; {right}, or leave it out: {anew}"


def _says(value: Any, name: str) -> bool:
    for _, leaf in leaves(value, ""):
        if isinstance(leaf, Script):
            return True
        try:
            if any(path[-1] == name for path in Template.parse(leaf).paths):
                return True
        except TemplateInvalid:
            return True  # said already
    return False
