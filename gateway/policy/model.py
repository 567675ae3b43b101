"""The policy file as frozen values, key for key as in the reference. `checks` looks at what they say together."""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, model_validator

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
    Value,
)
from gateway.policy.limits import Limits, Quota, Retry

__all__ = [
    "Allow",
    "Auth",
    "Authorize",
    "BodyValue",
    "ConnectionRules",
    "CredentialSource",
    "EnvSource",
    "Example",
    "Expect",
    "Field",
    "FieldSource",
    "FileSource",
    "Grant",
    "Inject",
    "Limits",
    "Param",
    "Policy",
    "Quota",
    "RefreshEndpoint",
    "Retry",
    "RevokeEndpoint",
    "Script",
    "SecretSource",
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
    API_KEY = "api_key"
    BASIC = "basic"
    NONE = "none"

    @property
    def has_token(self) -> bool:
        """Whether a token endpoint (or, for implicit, the authorization endpoint) answers with a token."""
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
    """One thing the person fills in when connecting."""

    name: str
    label: str = ""
    help: str = ""
    choices: Tuple[str] | None = None
    pattern: str | None = None
    default: str | None = None
    required: bool = True
    secret: bool = False
    once: bool = False

    @model_validator(mode="before")
    @classmethod
    def _label_from_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("label") and isinstance(data.get("name"), str):
            return {**data, "label": data["name"].replace("_", " ").strip().capitalize()}
        return data


class Authorize(StrictModel):
    """The authorization endpoint (RFC 6749 §3.1).

    `issuer` is what the provider calls itself in `iss` (RFC 9207); without it, an `iss` must be at the URL's origin.
    `scope_words` says in a person's words what a scope lets programs do.
    """

    url: str
    issuer: str | None = None
    scopes: Tuple[str] = ()
    scope_words: Mapping[str, str] = {}
    scope_separator: Literal[" ", ","] = " "
    pkce: Literal["S256", "plain", "off"] = "S256"
    params: Mapping[str, Param] = {}


class TokenEndpoint(StrictModel):
    """The token endpoint (RFC 6749 §3.2). `margin` and `default_ttl` are seconds.

    Without a `default_ttl`, a token whose answer names no end lasts until its JWT's `exp`, or until a 401.
    """

    url: str
    client_auth: Literal["basic", "body", "none"] = "basic"
    format: Literal["form", "json"] = "form"
    params: Mapping[str, Param] = {}
    headers: Mapping[str, Value] = {}
    response: Mapping[str, str] = {}
    success_when: str | None = None
    error: str | None = None
    margin: Duration = DEFAULT_MARGIN
    default_ttl: Duration | None = None


class RefreshEndpoint(StrictModel):
    """What differs from the token endpoint when refreshing; None: as there. Use `Policy.refresh_endpoint`."""

    url: str | None = None
    client_auth: Literal["basic", "body", "none"] | None = None
    format: Literal["form", "json"] | None = None
    params: Mapping[str, Param] | None = None
    headers: Mapping[str, Value] | None = None
    response: Mapping[str, str] | None = None
    success_when: str | None = None
    error: str | None = None
    margin: Duration | None = None
    default_ttl: Duration | None = None


class RevokeEndpoint(StrictModel):
    """The revocation endpoint (RFC 7009). `client_auth` None: as at the token endpoint."""

    url: str
    token: Literal["access_token", "refresh_token"] = "access_token"  # noqa: S105  which one, not its value
    client_auth: Literal["basic", "body", "none"] | None = None
    params: Mapping[str, Param] = {}
    headers: Mapping[str, Value] = {}


class Auth(StrictModel):
    """How a connection gets and keeps its credentials. `keep_alive`, seconds: refreshed so often, used or not."""

    grant: Annotated[Grant, BeforeValidator(_as_grant)]
    client_id: CredentialSource | None = None
    client_secret: CredentialSource | None = None
    authorize: Authorize | None = None
    token: TokenEndpoint | None = None
    refresh: RefreshEndpoint | None = None
    revoke: RevokeEndpoint | None = None
    keep_alive: Duration | None = None


class Expect(StrictModel):
    """What a good answer of the test API looks like: one of the statuses (empty: any 2xx), a path that is there."""

    status: Tuple[int] = ()
    path: str | None = None


class TestCall(StrictModel):
    """The test API: run once on connecting; its answer is `test` in templates."""

    __test__: ClassVar[bool] = False  # not one of pytest's

    url: str
    method: str = "GET"
    headers: Mapping[str, Value] = {}
    body: Mapping[str, BodyValue] = {}
    expect: Expect = Expect()


class ConnectionRules(StrictModel):
    """How a connection is shown, and what tells two accounts apart."""

    label: Value | None = None
    unique_id: Value | None = None
    mask: bool = False


class Inject(StrictModel):
    """What is added to every request."""

    headers: Mapping[str, Value] = {}
    query: Mapping[str, Value] = {}
    body: Mapping[str, BodyValue] = {}


class Example(StrictModel):
    """A URL and what must be decided about it."""

    url: str
    method: str = "GET"
    allowed: bool


class Policy(StrictModel):
    """One app."""

    name: Annotated[str, AfterValidator(_not_blank)]
    base_url: str | None = None
    allow: Allow
    fields: Tuple[Field] = ()
    auth: Auth
    test: TestCall | None = None
    connection: ConnectionRules = ConnectionRules()
    inject: Inject = Inject()
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
        merged |= {key: value for key, value in auth.refresh if value is not None}
    return TokenEndpoint.model_construct(**merged) if merged.get("url") else None
