"""One-time connect links: made for one app, opened by whoever is sent the link, used once.

The store keeps the SHA-256 of a link's token: who reads the database can't open a link.
"""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from gateway.admin.models import Link, NewLink
from gateway.admin.operation import Answer, Call, missing
from gateway.admin.services import Services
from gateway.errors import ClientError, Refusal
from gateway.store.rows import LinkRow

PREFIX = "gwl_"
_PLACE = ("connect_links", "fields")


async def create_link(call: Call) -> Answer:
    """Make a link. Preset values of secret fields are refused: a secret is typed in by the person who has it."""
    wanted: NewLink = call.body
    policy = call.services.catalog.get(wanted.app)
    if policy is None:
        raise missing(f"app {wanted.app!r}")
    open_names = {field.name for field in policy.fields if not field.secret}
    faults = [
        {"path": f"fields.{name}", "message": "is a secret field, or none of this app's fields"}
        for name in wanted.fields
        if name not in open_names
    ]
    if faults:
        raise ClientError(Refusal(code="invalid", detail="These values can't be preset.", errors=tuple(faults)))
    token, row = await make_link(
        call.services,
        app=wanted.app,
        connection=wanted.id,
        fields=wanted.fields,
        lifetime=wanted.expires_in,
        actor=call.actor,
    )
    url = f"{call.origin}/connect/{token}"
    return Answer(body=Link(url=url, expires_at=datetime.fromtimestamp(row.expires_at, UTC)), status=201)


async def make_link(
    services: Services, *, app: str, connection: str | None, fields: Mapping[str, str], lifetime: float, actor: str
) -> tuple[str, LinkRow]:
    """Store a new link and return its token, which is nowhere else, with its row. `lifetime` is in seconds."""
    token = PREFIX + secrets.token_urlsafe(32)
    hashed, now = hash_of(token), services.clock()
    table, column = _PLACE
    sealed = services.keyring.seal(orjson.dumps(dict(fields)), table=table, column=column, row=hashed.hex())
    row = LinkRow(
        token_hash=hashed,
        app=app,
        connection=connection,
        fields=sealed,
        created_at=now,
        expires_at=now + lifetime,
        created_by=actor,
    )
    await services.store.links.insert(row)
    await services.audit.record("link.created", actor=actor, app=app, connection=connection, expires_at=row.expires_at)
    return token, row


async def find_link(services: Services, token: str) -> LinkRow | None:
    """Return the link of this token, used or expired ones too."""
    return await services.store.links.get(hash_of(token))


def preset_fields(services: Services, row: LinkRow) -> dict[str, str]:
    """Open the values that were filled in beforehand."""
    if row.fields is None:
        return {}
    table, column = _PLACE
    opened: dict[str, str] = orjson.loads(
        services.keyring.open(row.fields, table=table, column=column, row=row.token_hash.hex())
    )
    return opened


def hash_of(token: str) -> bytes:
    """Return what the store keeps of a link's token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
