"""When a connection is to be renewed, used or not: before its token expires, and as often as its policy wants."""

import zlib

from gateway.oauth.expiry import renewal
from gateway.policy.model import Grant, Policy
from gateway.secret import Secret
from gateway.vault.credentials import Credentials

EARLIER = 0.1
"""The part of `keep_alive` by which chance brings a renewal forward, so that what was made together is spread."""


def can_refresh(policy: Policy, credentials: Credentials) -> bool:
    """Whether there is anything to get a new token with."""
    return can_ask(policy, credentials) or renews_with(policy, credentials) is not None


def can_ask(policy: Policy, credentials: Credentials) -> bool:
    """Whether a token can be asked for anew: in the client's own name, with a kept password, with the kept fields."""
    match policy.auth.grant:
        case Grant.CLIENT_CREDENTIALS | Grant.JWT_BEARER | Grant.JWT:
            return True
        case Grant.PASSWORD:
            return bool(credentials.secrets.get("password"))
        case Grant.CUSTOM:
            return not any(field.once and field.required for field in policy.fields)
    return False


def renews_with(policy: Policy, credentials: Credentials) -> Secret | None:
    """Return the token to renew with, None: there is none, or the grant asks anew."""
    auth, refresh = policy.auth, policy.auth.refresh
    if policy.refresh_endpoint is None or auth.grant in (Grant.JWT_BEARER, Grant.JWT):
        return None
    if auth.grant is Grant.CUSTOM and refresh is None:
        return None
    sent = "refresh_token" if refresh is None else refresh.token
    return credentials.access_token if sent == "access_token" else credentials.refresh_token


def renew_at(
    connection_id: str, policy: Policy, credentials: Credentials, *, expires_at: float | None, updated_at: float
) -> float | None:
    """Return the time (epoch seconds), None: never, for nothing expires or there is nothing to renew it with.

    Chance is drawn from the id and the token's age: every process comes to the same time. A token that is only signed
    is made when it is needed: nobody has to be asked for it, and nobody's clock runs for it meanwhile.
    """
    if policy.auth.grant is Grant.JWT or not can_refresh(policy, credentials):
        return None
    issued_at = credentials.issued_at if credentials.issued_at is not None else updated_at
    chance = zlib.crc32(f"{connection_id} {issued_at}".encode()) / 0xFFFFFFFF  # 0 to 1
    times = []
    if expires_at is not None:
        margin = _margin(policy)
        times.append(renewal(issued_at=issued_at, expires_at=expires_at, margin=margin, jitter=2 * chance - 1))
    if policy.auth.keep_alive is not None:
        times.append(issued_at + policy.auth.keep_alive * (1 - EARLIER * chance))
    return min(times, default=None)


def timing(policy: Policy) -> str:
    """Return what of a policy decides about the times: when this changes, they are to be reckoned anew."""
    auth = policy.auth
    return f"{auth.grant.value} {_margin(policy)} {auth.keep_alive} {auth.refresh.token if auth.refresh else ''}"


def _margin(policy: Policy) -> float | None:
    endpoint = policy.refresh_endpoint
    return None if endpoint is None else endpoint.margin
