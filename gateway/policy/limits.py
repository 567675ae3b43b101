"""How much a provider takes: [limits] and [retry] of a policy, and what follows from them for one request. Pure."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

from gateway.duration import Duration, format_duration
from gateway.http.fields import folded_name
from gateway.http.pacing import ResetField, ResetForm
from gateway.policy.kinds import StrictModel

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
"""RFC 9110 §9.2.2; TRACE, which is one too, never goes out."""
UNWELL = (429, 502, 503, 504)
"""Statuses that say nothing of the request itself: too many of them, or a service that is away for now."""
_FIRST_DELAY = 0.25
"""Seconds that a second try is put off at most; each further one by twice as much."""


def _as_number(value: Any) -> Any:
    """Read a number, and say of everything else what would be one: 60s is none here."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError("must be a number such as 5 or 0.5")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Quota(StrictModel):
    """How much of one thing goes out: so many requests per second, `burst` of them at once, `concurrency` at a time."""

    requests_per_second: Annotated[float | None, BeforeValidator(_as_number)] = None
    burst: int | None = None
    concurrency: int | None = None

    @property
    def at_once(self) -> int:
        """The burst: what one second lets through where the policy doesn't say."""
        return self.burst or max(1, math.ceil(self.requests_per_second or 0))

    @property
    def interval(self) -> float:
        """Seconds from one turn to the next; 0: no rate is set."""
        return 1 / self.requests_per_second if self.requests_per_second else 0.0

    def words(self) -> str:
        """Say what it lets through."""
        parts = []
        if self.requests_per_second:
            parts.append(f"{self.requests_per_second:g} requests per second ({self.at_once} at once)")
        if self.concurrency:
            parts.append(f"{self.concurrency} under way at a time")
        return ", ".join(parts)


def _not_empty(value: Any) -> Any:
    if value == {}:
        raise ValueError("limits nothing; write requests_per_second or concurrency")
    return value


class Reset(StrictModel):
    """The header of a 429 or 503 by which the service says how long to wait, and how that is written."""

    header: str
    format: ResetForm


class Limits(StrictModel):
    """What goes out for each connection, and for all connections of the app together.

    `wait`, seconds: how long a request may wait for its turn. An empty [limits] heeds what the service itself asks for,
    by the usual headers and by `reset`.
    """

    wait: Duration = 0.0
    reset: Reset | None = None
    connection: Annotated[Quota, BeforeValidator(_not_empty)] = Quota()
    app: Annotated[Quota | None, BeforeValidator(_not_empty)] = None

    @property
    def reset_field(self) -> ResetField | None:
        """The header of `reset` as it is looked for."""
        return None if self.reset is None else ResetField(folded_name(self.reset.header.encode()), self.reset.format)


class Retry(StrictModel):
    """Which requests are tried again: `attempts` in all, for these methods and answers, after `max_wait` at most."""

    attempts: int = 3
    statuses: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = UNWELL
    methods: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = IDEMPOTENT
    max_wait: Duration = 10.0

    def delay(self, *, tried: int, asked: float, chance: float) -> float | None:
        """Return the seconds until the next try, None: there is none.

        Of a wait that doubles with each try, any part, as `chance` (0 to 1) says: so that those that failed together
        don't come back together. What the service `asked` for comes before that, however little chance leaves.
        """
        if tried >= self.attempts or asked > self.max_wait:
            return None
        longest: float = min(self.max_wait, _FIRST_DELAY * 2 ** (tried - 1))
        return min(self.max_wait, asked + chance * longest)


def in_words(limits: Limits | None, retry: Retry | None) -> str | None:
    """Return what a person is told of both, None where neither stands."""
    parts = []
    if limits is not None:
        parts += [f"{words} for the connection" for words in (limits.connection.words(),) if words]
        parts += [f"{words} for the app" for words in (limits.app.words() if limits.app else "",) if words]
        parts += [f"heeds {limits.reset.header}"] if limits.reset else []
        parts.append(f"waits {format_duration(limits.wait)} at most" if limits.wait else "doesn't wait")
    if retry is not None:
        parts.append(f"tried {retry.attempts} times where the service is unwell")
    return "; ".join(parts) or None
