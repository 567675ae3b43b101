"""When a connection is to be renewed, used or not: before its token expires, and as often as its policy wants."""

import zlib

from gateway.oauth.expiry import renewal
from gateway.policy.model import Grant, Policy
from gateway.vault.credentials import Credentials

EARLIER = 0.1
"""The part of `keep_alive` by which chance brings a renewal forward, so that what was made together is spread."""


def can_refresh(policy: Policy, credentials: Credentials) -> bool:
    """Whether there is anything to get a new token with: a refresh token, the client's own right, a kept password."""
    match policy.auth.grant:
        case Grant.CLIENT_CREDENTIALS:
            return True
        case Grant.PASSWORD if credentials.secrets.get("password"):
            return True
        case Grant.API_KEY | Grant.BASIC | Grant.NONE:
            return False
    return credentials.refresh_token is not None and policy.refresh_endpoint is not None


def renew_at(
    connection_id: str, policy: Policy, credentials: Credentials, *, expires_at: float | None, updated_at: float
) -> float | None:
    """Return the time (epoch seconds), None: never, for nothing expires or there is nothing to renew it with.

    Chance is drawn from the id and the token's age: every process comes to the same time.
    """
    endpoint = policy.refresh_endpoint
    if endpoint is None or not can_refresh(policy, credentials):
        return None
    issued_at = credentials.issued_at if credentials.issued_at is not None else updated_at
    chance = zlib.crc32(f"{connection_id} {issued_at}".encode()) / 0xFFFFFFFF  # 0 to 1
    times = []
    if expires_at is not None:
        margin = endpoint.margin
        times.append(renewal(issued_at=issued_at, expires_at=expires_at, margin=margin, jitter=2 * chance - 1))
    if policy.auth.keep_alive is not None:
        times.append(issued_at + policy.auth.keep_alive * (1 - EARLIER * chance))
    return min(times, default=None)


def timing(policy: Policy) -> str:
    """Return what of a policy decides about the times: when this changes, they are to be reckoned anew."""
    endpoint = policy.refresh_endpoint
    margin = None if endpoint is None else endpoint.margin
    return f"{policy.auth.grant.value} {margin} {policy.auth.keep_alive}"
