"""What would be done with a request: the decision, and what would be injected, with the secrets masked."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from gateway.http.scrub import Scrubber
from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.injection import Injection
from gateway.policy.limits import in_words
from gateway.policy.match import Denied
from gateway.policy.request import RequestValues
from gateway.policy.url import join
from gateway.secret import MASK
from gateway.vault.live import Live

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]* ")  # RFC 9110 §11.1: the authentication scheme says what kind it is


def explain(live: Live, method: str, url: str, *, now: float, random: bytes) -> dict[str, Any]:
    """Return `{allowed, reason, hint, rule, upstream_url, limits, inject: {headers, defaults, query, body}}`.

    `limits` says what [limits] and [retry] come to, None: there are none. `url` may begin with "/": then it is below
    the policy's base URL. What is made for each request is made for this one, without content, at `now` (epoch
    seconds) and of `random` (`ENTROPY` bytes).
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
    try:
        inject = _inject(live.injection, method, decision.target, now, random)
    except ValueError as error:
        return _denied(f"What the policy adds can't be made for it: {error}.", None, decision.rule)
    return {
        "allowed": True,
        "reason": f"Covered by the allowed URL {decision.rule!r}.",
        "hint": None,
        "rule": decision.rule,
        "upstream_url": decision.target.url,
        "limits": in_words(live.limits, live.retry),
        "inject": inject,
    }


def _denied(reason: str, hint: str | None = None, rule: str | None = None) -> dict[str, Any]:
    nothing: dict[str, Any] = {"headers": {}, "defaults": {}, "query": {}, "body": {}}
    return {
        "allowed": False,
        "reason": reason,
        "hint": hint,
        "rule": rule,
        "upstream_url": None,
        "limits": None,
        "inject": nothing,
    }


def _inject(injection: Injection, method: str, target: Target, now: float, random: bytes) -> dict[str, Any]:
    headers, defaults = injection.headers, injection.defaults
    query, body, secrets = injection.query, injection.body, injection.secrets
    if injection.anew is not None:
        request = RequestValues(method=method, target=target, body=b"", now=now, random=random)
        made = injection.anew.make(
            injection, request, fields=[], present=frozenset(), content_type=None, has_content=False
        )
        query, body, secrets = made.parameters, made.members, (*secrets, *made.secrets)
        sent = [one for one in made.headers if one not in made.defaults]
        headers, defaults = tuple(sent), made.defaults
    scrubber, plain = Scrubber(secrets), tuple(secret.reveal() for secret in secrets)

    def shown(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
        texts = {unquote(name.decode()): unquote(value.decode()) for name, value in pairs}
        return {name: _masked(text, scrubber, plain) for name, text in texts.items()}

    return {
        "headers": {name.decode(): _masked(value.decode(), scrubber, plain) for name, value in headers},
        "defaults": {name.decode(): _masked(value.decode(), scrubber, plain) for name, value in defaults},
        "query": shown(query),
        "body": _masked(dict(body), scrubber, plain),
    }


def _masked(value: Any, scrubber: Scrubber, secrets: tuple[str, ...]) -> Any:
    """Mask each text, key or number that holds a secret; of a header's value the scheme is left: `Bearer ***`."""

    def holds(text: str) -> bool:
        return any(one in text for one in secrets) or scrubber.found_in(text.encode("utf-8", "replace"))

    match value:
        case str() if holds(value):
            scheme = _SCHEME.match(value)
            return (scheme[0] if scheme and not holds(scheme[0]) else "") + MASK
        case Mapping():
            return {_masked(key, scrubber, secrets): _masked(item, scrubber, secrets) for key, item in value.items()}
        case list():
            return [_masked(item, scrubber, secrets) for item in value]
        case int() | float() if holds(str(value)):  # a script made one of the text
            return MASK
    return value
