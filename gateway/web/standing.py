"""How a connection stands: which of the texts under `standing` says what that means, and what a person can do.

The store's status is not all of it: an active connection may be one whose token can't be renewed just now, or can't be
used with the policy of today; and of a disconnected one something may be left to do at the provider.
"""

from gateway.policy.model import Policy
from gateway.store.rows import ConnectionRow, RevocationRow, Status
from gateway.vault import Live


def chip_of(row: ConnectionRow) -> str:
    """Return the status that people are shown: `retrying` where an active one's token couldn't be renewed."""
    return "retrying" if row.status is Status.ACTIVE and row.failures else str(row.status)


def standing_of(row: ConnectionRow, live: Live | None, now: float) -> str:
    """Return the name of the text. `live` is what the vault makes of the row."""
    if row.status is not Status.ACTIVE:
        return str(row.status)
    if live is not None and live.refusal is not None:
        return "unusable"
    over = row.expires_at is not None and row.expires_at <= now
    if row.failures:
        return "retrying_without" if over else "retrying"
    if row.expires_at is None or live is None:
        return "active"
    if live.refreshable:
        return "renewed"
    return "over" if over else "until"


def left_of(row: ConnectionRow, left: RevocationRow | None, policy: Policy | None) -> str:
    """Return the name of the text on what is left of a disconnected one at its provider; empty: nothing, it seems."""
    if row.status is not Status.DISCONNECTED:
        return ""
    if left is None:
        auth = None if policy is None else policy.auth
        return "not_told" if auth is not None and auth.grant.has_token and auth.revoke is None else ""
    return "given_up" if left.next_try_at is None else "revoking"
