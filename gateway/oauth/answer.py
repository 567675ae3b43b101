"""Reads what a token endpoint answers: tokens, or a refusal that says whether it is final.

Providers differ from RFC 6749 §5 in every way there is: nested answers, `200 {"ok": false}`, forms instead of JSON,
numbers in strings, HTML from a load balancer. Each is told apart here, and a refusal always carries the provider's own
words where there are any.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl

from gateway.nesting import is_deeper
from gateway.oauth.endpoint import Endpoint
from gateway.oauth.expiry import expiry
from gateway.oauth.message import Answer
from gateway.oauth.redact import redact
from gateway.secret import Secret

FINAL = "invalid_grant"  # RFC 6749 §5.2: the grant or refresh token is invalid, expired or revoked
DEEPEST = 64  # levels of an answer's JSON: it is sealed whole, and what seals it recurses
LONGEST_WAIT = 3600.0  # seconds of a Retry-After that we heed
_OK = range(200, 300)
_REDIRECT = range(300, 400)
_SERVER_ERROR = 500
_TOO_MANY = 429
_MESSAGES = (
    "error_description",
    "error.message",
    "error.error_description",
    "error_message",
    "errorMessage",
    "errorSummary",
    "message",
    "errors.0.message",
    "detail",
    "title",
    "error_summary",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """Tokens. `raw` is the whole answer with the mapped standard names on top; `expires_at` is in epoch seconds."""

    raw: Mapping[str, Any] = field(repr=False)
    access_token: Secret
    refresh_token: Secret | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefused:
    """No tokens. `error` is a code, `detail` a sentence with secrets removed; `retry_after` is in seconds.

    `final` means that asking again can't help: a person must sign in. Only `invalid_grant` is.
    """

    error: str
    detail: str
    final: bool = False
    retry_after: float | None = None


def read_token(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: Iterable[Secret] = (), standing: Secret | None = None
) -> TokenAnswer | TokenRefused:
    """Read a token endpoint's answer. `now` is when the request was sent; `secrets` what was in it.

    `standing` is the token that lasts longer where a good answer has none.
    """
    data = read_object(answer, endpoint, now=now, secrets=secrets, may_be_empty=standing is not None)
    return data if isinstance(data, TokenRefused) else read_parameters(data, endpoint, now=now, standing=standing)


def read_object(
    answer: Answer,
    endpoint: Endpoint,
    *,
    now: float,
    secrets: Iterable[Secret] = (),
    may_be_empty: bool = False,
) -> Mapping[str, Any] | TokenRefused:
    """Read an answer's parameters, or what it says instead. Arguments as for `read_token`."""
    secrets = tuple(secrets)
    if answer.status in _REDIRECT:
        return TokenRefused(
            error="redirect", detail=f"The provider answered {answer.status}, a redirect, which is never followed."
        )
    data = _parse(answer)
    if data is None and may_be_empty and answer.status in _OK and not answer.body.strip():
        data = {}
    if data is None:
        return _unreadable(answer, now)
    error = _error_code(data)
    failed = answer.status not in _OK or error is not None
    if failed or (endpoint.success_when and not dig(data, endpoint.success_when)):
        return _refusal(answer, endpoint, data, error=error, secrets=secrets, now=now)
    return data


def read_parameters(
    data: Mapping[str, Any], endpoint: Endpoint, *, now: float, standing: Secret | None = None
) -> TokenAnswer | TokenRefused:
    """Read tokens from parameters that are no error: a parsed answer, or an implicit grant's fragment (§4.2.2)."""
    values = {name: dig(data, endpoint.response.get(name, name)) for name in _names(endpoint)}
    if values["access_token"] is None and standing is not None:
        values["access_token"] = standing.reveal()
    access_token = values.get("access_token")
    if not isinstance(access_token, str) or not access_token:
        where = endpoint.response.get("access_token", "access_token")
        return TokenRefused(error="no_token", detail=f"The token endpoint's answer has no text at {where!r}.")
    refresh_token = values.get("refresh_token") or None
    for name, value in (("access_token", access_token), ("refresh_token", refresh_token)):
        if value is not None and not (isinstance(value, str) and _visible(value)):
            return TokenRefused(
                error="bad_token",
                detail=f"The {name} of the answer holds control or non-ASCII characters and is not used.",
            )
    return TokenAnswer(
        raw={**data, **{name: value for name, value in values.items() if value is not None}},
        access_token=Secret(access_token),
        refresh_token=None if refresh_token is None else Secret(refresh_token),
        expires_at=expiry(
            expires_in=values.get("expires_in"),
            access_token=access_token,
            now=now,
            default_ttl=endpoint.default_ttl,
            written=endpoint.expires,
        ),
    )


def laid_over(first: TokenAnswer, second: TokenAnswer) -> TokenAnswer:
    """Return what two answers say together, where the second is what the first was exchanged for.

    A first token's end says nothing of the second's.
    """
    raw = {name: value for name, value in first.raw.items() if name != "expires_in"}
    return TokenAnswer(
        raw={**raw, **second.raw},
        access_token=second.access_token,
        refresh_token=second.refresh_token or first.refresh_token,
        expires_at=second.expires_at,
    )


def read_revocation(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: Iterable[Secret] = ()
) -> TokenRefused | None:
    """Read a revocation endpoint's answer (RFC 7009 §2.2). None: the token is of no use any more."""
    if answer.status in _OK:
        return None
    data = _parse(answer)
    if data is None:
        return _unreadable(answer, now)
    error = _error_code(data)
    if error == "invalid_token":  # not in RFC 7009, which wants 200 here; what several say to a token already dead
        return None
    return _refusal(answer, endpoint, data, error=error, secrets=tuple(secrets), now=now)


def dig(data: Any, path: str) -> Any:
    """Return what is at a dotted path through objects and lists (`errors.0.message`), or None."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def provider_message(data: Any, path: str | None, secrets: Iterable[Secret]) -> str | None:
    """Return the provider's own words in a JSON answer, fit to be shown: at the policy's path, else where most are."""
    for where in ((path,) if path else ()) + _MESSAGES:
        found = dig(data, where)
        if isinstance(found, str) and found.strip():
            return redact(found, secrets)
    return None


def retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds of a Retry-After (RFC 9110 §10.2.3: seconds or a date), bounded, or None."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None


def _names(endpoint: Endpoint) -> tuple[str, ...]:
    return ("access_token", "refresh_token", "expires_in", *endpoint.response)


def _visible(token: str) -> bool:
    """RFC 6749 appendix A.12: `access-token = 1*VSCHAR`; anything else could end a header line."""
    return all(" " <= char <= "~" for char in token)


def _parse(answer: Answer) -> Mapping[str, Any] | None:
    """Return the answer's parameters, from JSON or a form, whatever its media type claims; None: neither."""
    try:
        text = answer.body.decode("utf-8-sig")
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _parse_form(answer)
    return data if isinstance(data, dict) and not is_deeper(data, DEEPEST) else None


def _parse_form(answer: Answer) -> Mapping[str, Any] | None:
    if answer.media_type == "text/html" or answer.body.lstrip()[:1] in (b"<", b"{", b"["):
        return None
    try:
        pairs = parse_qsl(answer.body.decode("utf-8"), strict_parsing=True, max_num_fields=100)
    except ValueError:
        return None
    return dict(pairs) or None


def _error_code(data: Mapping[str, Any]) -> str | None:
    """Return the error code. Most put a string in `error` (§5.2), some an object with a code in it."""
    error = data.get("error")
    if isinstance(error, Mapping):
        for name in ("error", "code", "type", "status"):
            if isinstance(error.get(name), str | int) and error[name]:
                return str(error[name])
        return "error"
    return str(error) if isinstance(error, str | int) and error else None


def _refusal(
    answer: Answer,
    endpoint: Endpoint,
    data: Mapping[str, Any],
    *,
    error: str | None,
    secrets: tuple[Secret, ...],
    now: float,
) -> TokenRefused:
    code = redact(error, secrets) if error else "refused"
    words = provider_message(data, endpoint.error, secrets)
    told = ": ".join(part for part in (code if error else None, words if words != code else None) if part)
    temporary = answer.status >= _SERVER_ERROR or answer.status == _TOO_MANY
    return TokenRefused(
        error=code,
        detail=f"The provider answered {answer.status}" + (f": {told}" if told else "."),
        final=error == FINAL and not temporary,
        retry_after=retry_after(answer, now),
    )


def _unreadable(answer: Answer, now: float) -> TokenRefused:
    html = answer.media_type == "text/html" or answer.body.lstrip()[:1] == b"<"
    kind = "an HTML page" if html else "nothing" if not answer.body.strip() else "neither JSON nor a form"
    return TokenRefused(
        error="unreadable",
        detail=f"The provider answered {answer.status} with {kind}.",
        retry_after=retry_after(answer, now),
    )
