"""Checks of [sign]: each scheme has its keys, and its signature goes somewhere."""

from collections.abc import Iterator

from gateway.http.fields import folded_name
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, key_path
from gateway.policy.model import Grant, Sign
from gateway.policy.sign import written
from gateway.policy.value import SIGNATURE, is_anew

_NEEDED = {
    "hmac": ("key", "text"),
    "aws4": ("service", "region", "access_key_id", "secret_access_key"),
    "oauth1": ("consumer_key", "consumer_secret"),
}
_OPTIONAL = {
    "hmac": ("algorithm", "key_encoding", "encoding"),
    "aws4": ("session_token",),
    "oauth1": ("algorithm", "token", "token_secret", "realm"),
}
_SECRETS = ("key", "secret_access_key", "session_token", "consumer_secret", "token", "token_secret")


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of the signature."""
    sign = draft.sign
    if sign is None:
        return
    yield from _keys(sign, ready=draft.auth is not None and draft.auth.grant is Grant.OAUTH1)
    if sign.scheme == "hmac":
        yield from _goes_nowhere(draft)
    yield from _twice(draft, sign)


def _keys(sign: Sign, *, ready: bool) -> Iterator[Fault]:
    """Faults of the keys. `ready`: the grant is oauth1, which has all of them for a scheme of this name."""
    needed = _NEEDED[sign.scheme]
    ready = ready and sign.scheme == "oauth1"
    for key in needed:
        value = getattr(sign, key)
        if value is None and ready:
            continue
        if value is None:
            yield f"sign.{key}", f"is required for the scheme {sign.scheme}"
        elif isinstance(value, str) and not value.strip():
            yield f"sign.{key}", "is empty"
    for key in sorted(sign.model_fields_set - {"scheme", *needed, *_OPTIONAL[sign.scheme]}):
        yield f"sign.{key}", f"has no use with the scheme {sign.scheme}"
    if sign.scheme == "oauth1" and sign.algorithm not in (None, "sha1", "sha256"):
        yield "sign.algorithm", "must be sha1 or sha256 for the scheme oauth1"
    if sign.token_secret is not None and sign.token is None and not ready:
        yield "sign.token_secret", "has no use without sign.token"
    for key in _SECRETS:
        value = getattr(sign, key)
        if isinstance(value, str) and value.strip() and "{{" not in value:
            right = "add a field with secret = true and name it"
            yield f"sign.{key}", f"is a secret written as a text, and a policy never holds one; {right}"


def _goes_nowhere(draft: Draft) -> Iterator[Fault]:
    only = frozenset({SIGNATURE})
    if draft.inject and not is_anew([draft.inject.headers, draft.inject.query, draft.inject.body], only):
        yield "sign", "comes to a signature that goes nowhere; write {{ signature }} into a value of [inject]"


def _twice(draft: Draft, sign: Sign) -> Iterator[Fault]:
    """What a scheme writes, nothing else does."""
    ours = written(sign)
    for table in ("headers", "defaults"):
        for name in getattr(draft.inject, table, ()):
            if folded_name(name.encode()) in ours:
                yield (
                    key_path(["inject", table, name]),
                    f"is written by the scheme {sign.scheme} of [sign]; leave it out",
                )
    if b"authorization" in ours and draft.auth and draft.auth.grant is Grant.BASIC:
        yield "sign.scheme", f'{sign.scheme} writes Authorization, and so does the grant basic; say grant = "api_key"'
