"""The policy file as frozen values, key for key as in the reference. `checks` looks at what they say together."""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic import Field as Key

from gateway.duration import Duration
from gateway.policy.kinds import (
    BodyValue,
    CredentialSource,
    EnvSource,
    FieldSource,
    FileSource,
    Param,
    Script,
    SecretSource,
    StrictModel,
    TokenParam,
    Value,
)
from gateway.policy.limits import Limits, Quota, Retry

__all__ = [
    "Allow",
    "Assertion",
    "Auth",
    "Authorize",
    "BodyValue",
    "ConnectionRules",
    "CredentialSource",
    "DeviceEndpoint",
    "EnvSource",
    "Example",
    "Expect",
    "Field",
    "FieldSource",
    "FileSource",
    "Grant",
    "Inject",
    "Limits",
    "Lookup",
    "Param",
    "Policy",
    "Quota",
    "RefreshEndpoint",
    "RequestTokenEndpoint",
    "Retry",
    "RevokeEndpoint",
    "Script",
    "SecretSource",
    "Sign",
    "TestCall",
    "TokenEndpoint",
    "Value",
    "refresh_endpoint",
]

T = TypeVar("T")
DEFAULT_MARGIN = 60.0  # seconds; a request takes less, so a token that leaves here valid arrives valid


def _as_tuple(value: Any) -> Any:
    """TOML has lists; a frozen value has tuples."""
    return tuple(value) if isinstance(value, list) else value


Tuple = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


class Grant(StrEnum):
    """How a connection gets its credentials."""

    AUTHORIZATION_CODE = "authorization_code"
    IMPLICIT = "implicit"
    PASSWORD = "password"  # noqa: S105  the grant's name, RFC 6749 §4.3
    CLIENT_CREDENTIALS = "client_credentials"
    JWT_BEARER = "jwt_bearer"
    JWT = "jwt"
    DEVICE_CODE = "device_code"
    OAUTH1 = "oauth1"
    CUSTOM = "custom"
    API_KEY = "api_key"
    BASIC = "basic"
    NONE = "none"

    @property
    def has_token(self) -> bool:
        """Whether a token endpoint (for implicit, the authorization endpoint; for jwt, the gateway) gives a token."""
        return self not in (Grant.API_KEY, Grant.BASIC, Grant.NONE)


def _as_grant(value: Any) -> Grant:
    if isinstance(value, str) and value in tuple(Grant):
        return Grant(value)
    near = difflib.get_close_matches(str(value), list(Grant), n=1)
    raise ValueError(f"did you mean {near[0]!s}?" if near else f"must be one of {', '.join(Grant)}")


class Allow(StrictModel):
    """Where this app's credentials may go."""

    urls: Tuple[str]
    methods: Tuple[str] | None = None
    deny: Tuple[str] = ()
    connect_ports: Tuple[int] | None = None
    cookies: bool = False
    scrub_body: bool = False


class Field(StrictModel):
    """One thing the person fills in when connecting, or that is found then: `source`, `from` in the file.

    `kind` says what it is: a `host` may have a port, a `url` is https and has neither query nor fragment. Where one of
    these stands for a whole host, it must be one of `domains` or below one, if there are any. `prefix` and `suffix` are
    shown around the input, and are no part of the value; a `hidden` one isn't asked for and has its default.
    """

    name: str
    label: str = ""
    help: str = ""
    kind: Literal["text", "host", "url", "email", "uuid"] = "text"
    domains: Tuple[str] = ()
    choices: Tuple[str] | None = None
    pattern: str | None = None
    default: str | None = None
    required: bool = True
    secret: bool = False
    once: bool = False
    hidden: bool = False
    example: str = ""
    docs: str = ""
    prefix: str = ""
    suffix: str = ""
    group: str = ""
    source: Annotated[Value | None, Key(alias="from")] = None

    @property
    def is_asked(self) -> bool:
        """Whether the person fills it in."""
        return self.source is None and not self.hidden

    @model_validator(mode="before")
    @classmethod
    def _label_from_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("label") and isinstance(data.get("name"), str):
            return {**data, "label": data["name"].replace("_", " ").strip().capitalize()}
        return data


class Authorize(StrictModel):
    """The authorization endpoint (RFC 6749 §3.1).

    `issuer` is what the provider calls itself in `iss` (RFC 9207); without it, an `iss` must be at the URL's origin.
    `scope_words` says in a person's words what a scope lets programs do. `names` and `response` map a standard name to
    the provider's own, in the request and in the callback; `fragment` is a route of the provider's page, behind `#`,
    behind which the parameters stand.
    """

    url: str
    issuer: str | None = None
    scopes: Tuple[str] = ()
    scope_words: Mapping[str, str] = {}
    scope_separator: Literal[" ", ",", "+", ";", ":", "|"] = " "
    pkce: Literal["S256", "plain", "off"] = "S256"
    params: Mapping[str, Param] = {}
    names: Mapping[str, str] = {}
    fragment: str | None = None
    response: Mapping[str, str] = {}


ClientAuth = Literal["basic", "body", "jwt", "tls", "none"]
"""How the client proves who it is: RFC 6749 §2.3.1 in its two ways, a signed assertion (RFC 7523 §2.2), or the
certificate that it shows in TLS (RFC 8705 §2)."""
Format = Literal["form", "json", "query"]
"""How a request's parameters are encoded; `query`: they go into the URL."""
Expires = Literal["seconds", "milliseconds", "at", "at_milliseconds", "date", "duration"]
"""How an end is written: a span, a time of the epoch, a date (ISO 8601, or HTTP's), or a duration (`PT1H`, `1h`)."""


class TokenEndpoint(StrictModel):
    """The token endpoint (RFC 6749 §3.2). `margin` and `default_ttl` are seconds.

    `names` maps a standard parameter to the provider's name of it; `expires` says how the answer's `expires_in` is
    written. Without a `default_ttl`, a token whose answer names no end lasts until its JWT's `exp`, or until a 401.
    """

    url: str
    method: Literal["POST", "GET", "PUT"] = "POST"
    client_auth: ClientAuth = "basic"
    format: Format = "form"
    params: Mapping[str, TokenParam] = {}
    names: Mapping[str, str] = {}
    headers: Mapping[str, Value] = {}
    expires: Expires = "seconds"
    response: Mapping[str, str] = {}
    success_when: str | None = None
    error: str | None = None
    margin: Duration = DEFAULT_MARGIN
    default_ttl: Duration | None = None


class RefreshEndpoint(StrictModel):
    """What differs from the token endpoint when refreshing; None: as there. Use `Policy.refresh_endpoint`.

    `token` is what is sent: some renew with the access token itself. `extends`: the answer may hold no new token, the
    old one lasts longer then.
    """

    url: str | None = None
    token: Literal["refresh_token", "access_token"] = "refresh_token"  # noqa: S105  which one, not its value
    extends: bool = False
    method: Literal["POST", "GET", "PUT"] | None = None
    client_auth: ClientAuth | None = None
    format: Format | None = None
    params: Mapping[str, TokenParam] | None = None
    names: Mapping[str, str] | None = None
    headers: Mapping[str, Value] | None = None
    expires: Expires | None = None
    response: Mapping[str, str] | None = None
    success_when: str | None = None
    error: str | None = None
    margin: Duration | None = None
    default_ttl: Duration | None = None


class RevokeEndpoint(StrictModel):
    """The revocation endpoint (RFC 7009). `client_auth` None: as at the token endpoint."""

    url: str
    method: Literal["POST", "GET", "DELETE"] = "POST"
    token: Literal["access_token", "refresh_token"] = "access_token"  # noqa: S105  which one, not its value
    client_auth: ClientAuth | None = None
    format: Format = "form"
    params: Mapping[str, TokenParam] = {}
    names: Mapping[str, str] = {}
    headers: Mapping[str, Value] = {}


class DeviceEndpoint(StrictModel):
    """The device authorization endpoint (RFC 8628 §3.1)."""

    url: str
    scopes: Tuple[str] = ()
    scope_separator: Literal[" ", ",", "+", ";", ":", "|"] = " "
    params: Mapping[str, TokenParam] = {}


class RequestTokenEndpoint(StrictModel):
    """Where OAuth 1.0a gives the token that a login begins with (RFC 5849 §2.1): "temporary credentials"."""

    url: str
    params: Mapping[str, TokenParam] = {}


class Assertion(StrictModel):
    """A signed statement, a JWT (RFC 7523 §3): `{{ assertion }}` in [auth.token], and what the JWT grants send.

    `key` is a private key as PEM, or for HS256 and its kin the shared secret as `key_encoding` says. Without them
    `issuer` and `subject` are the client's id and `audience` the token URL; `lifetime` is in seconds. `claims` and
    `headers` are added.
    """

    algorithm: Literal[
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
        "HS256",
        "HS384",
        "HS512",
    ] = "RS256"
    key: CredentialSource
    key_encoding: Literal["text", "base64", "hex"] = "text"
    key_id: Value | None = None
    issuer: Value | None = None
    subject: Value | None = None
    audience: Value | None = None
    lifetime: Duration = 300.0
    claims: Mapping[str, BodyValue] = {}
    headers: Mapping[str, Value] = {}


class Auth(StrictModel):
    """How a connection gets and keeps its credentials. `keep_alive`, seconds: refreshed so often, used or not.

    `certificate` is PEM, a chain with its key: it is shown in TLS wherever the app's credentials go (RFC 8705).
    `exchange` is a second request that turns the token of the first into one that lasts. `request_token` is for the
    grant oauth1, whose client is called a consumer: its key is `client_id`, its secret `client_secret`.
    """

    grant: Annotated[Grant, BeforeValidator(_as_grant)]
    client_id: CredentialSource | None = None
    client_secret: CredentialSource | None = None
    certificate: CredentialSource | None = None
    authorize: Authorize | None = None
    device: DeviceEndpoint | None = None
    request_token: RequestTokenEndpoint | None = None
    assertion: Assertion | None = None
    token: TokenEndpoint | None = None
    exchange: TokenEndpoint | None = None
    refresh: RefreshEndpoint | None = None
    revoke: RevokeEndpoint | None = None
    keep_alive: Duration | None = None


class Expect(StrictModel):
    """What a good answer of the test API looks like: one of the statuses (empty: any 2xx), a path that is there."""

    status: Tuple[int] = ()
    path: str | None = None


class Lookup(StrictModel):
    """A call that is made once on connecting, before the test; its answer is `lookup` in fields that have a `from`."""

    url: str
    method: str = "GET"
    headers: Mapping[str, Value] = {}
    format: Literal["json", "form"] = "json"
    body: Mapping[str, BodyValue] = {}
    expect: Expect = Expect()


class TestCall(Lookup):
    """The test API: run once on connecting; its answer is `test` in templates."""

    __test__: ClassVar[bool] = False  # not one of pytest's


class ConnectionRules(StrictModel):
    """How a connection is shown, and what tells two accounts apart."""

    label: Value | None = None
    unique_id: Value | None = None
    mask: bool = False


class Inject(StrictModel):
    """What is added to every request; `defaults` are headers that are added where the caller has sent none."""

    headers: Mapping[str, Value] = {}
    defaults: Mapping[str, Value] = {}
    query: Mapping[str, Value] = {}
    body: Mapping[str, BodyValue] = {}


class Sign(StrictModel):
    """A signature that is made anew for each request.

    `hmac`: over `text`, and `{{ signature }}` in [inject] is what comes of it, as `encoding` says; `key` is read as
    `key_encoding` says. `aws4`: AWS Signature Version 4, in Authorization and X-Amz-Date. `oauth1`: RFC 5849 §3.4, in
    Authorization; with the grant oauth1, what it leaves out of key, token and their secrets is the client's own and the
    token's.
    """

    scheme: Literal["hmac", "aws4", "oauth1"]
    algorithm: Literal["sha256", "sha1", "sha384", "sha512", "md5"] | None = None
    text: Value | None = None
    key: Value | None = None
    key_encoding: Literal["text", "base64", "hex"] = "text"
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    service: Value | None = None
    region: Value | None = None
    access_key_id: Value | None = None
    secret_access_key: Value | None = None
    session_token: Value | None = None
    consumer_key: Value | None = None
    consumer_secret: Value | None = None
    token: Value | None = None
    token_secret: Value | None = None
    realm: Value | None = None


class Example(StrictModel):
    """A URL and what must be decided about it, with these values of fields; one that isn't there may be anything."""

    url: str
    method: str = "GET"
    fields: Mapping[str, str] = {}
    allowed: bool


class Policy(StrictModel):
    """One app."""

    name: Annotated[str, AfterValidator(_not_blank)]
    base_url: str | None = None
    allow: Allow
    fields: Tuple[Field] = ()
    auth: Auth
    lookup: Lookup | None = None
    test: TestCall | None = None
    connection: ConnectionRules = ConnectionRules()
    inject: Inject = Inject()
    sign: Sign | None = None
    limits: Limits | None = None
    retry: Retry | None = None
    examples: Tuple[Example] = ()

    @property
    def refresh_endpoint(self) -> TokenEndpoint | None:
        """Where and how tokens are renewed: [auth.refresh], and what it leaves out from [auth.token]."""
        return refresh_endpoint(self.auth)


def refresh_endpoint(auth: Auth) -> TokenEndpoint | None:
    """Merge [auth.refresh] over [auth.token]; None where neither names a URL."""
    merged: dict[str, Any] = dict(auth.token) if auth.token else {}
    if auth.refresh:
        merged |= {key: value for key, value in auth.refresh if value is not None and key not in ("token", "extends")}
    if auth.token and (auth.refresh is None or auth.refresh.params is None) and auth.token.params.get("grant_type"):
        # Another grant's name isn't that of the renewal.
        merged["params"] = {name: value for name, value in auth.token.params.items() if name != "grant_type"}
    return TokenEndpoint.model_construct(**merged) if merged.get("url") else None
