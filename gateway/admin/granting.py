"""Making and ending clients, for whoever asks: the API, the pages, the command line."""

from collections.abc import Sequence

from gateway.admin.services import Services
from gateway.errors import ClientError, Refusal
from gateway.secret import Secret
from gateway.store.rows import ClientRow


async def make_client(
    services: Services, *, name: str, patterns: Sequence[str], lifetime: float | None, actor: str
) -> tuple[ClientRow, Secret]:
    """Make a client; its token is in the answer and nowhere else. `lifetime` is in seconds, None: without an end.

    Raises `ClientError` (invalid: `errors` has every fault; conflict: the name is taken).
    """
    expires_at = None if lifetime is None else services.clock() + lifetime
    token = await services.access.create(name, patterns, expires_at)
    await services.audit.record(
        "client.created", actor=actor, client=name, connections=list(patterns), expires_at=expires_at
    )
    row = await services.store.clients.get(name)
    if row is None:  # somebody removed it in the same moment
        raise ClientError(Refusal(code="not_found", detail=f"There is no client {name!r}."))
    return row, token


async def end_client(services: Services, name: str, *, actor: str) -> bool:
    """Take a client's token back at once; False: there is no such client, or it was revoked before."""
    revoked = await services.access.revoke(name)
    if revoked:
        await services.audit.record("client.revoked", actor=actor, client=name)
    return revoked
