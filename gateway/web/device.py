"""A code that a person types in at the provider's (RFC 8628), from the connect page that shows it to its end.

What has begun is kept as a login is (`login`): sealed, for one link and the one browser session that began it, for
nobody is sent away who could bring a state back. The page loads itself again and again; whichever server it asks, the
provider is polled no sooner than it wants, and by one at a time.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.admin.links import CLAIM, GRACE
from gateway.admin.services import Services
from gateway.errors import GatewayError, StoreError
from gateway.oauth.answer import TokenAnswer
from gateway.oauth.device import Pending
from gateway.secret import Secret
from gateway.store.rows import LoginStateRow
from gateway.vault import Connected
from gateway.vault.logins import code_expired
from gateway.web.link import ACTOR, Opened, attempt, hash_of
from gateway.web.session import Session

_PLACE = {"table": "login_states", "column": "sealed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A code that nobody has used yet, as the page shows it.

    `link` and `host` are empty where the URI can't be clicked on; `expires_at` is epoch seconds, `look_in` in how many
    seconds it is worth looking again; `trouble` is why the last look brought nothing.
    """

    user_code: str
    verification_uri: str
    link: str
    host: str
    expires_at: float
    look_in: float
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What a code began with, and its own secret."""

    device_code: Secret
    shown: Mapping[str, str]
    fields: Mapping[str, str]
    secrets: Mapping[str, Secret]


async def begin(
    services: Services, found: Opened, session: Session, *, fields: Mapping[str, str], hidden: Mapping[str, Secret]
) -> None:
    """Get a code and keep it, in place of one that this browser has for the link already.

    Raises `AuthorizationServerError`, `PolicyError`, `StoreError`.
    """
    code = await services.vault.logins.ask_for_code(found.app, found.policy, fields={**fields, **hidden})
    now, hashed = services.clock(), _hash(found, session)
    kept = {
        "device_code": code.device_code.reveal(),
        "shown": {
            "user_code": code.user_code,
            "verification_uri": code.verification_uri,
            "link": code.link,
            "host": code.host,
        },
        "fields": dict(fields),
        "secrets": {name: value.reveal() for name, value in hidden.items()},
    }
    await services.store.logins.prune(before=now)
    await services.store.logins.put(
        LoginStateRow(
            state_hash=hashed,
            app=found.app,
            session_hash=hash_of(session),
            sealed=services.keyring.seal(orjson.dumps(kept), row=hashed.hex(), **_PLACE),
            created_at=now,
            expires_at=min(now + code.expires_in, found.row.expires_at + GRACE),
            poll_at=now + code.interval,
            poll_interval=code.interval,
        )
    )


async def look(services: Services, found: Opened, session: Session) -> Waiting | bool:
    """Look whether the code was used, and ask the provider if it is time to. False: this browser has none.

    True: it is over, and how it ended is kept with the link. Raises `StoreError`.
    """
    row = await services.store.logins.get(_hash(found, session))
    if row is None or row.app != found.app:
        return False
    kept, now = _opened(services, row), services.clock()
    interval = row.poll_interval or 0.0
    if row.expires_at <= now:
        return await _end(services, found, session, row, code_expired(found.policy))
    if not await services.store.logins.hold(row, now=now, until=now + CLAIM):
        return _waiting(kept, row, look_in=min(max((row.poll_at or now) - now, 1.0), interval))
    came = await _poll(services, found, kept, interval)
    if not isinstance(came, Pending):
        return await _end(services, found, session, row, came)
    await services.store.logins.wait(row, until=services.clock() + came.interval, interval=came.interval)
    return _waiting(kept, row, look_in=came.interval, trouble=came.detail)


async def give_up(services: Services, found: Opened, session: Session) -> dict[str, str]:
    """Forget this browser's code; return what was typed before it, without secrets. Raises `StoreError`."""
    row = await services.store.logins.take(_hash(found, session))
    return {} if row is None else dict(_opened(services, row).fields)


async def _poll(
    services: Services, found: Opened, kept: _Kept, interval: float
) -> TokenAnswer | Pending | GatewayError:
    try:
        came: TokenAnswer | Pending = await services.vault.logins.poll(
            found.app,
            found.policy,
            fields={**kept.fields, **kept.secrets},
            device_code=kept.device_code,
            interval=interval,
        )
    except StoreError:
        raise
    except GatewayError as error:
        return error
    return came


async def _end(
    services: Services, found: Opened, session: Session, row: LoginStateRow, came: TokenAnswer | GatewayError
) -> bool:
    """Connect with what came, or keep why not. The code stays as long as that takes, so that nobody begins anew."""
    kept = _opened(services, row)

    async def work() -> Connected:
        if isinstance(came, GatewayError):
            raise came
        return await services.vault.connect(
            found.app,
            connection_id=found.row.connection,
            fields=kept.fields,
            secrets=kept.secrets,
            actor=ACTOR,
            answer=came,
        )

    try:
        await attempt(services, found.row, session, begun=row.created_at, typed=kept.fields, work=work)
    finally:
        await services.store.logins.drop(row)
    return True


def _waiting(kept: _Kept, row: LoginStateRow, *, look_in: float, trouble: str = "") -> Waiting:
    return Waiting(**kept.shown, expires_at=row.expires_at, look_in=look_in, trouble=trouble)


def _opened(services: Services, row: LoginStateRow) -> _Kept:
    kept: dict[str, Any] = orjson.loads(services.keyring.open(row.sealed, row=row.state_hash.hex(), **_PLACE))
    return _Kept(
        device_code=Secret(kept["device_code"]),
        shown=kept["shown"],
        fields=kept["fields"],
        secrets={name: Secret(value) for name, value in kept["secrets"].items()},
    )


def _hash(found: Opened, session: Session) -> bytes:
    """Return where the code of a link and a session is kept: together they have 384 random bits."""
    return hashlib.sha256(f"device {found.token} {session.id}".encode("utf-8", "surrogateescape")).digest()
