"""Checks of [limits] and [retry]."""

import re
from collections.abc import Iterator

from gateway.policy.draft import Draft
from gateway.policy.finding import Fault
from gateway.policy.limits import Limits, Quota, Retry
from gateway.policy.match import NEVER

_LONGEST_WAIT = 60.0  # seconds that a caller's connection and the request's content are kept for it
_SLOWEST, _FASTEST = 0.001, 100_000.0  # requests per second: one in a quarter of an hour; more than a gateway sends
_MOST = 100_000
_MOST_ATTEMPTS = 10
_CLIENT_ERRORS = frozenset({408, 425, 429})  # the 4xx after which the same request may be right
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2
_METHOD = re.compile(r"[A-Z][A-Z-]*", re.ASCII)


def check(draft: Draft) -> Iterator[Fault]:
    """Yield what makes no sense."""
    if draft.limits is not None:
        yield from _limits(draft.limits)
    if draft.retry is not None:
        yield from _retry(draft.retry)


def _limits(limits: Limits) -> Iterator[Fault]:
    if not 0 <= limits.wait <= _LONGEST_WAIT:
        yield "limits.wait", "must be from 0s to 60s: so long the caller's request is kept"
    if limits.reset is not None and not _TOKEN.fullmatch(limits.reset.header):
        yield "limits.reset.header", "is no valid header name; letters, digits and hyphens"
    yield from _quota("limits.connection", limits.connection)
    if limits.app is None:
        return
    yield from _quota("limits.app", limits.app)
    for key in ("requests_per_second", "concurrency"):
        one, all_together = getattr(limits.connection, key), getattr(limits.app, key)
        if one is not None and all_together is not None and one > all_together:
            yield f"limits.connection.{key}", f"is more than the {all_together:g} of [limits.app], which come first"


def _quota(at: str, quota: Quota) -> Iterator[Fault]:
    rate = quota.requests_per_second
    if rate is not None and not _SLOWEST <= rate <= _FASTEST:
        yield f"{at}.requests_per_second", f"must be from {_SLOWEST:g} to {_FASTEST:.0f}"
    if quota.burst is not None and rate is None:
        yield f"{at}.burst", "needs requests_per_second beside it"
    for key in ("burst", "concurrency"):
        number = getattr(quota, key)
        if number is not None and not 1 <= number <= _MOST:
            yield f"{at}.{key}", f"must be from 1 to {_MOST}"


def _retry(retry: Retry) -> Iterator[Fault]:
    if not 2 <= retry.attempts <= _MOST_ATTEMPTS:  # noqa: PLR2004 - one is no second try
        yield "retry.attempts", f"must be from 2 to {_MOST_ATTEMPTS}: how often a request is sent in all"
    if not 0 < retry.max_wait <= _LONGEST_WAIT:
        yield "retry.max_wait", "must be more than nothing, and 60s at most"
    for key in ("statuses", "methods"):
        if not getattr(retry, key):
            yield f"retry.{key}", "is empty, so nothing would be tried again; leave it out for the usual ones"
    for number, status in enumerate(retry.statuses):
        if status not in _CLIENT_ERRORS and not 500 <= status <= 599:  # noqa: PLR2004 - the class of a status
            yield f"retry.statuses[{number}]", "must be 408, 425, 429 or a 5xx: every other answer stands"
    for number, method in enumerate(retry.methods):
        if method.upper() in NEVER or not _METHOD.fullmatch(method):
            yield f"retry.methods[{number}]", f"{method!r} is no method that goes out; write one such as GET"
