"""One-time connect links: made for one app, opened by whoever is sent the link, used once.

The store keeps the SHA-256 of a link's token: who reads the database can't open a link. What is filled in beforehand
and how the last try ended are sealed beside it. Whoever connects with a link holds a claim on it meanwhile, so that of
two at once, on however many servers, one connects.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.admin.models import Link, NewLink
from gateway.admin.operation import Answer, Call, missing
from gateway.admin.services import Services
from gateway.errors import ClientError, Refusal
from gateway.policy.fields import validate_fields
from gateway.policy.model import Grant, Policy
from gateway.store.links import KEPT
from gateway.store.rows import LinkRow
from gateway.vault.connecting import CONNECTION_ID

PREFIX = "gwl_"
BY_LOGIN = frozenset({Grant.AUTHORIZATION_CODE, Grant.IMPLICIT, Grant.OAUTH1})
"""The grants whose people sign in on the provider's own pages, and come back to a redirect URL."""
CALLBACK = "/oauth/callback"
LIFETIME = 1_800.0
"""Seconds that a link is good for, unless its maker says otherwise."""
CLAIM = 120.0
"""Seconds after which a claim lapses, should its holder die: the calls under it take 40 at most."""
GRACE = 600.0
"""Seconds after a link's end in which a login that was begun in time may still come back."""
_TABLE = "connect_links"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the last try to connect with a link ended.

    `session` is the SHA-256 of the browser session's id, in hex: nobody else is shown this. `problem` and `hint` say
    why it failed; `typed` is what was filled in, without secrets. Else `connection` was connected as `label`; `created`
    is False where the account was there before.
    """

    session: str
    problem: str = ""
    hint: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    connection: str = ""
    label: str = ""
    created: bool = False


async def create_link(call: Call) -> Answer:
    """Make a link. What is filled in beforehand is checked now: the person could not put it right."""
    wanted: NewLink = call.body
    policy = call.services.catalog.get(wanted.app)
    if policy is None:
        raise missing(f"app {wanted.app!r}")
    preset = check_presets(policy, wanted.fields, wanted.secrets)
    token, row = await make_link(
        call.services,
        app=wanted.app,
        connection=wanted.id,
        fields=preset,
        lifetime=wanted.expires_in,
        actor=call.actor,
    )
    url = f"{call.origin}/connect/{token}"
    return Answer(body=Link(url=url, expires_at=datetime.fromtimestamp(row.expires_at, UTC)), status=201)


def check_presets(policy: Policy, fields: Mapping[str, str], hidden: Mapping[str, str]) -> dict[str, str]:
    """Return `fields` and `hidden`, the secret ones, in one. Raises `ClientError` with every fault."""
    kind = {one.name: one.secret for one in policy.fields}
    faults = []
    for place, given, secret in (("fields", fields, False), ("secrets", hidden, True)):
        for name in given:
            if kind.get(name) is None:
                faults.append({"path": f"{place}.{name}", "message": "is no field of this app"})
            elif kind[name] is not secret:
                other = "secrets" if kind[name] else "fields"
                faults.append({"path": f"{place}.{name}", "message": f"belongs into {other}"})
    preset = {**fields, **hidden}
    _, errors = validate_fields(policy, preset)
    faults += [
        {"path": f"{'secrets' if kind[name] else 'fields'}.{name}", "message": message}
        for name, message in errors.items()
        if preset.get(name) and name in kind
    ]
    if faults:
        raise ClientError(Refusal(code="invalid", detail="These values can't be preset.", errors=tuple(faults)))
    return {name: value for name, value in preset.items() if value}


async def make_link(
    services: Services, *, app: str, connection: str | None, fields: Mapping[str, str], lifetime: float, actor: str
) -> tuple[str, LinkRow]:
    """Store a new link and return its token, which is nowhere else, with its row. `lifetime` is in seconds.

    Raises `ClientError`: `invalid` for what is no connection id, `conflict` where it belongs to another app.
    """
    if connection is not None and not CONNECTION_ID.fullmatch(connection):
        detail = "A connection id is 1 to 64 letters, digits, dots, - and _, and begins with a letter or a digit."
        raise ClientError(Refusal(code="invalid", detail=detail))
    standing = None if connection is None else await services.store.connections.get(connection)
    if standing is not None and standing.app != app:
        detail = f"The connection {connection} belongs to the app {standing.app}."
        raise ClientError(Refusal(code="conflict", detail=detail, hint="Choose another id."))
    token = PREFIX + secrets.token_urlsafe(32)
    hashed, now = hash_of(token), services.clock()
    row = LinkRow(
        token_hash=hashed,
        app=app,
        connection=connection,
        fields=_seal(services, hashed, "fields", dict(fields)),
        created_at=now,
        expires_at=now + lifetime,
        created_by=actor,
    )
    await services.store.links.prune(before=now - KEPT)
    await services.store.links.insert(row)
    await services.audit.record("link.created", actor=actor, app=app, connection=connection, expires_at=row.expires_at)
    return token, row


async def find_link(services: Services, token: str) -> LinkRow | None:
    """Return the link of this token, used or expired ones too."""
    return await services.store.links.get(hash_of(token))


def preset_fields(services: Services, row: LinkRow) -> dict[str, str]:
    """Open the values that were filled in beforehand, secret ones too."""
    opened: dict[str, str] = _open(services, row.token_hash, "fields", row.fields) or {}
    return opened


def outcome_of(services: Services, row: LinkRow) -> Outcome | None:
    """Open how the last try ended; None: nobody has tried."""
    opened = _open(services, row.token_hash, "outcome", row.outcome)
    return None if opened is None else Outcome(**opened)


async def claim_link(services: Services, token_hash: bytes, *, begun: float) -> LinkRow | None:
    """Take the link for one try; the row's `claim` is ours. None: as `Links.claim`."""
    now = services.clock()
    return await services.store.links.claim(
        token_hash, claim=secrets.token_hex(16), now=now, until=now + CLAIM, begun=begun
    )


async def end_claim(services: Services, row: LinkRow, outcome: Outcome) -> None:
    """End the try: the link is used up by a connection, and given back by a problem."""
    links, claim = services.store.links, row.claim or ""
    sealed = _seal(services, row.token_hash, "outcome", asdict(outcome))
    if outcome.connection:
        await links.use(row.token_hash, claim=claim, now=services.clock(), outcome=sealed)
    else:
        await links.release(row.token_hash, claim=claim, outcome=sealed)


def redirect_url(origin: str, app: str) -> str:
    """Return where an app's provider sends people back to: one URL for each app. `origin` is the web listener's."""
    return f"{origin}{CALLBACK}/{app}"


def hash_of(token: str) -> bytes:
    """Return what the store keeps of a link's token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _seal(services: Services, token_hash: bytes, column: str, data: Mapping[str, Any]) -> bytes:
    return services.keyring.seal(orjson.dumps(data), table=_TABLE, column=column, row=token_hash.hex())


def _open(services: Services, token_hash: bytes, column: str, sealed: bytes | None) -> Any:
    if sealed is None:
        return None
    return orjson.loads(services.keyring.open(sealed, table=_TABLE, column=column, row=token_hash.hex()))
