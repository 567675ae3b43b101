"""A connection ready for use: everything a request needs, made once for each version of its token."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import PolicyError, Refusal
from gateway.http.scrub import Scrubber
from gateway.keyring import KeyringError
from gateway.policy.context import Context
from gateway.policy.fields import base_url, with_defaults
from gateway.policy.inject import Injection, render
from gateway.policy.limits import Limits, Retry
from gateway.policy.match import Matcher
from gateway.policy.model import Policy, Script
from gateway.policy.template import MissingValue
from gateway.policy.value import leaves
from gateway.secret import Secret
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.credentials import Credentials, Safe
from gateway.vault.sources import Sources
from gateway.vault.timing import can_refresh, renew_at

NOTHING_ALLOWED = Matcher((), (), None, None)


@dataclass(slots=True, kw_only=True, eq=False)
class Live:
    """What the data plane uses.

    A new token is a new object; only `expires_at` is brought forward while a token that upstream refused is replaced.
    `refusal` says why nothing can be sent (then `injection` is None); it comes before everything else. Times are epoch
    seconds: the token expires at `expires_at` (None: nobody said), is renewed ahead from `renew_at`, and after a
    failure the provider isn't asked before `retry_at`. `certificate` is what is shown in TLS: PEM, with its key.
    """

    connection_id: str
    app: str
    status: Status
    reason: str | None
    token_version: int
    policy: Policy | None
    matcher: Matcher
    injection: Injection | None
    scrubber: Scrubber
    base_url: str | None
    cookies: bool
    scrub_body: bool
    expires_at: float | None
    renew_at: float | None
    retry_at: float | None
    refreshable: bool
    refusal: Refusal | None
    certificate: Secret | None = None
    limits: Limits | None = None
    retry: Retry | None = None


async def compile_live(
    row: ConnectionRow, policy: Policy | None, *, safe: Safe, sources: Sources, public_url: str
) -> Live:
    """Make a row ready for use. A policy with JavaScript is rendered in a thread: it may take 50 ms."""
    refusal = not_usable(row, public_url)
    if policy is None:
        return _refusing(row, None, refusal or _no_policy(row))
    if refusal is not None:
        return _refusing(row, policy, refusal)
    try:
        credentials, fields = safe.open_credentials(row), safe.open_fields(row)
        context = await sources.with_app(row.app, policy, credentials.context(policy, fields, row.id))
        certificate = await sources.certificate(row.app, policy, context)
    except KeyringError as error:
        detail = f"The credentials of {row.id} can't be opened: {error}."
        return _refusing(row, policy, Refusal(code="internal", detail=detail))
    except PolicyError as error:
        return _refusing(row, policy, error.refusal)
    except ValueError as error:
        return _refusing(row, policy, _unusable(row, error))

    def build() -> Live:
        live = _compile(row, policy, credentials=credentials, fields=fields, context=context)
        live.certificate = certificate
        return live

    return await asyncio.to_thread(build) if has_scripts(policy) else build()


def has_scripts(policy: Policy) -> bool:
    """Whether anything of what is injected, or signed with, is JavaScript."""
    values = [dict(policy.inject), dict(policy.sign or ())]
    return any(isinstance(leaf, Script) for _, leaf in leaves(values, ""))


def not_usable(row: ConnectionRow, public_url: str) -> Refusal | None:
    """Return why a row that isn't active can't be used; None: it can."""
    match row.status:
        case Status.ACTIVE:
            return None
        case Status.NEEDS_REAUTHORIZATION:
            detail = f"The connection {row.id} needs a person to sign in again. {row.reason or ''}".strip()
        case Status.PENDING:
            detail = f"The connection {row.id} was begun and not finished."
        case Status.DISCONNECTED:
            return Refusal(code="connection_not_permitted", detail=f"The connection {row.id} is disconnected.")
    hint = f"Make a new link with `gateway connect {row.app} --id {row.id}`"
    hint += f" or at {public_url}." if public_url else "."
    return Refusal(code="reauthorization_required", detail=detail, hint=hint)


def _compile(
    row: ConnectionRow, policy: Policy, *, credentials: Credentials, fields: Mapping[str, str], context: Context
) -> Live:
    try:
        injection = render(policy, context)
        values = with_defaults(policy, fields)
        matcher = Matcher.compile(policy.allow, values)
        base = base_url(policy, values)
    except MissingValue as error:
        return _refusing(row, policy, _missing(row, error))
    except ValueError as error:
        return _refusing(row, policy, _unusable(row, error))
    return Live(
        connection_id=row.id,
        app=row.app,
        status=row.status,
        reason=row.reason,
        token_version=row.token_version,
        policy=policy,
        matcher=matcher,
        injection=injection,
        scrubber=Scrubber(injection.secrets),
        base_url=base,
        cookies=policy.allow.cookies,
        scrub_body=policy.allow.scrub_body,
        expires_at=row.expires_at,
        renew_at=_renew_at(row, policy, credentials),
        retry_at=row.retry_at,
        refreshable=can_refresh(policy, credentials),
        refusal=None,
        limits=policy.limits,
        retry=policy.retry,
    )


def _renew_at(row: ConnectionRow, policy: Policy, credentials: Credentials) -> float | None:
    at = renew_at(row.id, policy, credentials, expires_at=row.expires_at, updated_at=row.updated_at)
    return None if at is None else max(at, row.retry_at or 0.0)


def _refusing(row: ConnectionRow, policy: Policy | None, refusal: Refusal) -> Live:
    return Live(
        connection_id=row.id,
        app=row.app,
        status=row.status,
        reason=row.reason,
        token_version=row.token_version,
        policy=policy,
        matcher=NOTHING_ALLOWED,
        injection=None,
        scrubber=Scrubber(()),
        base_url=None,
        cookies=False,
        scrub_body=False,
        expires_at=None,
        renew_at=None,
        retry_at=row.retry_at,
        refreshable=False,
        refusal=refusal,
    )


def _no_policy(row: ConnectionRow) -> Refusal:
    return Refusal(
        code="target_not_allowed",
        detail=f"The policy of the app {row.app} is not there, so nothing is allowed for {row.id}.",
        hint=f"Put policies/{row.app}.toml back; the connection is as it was.",
    )


def _unusable(row: ConnectionRow, error: ValueError) -> Refusal:
    detail = f"The policy of {row.app} can't be used for {row.id}: {error}."
    return Refusal(code="internal", detail=detail, hint=f"Change policies/{row.app}.toml.")


def _missing(row: ConnectionRow, error: MissingValue) -> Refusal:
    return Refusal(
        code="reauthorization_required",
        detail=f"The connection {row.id} can't be used: {error}.",
        hint=f"Connect it again with `gateway connect {row.app} --id {row.id}`, or change policies/{row.app}.toml.",
    )
