"""The app's own secret stays where the policy's author sent it.

Where a person or an answer chooses a host (a field of kind host or url that has neither domains nor choices), whoever
does may be there themselves. So what is the app's goes to no such host: neither its client secret or signing key, to an
endpoint of [auth], nor a token that was got with these alone, nor what is signed with them. What is the person's own
may: it was they who chose.
"""

from collections.abc import Iterator

from gateway.policy.checks import urls
from gateway.policy.context import field_of
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.finding import Fault
from gateway.policy.model import Auth, FieldSource, Grant, Script
from gateway.policy.url import UrlInvalid, UrlTemplate
from gateway.policy.value import leaves, paths

_ENDPOINTS = ("request_token", "device", "token", "exchange", "refresh", "revoke")
_SIGNED = "what is signed with the app's own {}"
_OWN = (Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER, Grant.JWT, Grant.CUSTOM)
"""Grants whose tokens are got in the app's own name, unless a secret of the person's goes into that."""


def check(draft: Draft) -> Iterator[Fault]:
    """Yield each way by which a secret of the app would go to a host that somebody else chooses."""
    if draft.auth is None or (secret := _secret_of(draft.auth)) is None:
        return
    for name in _ENDPOINTS:
        url = getattr(getattr(draft.auth, name), "url", None)
        if url and (field := _chosen(draft, url)):
            own = _SIGNED if draft.auth.grant is Grant.OAUTH1 else "the app's own {}"
            yield f"auth.{name}.url", f"would send {own.format(secret)} to {_wherever(field, secret)}"
    if what := _reaches(draft, draft.auth, secret):
        for number, text in enumerate(draft.allow.urls if draft.allow else ()):
            if field := _chosen_entry(draft, text):
                yield f"allow.urls[{number}]", f"would send {what} to {_wherever(field, secret)}"


def _reaches(draft: Draft, auth: Auth, secret: str) -> str | None:
    """Return what of the app's own each request has in it, None: nothing without the person's."""
    if auth.grant is Grant.OAUTH1:
        return _SIGNED.format(secret)
    if auth.grant in _OWN and not _brings(draft, auth):
        return f"a token that the app's own {secret} is enough for"
    return None


def _secret_of(auth: Auth) -> str | None:
    """Return what of the app is secret, None: it has nothing, or the person has brought it."""
    key = auth.assertion.key if auth.assertion else None
    if auth.client_secret is not None and not isinstance(auth.client_secret, FieldSource):
        return "client_secret"
    if auth.certificate is not None and not isinstance(auth.certificate, FieldSource):
        return "certificate"
    return "assertion.key" if key is not None and not isinstance(key, FieldSource) else None


def _brings(draft: Draft, auth: Auth) -> bool:
    """Whether a secret of the person's is needed for every token: one that may stay empty isn't."""
    own = {field.name for _, field in draft.fields if field.secret and field.required and field.source is None}
    if auth.assertion and isinstance(auth.assertion.key, FieldSource) and auth.assertion.key.field in own:
        return True
    sections = (auth.token, auth.exchange, auth.assertion)
    said = [leaf for section in sections if section for _, leaf in leaves(dict(section), "")]
    scripts = [leaf.js for leaf in said if isinstance(leaf, Script)]
    return not own.isdisjoint(map(field_of, paths(said))) or any(name in js for name in own for js in scripts)


def _wherever(field: str, secret: str) -> str:
    pinned = f'pin the field {field} with domains = ["example.com"]'
    return (
        f"whatever host stands in the field {field}; {pinned}, or let the person bring it: "
        f'auth.{secret} = {{ field = "…" }}'
    )


def _chosen(draft: Draft, text: str) -> str | None:
    try:
        return urls.is_chosen(draft, UrlTemplate.parse(text))
    except UrlInvalid:
        return None  # said already


def _chosen_entry(draft: Draft, text: str) -> str | None:
    try:
        return urls.is_chosen(draft, EntryTemplate.parse(text).url)
    except EntryInvalid:
        return None  # as above
