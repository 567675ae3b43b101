"""Clients: programs, and which connections they may use."""

from datetime import UTC, datetime
from typing import Any

from gateway.admin.granting import end_client, make_client
from gateway.admin.models import Client, ClientCreated, ListOf, NewClient, PageQuery, time_of
from gateway.admin.operation import Answer, Call, missing
from gateway.store.rows import ClientRow


async def create_client(call: Call) -> Answer:
    """Make a client; its token is in this answer and nowhere else."""
    wanted: NewClient = call.body
    row, token = await make_client(
        call.services, name=wanted.name, patterns=wanted.connections, lifetime=wanted.expires_in, actor=call.actor
    )
    return Answer(body=ClientCreated(**_values(row), token=token.reveal()), status=201)


async def list_clients(call: Call) -> Answer:
    """Return the clients in the order of their names; the cursor is the last name of the page before."""
    query: PageQuery = call.query
    rows = sorted(await call.services.store.clients.all(), key=lambda row: row.name)
    rows = [row for row in rows if query.cursor is None or row.name > query.cursor]
    shown = rows[: query.limit]
    items = [Client(**_values(row)) for row in shown]
    return Answer(body=ListOf[Client](items=items, next=shown[-1].name if len(rows) > len(shown) else None))


async def revoke_client(call: Call) -> Answer:
    """End a client's right at once. Doing so again changes nothing."""
    name, services = call.parameters["name"], call.services
    if await services.store.clients.get(name) is None:
        raise missing(f"client {name!r}")
    await end_client(services, name, actor=call.actor)
    return Answer(status=204)


def _values(row: ClientRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "connections": list(row.patterns),
        "created_at": datetime.fromtimestamp(row.created_at, UTC),
        "expires_at": time_of(row.expires_at),
        "revoked_at": time_of(row.revoked_at),
    }
