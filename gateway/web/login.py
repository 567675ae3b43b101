"""A login at a provider, from leaving to coming back, held together by `state` (RFC 6749 §10.12, RFC 9700 §2.1).

A state has 256 random bits, is stored as a hash, is taken out by whoever first brings it back, lasts ten minutes, and
belongs to one app and one browser session: whoever finishes must be who began. What the login began with is sealed
with it, the PKCE verifier too, or the token of OAuth 1.0a and its secret.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import orjson

from gateway.admin.links import GRACE
from gateway.admin.services import Services
from gateway.oauth.oauth1 import RequestToken
from gateway.policy.model import Grant
from gateway.secret import Secret
from gateway.store.rows import LoginStateRow
from gateway.web.link import Opened, hash_of
from gateway.web.session import Session

LIFETIME = GRACE
"""Seconds to sign in at a provider."""


class Refused(StrEnum):
    """Why a coming back is worth nothing. The values stand in the URL of the page that says so."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OTHER_BROWSER = "other-browser"
    OTHER_APP = "other-app"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login that may be finished.

    `link` is the token of the connect link that it began with; `login_url` is where the person was sent, without query.
    `token` is what a login of OAuth 1.0a began with.
    """

    link: str
    login_url: str
    redirect_uri: str
    verifier: Secret
    fields: Mapping[str, str]
    secrets: Mapping[str, Secret]
    token: RequestToken | None
    begun: float


async def begin(
    services: Services,
    found: Opened,
    session: Session,
    *,
    redirect_uri: str,
    fields: Mapping[str, str],
    hidden: Mapping[str, Secret],
) -> str:
    """Store a new state and return the provider's login URL.

    Raises `PolicyError`, `StoreError`, and for OAuth 1.0a, whose provider is asked first, `AuthorizationServerError`.
    """
    state, verifier = Secret(secrets.token_urlsafe(32)), Secret(secrets.token_urlsafe(48))
    logins, token = services.vault.logins, None
    given: dict[str, str | Secret] = {**fields, **hidden}
    if found.policy.auth.grant is Grant.OAUTH1:
        url, token = await logins.begin_signed(
            found.app, found.policy, fields=given, redirect_uri=redirect_uri, state=state
        )
    else:
        url = await logins.begin(
            found.app, found.policy, fields=given, redirect_uri=redirect_uri, state=state, verifier=verifier
        )
    now, hashed = services.clock(), _hash(state.reveal())
    kept = {
        "link": found.token,
        "login_url": url.partition("?")[0].partition("#")[0],
        "redirect_uri": redirect_uri,
        "verifier": verifier.reveal(),
        "fields": dict(fields),
        "secrets": {name: value.reveal() for name, value in hidden.items()},
        "token": None if token is None else {"token": token.token, "secret": token.secret.reveal()},
    }
    await services.store.logins.prune(before=now)
    await services.store.logins.insert(
        LoginStateRow(
            state_hash=hashed,
            app=found.app,
            session_hash=hash_of(session),
            sealed=services.keyring.seal(orjson.dumps(kept), table="login_states", column="sealed", row=hashed.hex()),
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    return url


async def take(services: Services, app: str, session: Session | None, state: str) -> Login | Refused:
    """Take out the login of this state. It is gone then, whatever comes of it: a state that strays has leaked."""
    if not state:
        return Refused.MISSING
    row = await services.store.logins.take(_hash(state))
    if row is None:
        return Refused.UNKNOWN
    if row.expires_at <= services.clock():
        return Refused.EXPIRED
    if session is None or row.session_hash != hash_of(session):
        return Refused.OTHER_BROWSER
    if row.app != app:
        return Refused.OTHER_APP
    kept = orjson.loads(
        services.keyring.open(row.sealed, table="login_states", column="sealed", row=row.state_hash.hex())
    )
    token = kept["token"]
    return Login(
        link=kept["link"],
        login_url=kept["login_url"],
        redirect_uri=kept["redirect_uri"],
        verifier=Secret(kept["verifier"]),
        fields=kept["fields"],
        secrets={name: Secret(value) for name, value in kept["secrets"].items()},
        token=None if token is None else RequestToken(token=token["token"], secret=Secret(token["secret"])),
        begun=row.created_at,
    )


def _hash(state: str) -> bytes:
    return hashlib.sha256(state.encode("utf-8", "surrogateescape")).digest()
