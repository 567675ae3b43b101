"""From a policy's words to the plain values of `oauth`: every template and script of [auth] rendered.

A script may take 50 ms, and a signature with RSA one or two: whoever calls this does it in a thread. What goes wrong is
a `ValueError` without a secret: a missing value, a URL that is none with its values, a script, a key that can't sign.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from gateway.oauth.assertion import Signed, Statement, sign
from gateway.oauth.authorize import AuthorizationEndpoint
from gateway.oauth.endpoint import ClientCredentials, Endpoint, ParamValue
from gateway.policy.context import Context
from gateway.policy.model import (
    Assertion,
    Authorize,
    DeviceEndpoint,
    Grant,
    Policy,
    RequestTokenEndpoint,
    RevokeEndpoint,
    Script,
    TokenEndpoint,
)
from gateway.policy.moment import moment
from gateway.policy.template import MissingValue
from gateway.policy.url import UrlTemplate
from gateway.policy.value import is_left_out, leaves, render_json, render_text
from gateway.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What the gateway itself brings to one request: the client, its key and certificate, the time, and random bytes.

    Of these there are `ENTROPY`.
    """

    client: ClientCredentials | None
    key: Secret | None
    certificate: Secret | None
    now: float
    random: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An endpoint to be asked, the client that asks, and what it has signed for this."""

    endpoint: Endpoint
    client: ClientCredentials | None
    signed: Signed | None


Described = TokenEndpoint | RevokeEndpoint | DeviceEndpoint | RequestTokenEndpoint
"""The parts of [auth] that are asked something."""


def prepare(policy: Policy, described: Described, context: Context, own: Own) -> Prepared:
    """Render an endpoint's templates. Raises `ValueError`."""
    context = with_own(context, own)
    signed = signed_by(policy, context, own)
    client = own.client
    if signed is not None:
        context = replace(context, assertion=signed.token)
        client = None if client is None else replace(client, assertion=signed.token)
    endpoint = replace(_endpoint(policy, described, context), certificate=own.certificate)
    return Prepared(endpoint=endpoint, client=client, signed=signed)


def render_login(policy: Policy, described: Authorize, context: Context, own: Own) -> AuthorizationEndpoint:
    """Render the login URL. It goes through the person's browser, so no secret may stand in it. Raises `ValueError`."""
    public = None if own.client is None else replace(own.client, client_secret=None)
    context = with_own(context, replace(own, client=public))
    seen = len(context.used)
    url = UrlTemplate.parse(described.url).render(context)
    params: dict[str, str | Literal[False]] = _each(
        policy, described.params, lambda value: False if value is False else render_text(value, context)
    )
    if len(context.used) > seen:
        raise ValueError("a secret stands in the login URL, which everybody between could read")
    return AuthorizationEndpoint(
        url=url,
        response_type="token" if policy.auth.grant is Grant.IMPLICIT else "code",
        scopes=described.scopes,
        scope_separator=described.scope_separator,
        pkce=described.pkce,
        params=params,
        names=described.names,
        fragment=described.fragment,
    )


def with_own(context: Context, own: Own) -> Context:
    """Return the values with what templates of [auth] may name beside: `app` and `request`."""
    app: dict[str, str | Secret] = {}
    if own.client is not None:
        app["client_id"] = own.client.client_id
        if own.client.client_secret is not None:
            app["client_secret"] = own.client.client_secret
    return replace(context, app=app, request=moment(own.now, own.random))


def signed_by(policy: Policy, context: Context, own: Own) -> Signed | None:
    """Return what [auth.assertion] says, signed; None: the policy has none. Raises `ValueError`."""
    described = policy.auth.assertion
    if described is None or own.key is None:
        return None
    statement = _statement(policy, described, _public(context))
    return sign(statement, own.key, now=own.now, unique=own.random.hex())


def _public(context: Context) -> Context:
    """Return the values without the client's secret: who reads the statement isn't always its provider."""
    return replace(context, app={name: value for name, value in context.app.items() if isinstance(value, str)})


def _statement(policy: Policy, described: Assertion, context: Context) -> Statement:
    client_id = context.app.get("client_id")
    standing = client_id if isinstance(client_id, str) else None
    url = None if policy.auth.token is None else policy.auth.token.url
    given = {name: getattr(described, name) for name in ("key_id", "issuer", "subject", "audience")}
    given = {name: value for name, value in given.items() if value is not None}
    texts = _each(policy, given, lambda value: render_text(value, context))
    if url is not None and described.audience is None:
        texts["audience"] = UrlTemplate.parse(url).render(context)
    return Statement(
        algorithm=described.algorithm,
        key_encoding=described.key_encoding,
        key_id=texts.get("key_id"),
        issuer=texts.get("issuer", standing),
        subject=texts.get("subject", standing),
        audience=texts.get("audience"),
        lifetime=described.lifetime,
        claims=_each(policy, described.claims, lambda value: render_json(value, context)),
        headers=_each(policy, described.headers, lambda value: render_text(value, context)),
    )


def _endpoint(policy: Policy, described: Described, context: Context) -> Endpoint:
    seen = len(context.used)
    url = UrlTemplate.parse(described.url).render(context)
    params = _each(policy, described.params, lambda value: _param(value, context))
    if isinstance(described, RequestTokenEndpoint):
        return Endpoint(url=url, params=params, secrets=tuple(context.used[seen:]))
    if isinstance(described, DeviceEndpoint):  # RFC 8628 §3.1: the client authenticates as at the token endpoint
        client_auth = policy.auth.token.client_auth if policy.auth.token else "none"
        return Endpoint(url=url, client_auth=client_auth, params=params, secrets=tuple(context.used[seen:]))
    headers = _each(policy, described.headers, lambda value: _value(value, context))
    secrets = tuple(context.used[seen:])
    if isinstance(described, RevokeEndpoint):
        standing = policy.auth.token.client_auth if policy.auth.token else "basic"
        return Endpoint(
            url=url,
            method=described.method,
            client_auth=described.client_auth or standing,
            format=described.format,
            params=params,
            names=described.names,
            headers=headers,
            secrets=secrets,
        )
    return Endpoint(
        url=url,
        method=described.method,
        client_auth=described.client_auth,
        format=described.format,
        params=params,
        names=described.names,
        headers=headers,
        response=described.response,
        expires=described.expires,
        success_when=described.success_when,
        error=described.error,
        default_ttl=_default_ttl(policy, described),
        secrets=secrets,
    )


def _default_ttl(policy: Policy, described: TokenEndpoint) -> float | None:
    """Return how long a token holds whose answer doesn't say: what an exchange gives has its own time."""
    if described is policy.auth.exchange and described.default_ttl is not None:
        return described.default_ttl
    return None if policy.refresh_endpoint is None else policy.refresh_endpoint.default_ttl


def _each(policy: Policy, values: Mapping[str, Any], render: Callable[[Any], T]) -> dict[str, T]:
    """Render values by their names; what needs a field that isn't there, and may be left out, is left out with it."""
    rendered: dict[str, T] = {}
    for name, value in values.items():
        try:
            rendered[name] = render(value)
        except MissingValue as error:
            if not is_left_out(policy, error):
                raise
    return rendered


def _param(value: Any, context: Context) -> ParamValue:
    if value is False:
        return False
    if isinstance(value, str | Script):
        return _value(value, context)
    for _, leaf in leaves(value, ""):  # a table: each text of it that holds a secret is one itself
        text = None if isinstance(leaf, Script) else _value(leaf, context)
        if isinstance(text, Secret):
            context.used.append(text)
    table: dict[str, Any] | list[Any] = render_json(value, context)
    return table


def _value(value: str | Script, context: Context) -> str | Secret:
    """Return the text, as a `Secret` if one went into it."""
    seen = len(context.used)
    text = render_text(value, context)
    return Secret(text) if len(context.used) > seen else text
