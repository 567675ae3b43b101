"""What would be done with a request: the decision, and what would be injected, with the secrets masked."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from gateway.http.target import TargetInvalid, parse_target
from gateway.policy.inject import Injection
from gateway.policy.limits import in_words
from gateway.policy.match import Denied
from gateway.policy.url import join
from gateway.secret import MASK
from gateway.vault.live import Live

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]* ")  # RFC 9110 §11.1: the authentication scheme says what kind it is


def explain(live: Live, method: str, url: str) -> dict[str, Any]:
    """Return `{allowed, reason, hint, rule, upstream_url, limits, inject: {headers, query, body}}`.

    `limits` says what [limits] and [retry] come to, None: there are none. `url` may begin with "/": then it is below
    the policy's base URL.
    """
    if live.refusal is not None or live.injection is None:
        refusal = live.refusal
        return _denied(
            refusal.detail if refusal else "The connection can't be used.", refusal.hint if refusal else None
        )
    try:
        target = parse_target(join(live.base_url, url) if url.startswith("/") and live.base_url else url)
    except TargetInvalid as error:
        return _denied(f"The target is not one clean http or https URL: {error}.")
    decision = live.matcher.decide(method, target)
    if isinstance(decision, Denied):
        return _denied(decision.reason, decision.hint, decision.rule)
    return {
        "allowed": True,
        "reason": f"Covered by the allowed URL {decision.rule!r}.",
        "hint": None,
        "rule": decision.rule,
        "upstream_url": decision.target.url,
        "limits": in_words(live.limits, live.retry),
        "inject": _inject(live.injection),
    }


def _denied(reason: str, hint: str | None = None, rule: str | None = None) -> dict[str, Any]:
    nothing: dict[str, Any] = {"headers": {}, "query": {}, "body": {}}
    return {
        "allowed": False,
        "reason": reason,
        "hint": hint,
        "rule": rule,
        "upstream_url": None,
        "limits": None,
        "inject": nothing,
    }


def _inject(injection: Injection) -> dict[str, Any]:
    secrets = tuple(secret.reveal() for secret in injection.secrets)
    return {
        "headers": {name.decode(): _masked(value.decode(), secrets) for name, value in injection.headers},
        "query": {unquote(name.decode()): _masked(unquote(value.decode()), secrets) for name, value in injection.query},
        "body": _masked(dict(injection.body), secrets),
    }


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """Mask each text, key or number that holds a secret; of a header's value the scheme is left: `Bearer ***`."""
    match value:
        case str() if any(secret in value for secret in secrets):
            scheme = _SCHEME.match(value)
            shown = scheme[0] if scheme and not any(secret in scheme[0] for secret in secrets) else ""
            return shown + MASK
        case Mapping():
            return {_masked(key, secrets): _masked(item, secrets) for key, item in value.items()}
        case list():
            return [_masked(item, secrets) for item in value]
        case int() | float() if any(secret in str(value) for secret in secrets):  # a script made one of the text
            return MASK
    return value
