"""What the admin API is sent and what it answers. Times are RFC 3339 in UTC.

Durations are seconds or a text such as `90d`. What is sent is strict: unknown members and wrong types are faults, each
named with its path. What is answered has no place for a secret: the one exception is `ClientCreated.token`, which is
shown once.

Each model's validator is built when it is first used (`defer_build`): a server is ready before anybody asks.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from gateway.duration import parse_duration
from gateway.policy.load import APP
from gateway.store.rows import Status

MAX_PAGE = 200
DEFAULT_PAGE = 50
MAX_LIFETIME = 10 * 365 * 86_400
MAX_LINK_LIFETIME = 7 * 86_400
_TEXT = 16_384
"""Characters of the longest single value: an RSA key in a field fits, a file doesn't."""


def time_of(epoch: float | None) -> datetime | None:
    """Return seconds since the epoch as an aware UTC time."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def _no_nul(value: str) -> str:
    if "\x00" in value:  # PostgreSQL can't keep it, and no value needs it
        raise ValueError("a NUL character can't stand here")
    return value


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Text = Annotated[str, StringConstraints(max_length=_TEXT), AfterValidator(_no_nul)]
AppId = Annotated[str, StringConstraints(pattern=f"^{APP.pattern}$"), Field(examples=["github"])]
ConnectionId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Field(examples=["crm-ann"])
]
ClientName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Field(examples=["runner"])]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~*-]{1,128}$"), Field(examples=["crm-*"])]
Method = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$")]
_LIFETIME_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "description": "Seconds."},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$", "examples": ["30m", "90d"]},
    ]
}
Lifetime = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=MAX_LIFETIME, allow_inf_nan=False),
    WithJsonSchema(_LIFETIME_SCHEMA),
]
Moment = datetime | None

Item = TypeVar("Item")


class Sent(BaseModel):
    """Something that a caller sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Answered(BaseModel):
    """Something that the API answers."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ListOf(Answered, Generic[Item]):
    """One page of a list. `next` is the cursor of the page behind it, null at the end."""

    items: list[Item]
    next: str | None


class Fault(Answered):
    """One fault of what was sent."""

    path: str
    message: str


class ProblemDetails(Answered):
    """RFC 9457. `code` is for programs, `detail` and `hint` are for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    hint: str | None = None
    errors: list[Fault] | None = None


# Queries. They are read from text, so they are not strict.


class Query(BaseModel):
    """The parameters of a request's query."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class PageQuery(Query):
    """How much of a list, and from where."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    cursor: Annotated[str, StringConstraints(max_length=512), AfterValidator(_no_nul)] | None = None


class ConnectionsQuery(PageQuery):
    """Which connections. `search` looks in ids and labels."""

    app: AppId | None = None
    status: Status | None = None
    search: Annotated[str, StringConstraints(max_length=200), AfterValidator(_no_nul)] | None = None


class EventsQuery(PageQuery):
    """Which events."""

    app: AppId | None = None
    connection: ConnectionId | None = None
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z_.]{1,64}$")] | None = None


class RequestsQuery(PageQuery):
    """Which requests; `status` is the one that was answered, `code` the gateway's own."""

    app: AppId | None = None
    connection: ConnectionId | None = None
    client: ClientName | None = None
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    code: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")] | None = None


# Apps.


class FieldOfApp(Answered):
    """A value that a person fills in when connecting; `asked` is false for one that isn't asked for.

    Such a one has its default, or is found when connecting. `prefix` and `suffix` are shown around the input, and are
    no part of the value; of `domains`, a host is one or below one.
    """

    name: str
    label: str
    help: str | None
    kind: Literal["text", "host", "url", "email", "uuid"]
    choices: list[str] | None
    pattern: str | None
    domains: list[str]
    default: str | None
    required: bool
    secret: bool
    once: bool
    asked: bool
    example: str | None
    docs: str | None
    prefix: str | None
    suffix: str | None
    group: str | None


class SecretOfApp(Answered):
    """A secret of the app, such as its client secret: its name, and whether it has been set. Never its value."""

    name: str
    set: bool
    used: bool


class Finding(Answered):
    """Something wrong in a policy: where, and what would be right."""

    file: str
    path: str
    message: str


class App(Answered):
    """A service people connect to. `findings` are why a newer edit of the file isn't in force.

    `redirect_url` is what its provider has to know, to the letter, where people sign in on the provider's own pages.
    """

    app: str
    name: str | None
    grant: str | None
    base_url: str | None
    redirect_url: str | None
    in_force: bool
    fields: list[FieldOfApp]
    secrets: list[SecretOfApp]
    findings: list[Finding]


class AppWithPolicy(App):
    """An app with the text of its policy file."""

    policy: str


class PolicyText(Sent):
    """A policy as TOML."""

    policy: Annotated[str, StringConstraints(max_length=262_144), AfterValidator(_no_nul)]


class Checked(Answered):
    """What is wrong with a policy; `ok` when nothing is."""

    ok: bool
    findings: list[Finding]


class SecretValue(Sent):
    """The value of a secret. It can be replaced, never read."""

    value: Annotated[str, StringConstraints(min_length=1, max_length=_TEXT), AfterValidator(_no_nul)]


# Connections.


class NewConnection(Sent):
    """What connects at once: api_key, basic, client_credentials, password, none."""

    app: AppId
    id: ConnectionId | None = None
    fields: dict[str, Text] = {}
    secrets: dict[str, Text] = {}


class Revocation(Answered):
    """Tokens of an ended connection that the provider hasn't taken back yet. `failed`: given up; do it there."""

    state: Literal["pending", "failed"]
    since: datetime
    attempts: int
    next_try_at: Moment
    last_error: str | None


class Connection(Answered):
    """One authorised account under one app. `revocation` is there while the provider has tokens to take back."""

    id: str
    app: str
    label: str
    unique_id: str | None
    status: Status
    reason: str | None
    expires_at: Moment
    retry_at: Moment
    failures: int
    token_version: int
    created_at: datetime
    updated_at: datetime
    last_used_at: Moment
    created_by: str
    revocation: Revocation | None


class Tested(Answered):
    """What the app's test call said."""

    ok: bool
    status: int | None
    message: str


class NewLink(Sent):
    """A one-time link for a person to connect with; `id` names the connection, a new one or one to authorise again.

    `fields` and `secrets` are filled in beforehand: the person can't change them, nor see a secret.
    """

    app: AppId
    id: ConnectionId | None = None
    fields: dict[str, Text] = {}
    secrets: dict[str, Text] = {}
    expires_in: Annotated[Lifetime, Field(le=MAX_LINK_LIFETIME)] = 1_800.0


class Link(Answered):
    """Where the person goes, once, and until when."""

    url: str
    expires_at: datetime


# Clients.


class NewClient(Sent):
    """A program that may use the connections whose ids match one of the patterns (`*` matches anything)."""

    name: ClientName
    connections: Annotated[list[Pattern], Field(min_length=1, max_length=200)]
    expires_in: Lifetime | None = None


class Client(Answered):
    """A client, without its token: that is stored as a hash."""

    name: str
    connections: list[str]
    created_at: datetime
    expires_at: Moment
    revoked_at: Moment


class ClientCreated(Client):
    """A new client. `token` is shown this once."""

    token: str


# Explaining, and what happened.


class Question(Sent):
    """A request that may be made: would it go through, and with what added."""

    connection: ConnectionId
    method: Method = "GET"
    url: Annotated[str, StringConstraints(min_length=1, max_length=8_192)]


class Injected(Answered):
    """What would be added, secrets masked; `defaults` only where the caller sends no header of that name."""

    headers: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    query: dict[str, Any] = {}
    body: dict[str, Any] = {}


class Explanation(Answered):
    """The decision on a request, and always its reason. `limits` says in words how much the policy lets through."""

    allowed: bool
    reason: str | None = None
    hint: str | None = None
    rule: str | None = None
    upstream_url: str | None = None
    limits: str | None = None
    inject: Injected | None = None


class Event(Answered):
    """One entry of the audit trail."""

    id: int
    at: datetime
    kind: str
    actor: str
    app: str | None
    connection: str | None
    client: str | None
    detail: dict[str, Any]


class LoggedRequest(Answered):
    """One proxied request. `url` has no query; `code` is set where the gateway itself answered.

    `app` is null where it was not let in. `refreshed`: it waited for a new token, after upstream had said 401.
    """

    id: int
    at: datetime
    request_id: str
    entrance: str
    method: str
    url: str
    status: int
    code: str | None
    seconds: float
    app: str | None
    connection: str | None
    client: str | None
    sent: int
    received: int
    refreshed: bool
