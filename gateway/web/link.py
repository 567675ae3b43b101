"""What stands behind a connect link's URL, and one try to connect with it.

A link is good for whoever has it, once. Tries are made under a claim, and how a try ended is kept with the link, for
the browser that made it: every answer to a form or a provider is then a redirect to the link's own, clean URL.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.links import BY_LOGIN, Outcome, claim_link, end_claim, find_link, outcome_of, preset_fields
from gateway.admin.services import Services
from gateway.errors import AuthorizationServerError, ClientError, PolicyError, Refusal, UpstreamError
from gateway.policy.model import Grant, Policy
from gateway.secret import Secret
from gateway.store.rows import ConnectionRow, LinkRow, Status
from gateway.vault import Connected
from gateway.web.session import Session
from gateway.web.text import plain

ACTOR = "connect-link"
LOOK_AGAIN = 0.25
"""Seconds between looks for the end of somebody else's try."""
LOOKS = 200

log = structlog.get_logger("gateway.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A link, what it is for, what is filled in beforehand, and how the last try ended."""

    row: LinkRow
    token: str
    policy: Policy
    preset: Mapping[str, str]
    outcome: Outcome | None
    standing: ConnectionRow | None = None
    """The connection that is to be authorised again, if there is one."""

    @property
    def app(self) -> str:
        """The app that it connects."""
        return self.row.app

    @property
    def path(self) -> str:
        """Its own URL, on this listener."""
        return path_of(self.token)

    @property
    def by_login(self) -> bool:
        """Whether this app's people sign in on its own pages."""
        return self.policy.auth.grant in BY_LOGIN

    @property
    def by_device(self) -> bool:
        """Whether this app's people type a code into its own pages, and nobody comes back."""
        return self.policy.auth.grant is Grant.DEVICE_CODE

    def outcome_for(self, session: Session | None) -> Outcome | None:
        """Return how the last try ended if it was this browser's."""
        if self.outcome is None or session is None or self.outcome.session != hash_of(session).hex():
            return None
        return self.outcome


async def open_link(request: web.Request, token: str) -> Opened | str:
    """Return the link, used or expired ones too, or one sentence saying why there is none."""
    services = request.app[SERVICES]
    row = await find_link(services, token)
    if row is None:
        return plain("link_closed.unknown")
    policy = services.catalog.get(row.app)
    if policy is None:
        return plain("link_closed.no_app")
    standing = None if row.connection is None else await services.store.connections.get(row.connection)
    if row.used_at is None and (gone := overtaken(row, standing)):
        return gone
    return Opened(
        row=row,
        token=token,
        policy=policy,
        preset=preset_fields(services, row),
        outcome=outcome_of(services, row),
        standing=standing,
    )


def overtaken(link: LinkRow, standing: ConnectionRow | None) -> str | None:
    """Return one sentence on why a link's connection is no longer what the link was made for; None: it is."""
    if standing is None:
        return None
    if standing.app != link.app:
        return plain("link_closed.other_app")
    if standing.status is Status.DISCONNECTED and standing.updated_at > link.created_at:
        return plain("link_closed.ended")
    return None


async def attempt(
    services: Services,
    link: LinkRow,
    session: Session,
    *,
    begun: float,
    typed: Mapping[str, str],
    work: Callable[[], Awaitable[Connected]],
) -> Connected | Refusal | None:
    """Do the work under a claim on the link, and keep how it ended. `typed` holds no secret.

    None: the link is used, expired, or somebody else's just now, whose end was waited for.
    """
    row = await claim_link(services, link.token_hash, begun=begun)
    if row is None:
        await _other_to_end(services, link.token_hash)
        return None
    by = hash_of(session).hex()
    standing = None if row.connection is None else await services.store.connections.get(row.connection)
    if gone := overtaken(row, standing):
        await end_claim(services, row, Outcome(session=by, problem=gone))
        return Refusal(code="conflict", detail=gone, hint="Ask whoever sent the link for a new one.")
    try:
        done = await work()
    except (ClientError, PolicyError, UpstreamError, AuthorizationServerError) as error:
        refusal = error.refusal
        log.info("connect.failed", app=link.app, code=refusal.code)
        outcome = Outcome(session=by, problem=refusal.detail, hint=refusal.hint or "", typed=dict(typed))
        await end_claim(services, row, outcome)
        return refusal
    except Exception:
        await end_claim(services, row, Outcome(session=by, problem="Something went wrong inside the gateway."))
        raise
    label = done.row.label or done.row.id
    await end_claim(services, row, Outcome(session=by, connection=done.row.id, label=label, created=done.created))
    return done


def sorted_out(policy: Policy, values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Secret]]:
    """Return the values in two: what may be seen, and what must not be: secret fields and one-time codes."""
    hidden = {field.name for field in policy.fields if field.secret or field.once}
    return (
        {name: value for name, value in values.items() if name not in hidden},
        {name: Secret(value) for name, value in values.items() if name in hidden},
    )


def hash_of(session: Session) -> bytes:
    """Return what the store keeps of a session: 128 random bits need no slow hash."""
    return hashlib.sha256(session.id.encode()).digest()


def path_of(token: str) -> str:
    """Return the path of a link's own page."""
    return f"/connect/{token}"


async def _other_to_end(services: Services, token_hash: bytes) -> None:
    """Wait while somebody else connects with the link: it may be the same person's second click."""
    for _ in range(LOOKS):
        row = await services.store.links.get(token_hash)
        if row is None or row.claimed_until is None or row.claimed_until <= services.clock():
            return
        await asyncio.sleep(LOOK_AGAIN)
