"""The steps of setting up an app, for each grant, in the seeds' order: what each is called, and what it edits.

The five seeds agree on the order of what they share, and where they differ:

- The authorization code grant is there twice, in one order; only the shorter one ends with "Connect", and a set-up that
  ends without a try isn't done, so every grant has that step.
- The implicit grant has no token URL, and keeps the two steps for renewing and revoking.
- Password and client credentials name the client id and secret only in passing, among the fields or with the token URL.
  Their origin stands in the policy all the same, so they have the step, in the place where the others have it.
- The grants that the seeds don't have follow them: a device code has its URL where the others have a login. Of those
  that sign a statement, [auth.assertion] is edited as text; of OAuth 1.0a, [auth.request_token] and [sign].
- Fields are optional where the seeds say so, but not where the grant sends what the person types in: the password
  grant, client credentials ("required fields"), an API key, basic.
- Request parameters are optional in four of the seeds. Here nothing else carries the token, so they are only where
  nothing is to be carried, or where the gateway writes the header by itself (basic).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.policy.model import Grant

APP = ("name", "base_url", "auth.grant")
"""The form's names that stand before every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `names` are the form's names that it edits, or how they begin: `auth.token` and all below it."""

    id: str
    names: tuple[str, ...] = ()
    optional: bool = False


_NAMES: Mapping[str, tuple[str, ...]] = {
    "fields": ("fields",),
    "redirect": (),
    "credentials": ("auth.client_id", "auth.client_secret"),
    "login": ("auth.authorize",),
    "device": ("auth.device",),
    "token": ("auth.token",),
    "refresh": ("auth.refresh",),
    "revoke": ("auth.revoke",),
    "test": ("test",),
    "label": ("connection.label", "connection.mask"),
    "allow": ("allow",),
    "unique_id": ("connection.unique_id",),
    "inject": ("inject",),
    "connect": (),
}
_ALWAYS_OPTIONAL = ("refresh", "revoke", "unique_id")
_LAST = ("test", "label", "allow", "unique_id", "inject", "connect")
_RENEWED = ("refresh", "revoke")
_ORDER: Mapping[Grant, tuple[str, ...]] = {
    Grant.AUTHORIZATION_CODE: ("fields", "redirect", "credentials", "login", "token", *_RENEWED, *_LAST),
    Grant.IMPLICIT: ("fields", "redirect", "credentials", "login", *_RENEWED, *_LAST),
    Grant.PASSWORD: ("fields", "credentials", "token", *_RENEWED, *_LAST),
    Grant.CLIENT_CREDENTIALS: ("fields", "credentials", "token", *_RENEWED, *_LAST),
    Grant.DEVICE_CODE: ("fields", "credentials", "device", "token", *_RENEWED, *_LAST),
    Grant.JWT_BEARER: ("fields", "credentials", "token", *_RENEWED, *_LAST),
    Grant.JWT: ("fields", "credentials", *_LAST),
    Grant.CUSTOM: ("fields", "credentials", "token", *_RENEWED, *_LAST),
    Grant.OAUTH1: ("fields", "redirect", "credentials", "login", "token", *_LAST),
    Grant.API_KEY: ("fields", *_LAST),
    Grant.BASIC: ("fields", *_LAST),
    Grant.NONE: ("fields", *_LAST),
}
_OPTIONAL: Mapping[Grant, tuple[str, ...]] = {
    Grant.AUTHORIZATION_CODE: ("fields",),
    Grant.IMPLICIT: ("fields",),
    Grant.PASSWORD: ("credentials",),  # RFC 6749 §4.3.2: a client without credentials may ask, too
    Grant.DEVICE_CODE: ("fields",),
    Grant.JWT_BEARER: ("fields", "credentials"),  # what is signed is named in [auth.assertion]
    Grant.JWT: ("fields", "credentials"),
    Grant.CUSTOM: ("fields", "credentials"),
    Grant.OAUTH1: ("fields", "inject"),
    Grant.BASIC: ("inject",),
    Grant.NONE: ("fields", "test", "inject"),
}


def steps(grant: Grant) -> tuple[Step, ...]:
    """Return the steps of a grant, in their order."""
    optional = (*_ALWAYS_OPTIONAL, *_OPTIONAL.get(grant, ()))
    return tuple(Step(id=name, names=_NAMES[name], optional=name in optional) for name in _ORDER[grant])
