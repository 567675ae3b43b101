"""The rows of the store as values: frozen, by keyword. Times are seconds since the epoch; sealed values are bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


class Status(StrEnum):
    """Where a connection is in its life (design.md, "Words")."""

    PENDING = "pending"
    ACTIVE = "active"
    NEEDS_REAUTHORIZATION = "needs_reauthorization"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    """One connection.

    `fields` and `credentials` are JSON objects, sealed for (connections, fields | credentials, id). `token_version`
    rises with every change of the credentials; `fence` with every lease and take-over, so that a late writer is told.
    At `renew_at` the background sweep comes by, used or not; None: there is nothing to renew. `account_label` is what
    the policy calls the account, where a person gave the connection another label; None: `label` is that.
    """

    id: str
    app: str
    status: Status
    created_at: float
    updated_at: float
    label: str = ""
    account_label: str | None = None
    unique_id: str | None = None
    reason: str | None = None
    fields: bytes = field(default=b"", repr=False)
    credentials: bytes | None = field(default=None, repr=False)
    token_version: int = 0
    fence: int = 0
    lease_owner: str | None = None
    lease_until: float | None = None
    expires_at: float | None = None
    renew_at: float | None = None
    retry_at: float | None = None
    failures: int = 0
    last_used_at: float | None = None
    created_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """A program that may use some connections. `token_hash` is the SHA-256 of its token, which is nowhere."""

    name: str
    token_hash: bytes = field(repr=False)
    patterns: tuple[str, ...]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """A one-time connect link. `fields` are presets, sealed for (connect_links, fields, token_hash in hex).

    Whoever connects with it holds a `claim` until `claimed_until`. `outcome` is how the last try ended, sealed for
    (connect_links, outcome, token_hash in hex).
    """

    token_hash: bytes = field(repr=False)
    app: str
    created_at: float
    expires_at: float
    connection: str | None = None
    fields: bytes | None = field(default=None, repr=False)
    used_at: float | None = None
    created_by: str = ""
    claim: str | None = None
    claimed_until: float | None = None
    outcome: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginStateRow:
    """A person who is at a provider's login page. What it began with is sealed for (login_states, sealed, hash in hex).

    `state_hash` is the SHA-256 of the `state` parameter, `session_hash` that of the browser session's id. Of a device
    code, whose `state_hash` is that of link and session, `poll_at` is when the provider may be asked again, and
    `poll_interval` how many seconds that is apart.
    """

    state_hash: bytes = field(repr=False)
    app: str
    session_hash: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    created_at: float
    expires_at: float
    poll_at: float | None = None
    poll_interval: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRow:
    """Tokens that the provider has yet to be told to forget, sealed for (revocations, sealed, id).

    `next_try_at` None: it was given up, and what was sealed is gone.
    """

    id: str
    connection: str
    app: str
    actor: str
    created_at: float
    next_try_at: float | None
    sealed: bytes | None = field(default=None, repr=False)
    attempts: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One message of the webhook that is yet to arrive; `body` is what is sent. `id`, the store's, is their order."""

    message_id: str
    kind: str
    app: str
    connection: str
    body: str
    created_at: float
    next_try_at: float
    attempts: int = 0
    last_error: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One entry of the audit trail. `id` is the store's, 0 before it is added."""

    at: float
    kind: str
    actor: str
    app: str | None = None
    connection: str | None = None
    client: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One entry of the request log. `url` has no query; `code` is ours, where the gateway itself answered.

    `app` is the connection's, None where it was not let in. `refreshed`: it waited for a new token, after a 401.
    """

    at: float
    request_id: str
    method: str
    url: str
    status: int
    seconds: float
    entrance: str = ""
    app: str | None = None
    connection: str | None = None
    client: str | None = None
    code: str | None = None
    sent: int = 0
    received: int = 0
    refreshed: bool = False
    id: int = 0


OUTCOMES = ("requests", "refused", "failed", "refreshed", "renewed", "not_renewed")
"""What a tally counts, beside how long it took."""
LATENCY = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds in seconds, each one of `metrics.BUCKETS`: fewer, for a row is kept for each."""
LATENCIES = ("to_5ms", "to_25ms", "to_50ms", "to_100ms", "to_250ms", "to_500ms", "to_1s", "to_5s", "to_30s", "longer")
"""Their columns, and one for what took longer than any. None holds what another holds: they add up to a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyRow:
    """How many requests there were in `span` seconds from `at` on, and how they ended.

    `dimension` and `key` say whose: all (""), an app's, a connection's, a client's. `refused`: the gateway said no.
    `failed`: upstream did, with a 5xx or a broken answer, or the gateway couldn't (its 5xx). `refreshed`: the request
    waited for a new token. `seconds` and `latency` (in `LATENCIES`) are of all that were not refused. `renewed` and
    `not_renewed` count calls of a token endpoint, whoever they were for.
    """

    dimension: str
    key: str
    at: int
    span: int
    requests: int = 0
    refused: int = 0
    failed: int = 0
    refreshed: int = 0
    renewed: int = 0
    not_renewed: int = 0
    seconds: float = 0.0
    latency: tuple[int, ...] = (0,) * len(LATENCIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKeyRow:
    """One data key, wrapped by the master key. A retired one only opens.

    `handed_on` is the key once more, sealed by the one before it for (data_keys, handed_on, id) while that is being
    replaced: a server that was started with an earlier master key learns of it by what it has.
    """

    id: int
    wrapped: bytes = field(repr=False)
    created_at: float
    retired_at: float | None = None
    handed_on: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """One page of a list; `next` is the cursor of the page behind it, None at the end."""

    items: tuple[Row, ...]
    next: str | None


def connection_row(found: Mapping[Any, Any]) -> ConnectionRow:
    """Return a row of the table as a value."""
    return ConnectionRow(**dict(found) | {"status": Status(found["status"])})
