"""Connections: connecting at once, looking, testing, refreshing, disconnecting, and explaining a decision."""

from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.admin.models import (
    Connection,
    ConnectionsQuery,
    Explanation,
    ListOf,
    NewConnection,
    Question,
    Revocation,
    Tested,
    time_of,
)
from gateway.admin.operation import Answer, Call, missing
from gateway.secret import Secret
from gateway.store.rows import ConnectionRow, RevocationRow
from gateway.store.store import Store


async def create_connection(call: Call) -> Answer:
    """Connect: 201 for a new account, 200 when this account was connected already and is now up to date."""
    wanted: NewConnection = call.body
    services = call.services
    if services.catalog.get(wanted.app) is None:
        raise missing(f"app {wanted.app!r}")
    connected = await services.vault.connect(
        wanted.app,
        connection_id=wanted.id,
        fields=wanted.fields,
        secrets={name: Secret(value) for name, value in wanted.secrets.items()},
        actor=call.actor,
    )
    return Answer(body=await show(services.store, connected.row), status=201 if connected.created else 200)


async def list_connections(call: Call) -> Answer:
    """Return the connections that fit, in the order of their ids."""
    query: ConnectionsQuery = call.query
    store = call.services.store
    page = await store.connections.list(**query.model_dump())
    return Answer(body=ListOf[Connection](items=await show_all(store, page.items), next=page.next))


async def show_connection(call: Call) -> Answer:
    """Return one connection."""
    return Answer(body=await show(call.services.store, await _row(call)))


async def disconnect(call: Call) -> Answer:
    """End the connection here at once, and revoke its tokens at the provider where the policy says how."""
    row = await _row(call)
    await call.services.vault.disconnect(row.id, actor=call.actor)
    return Answer(status=204)


async def test_connection(call: Call) -> Answer:
    """Run the app's test call with the connection's credentials."""
    row = await _row(call)
    result = await call.services.vault.test(row.id, actor=call.actor)
    return Answer(body=Tested(ok=result.ok, status=result.status, message=result.message))


async def refresh_connection(call: Call) -> Answer:
    """Renew the connection's token now, whether it is due or not."""
    row = await _row(call)
    await call.services.vault.refresh(row.id, actor=call.actor)
    return Answer(body=await show(call.services.store, await _row(call)))


async def explain(call: Call) -> Answer:
    """Say what would be decided about a request, and what would be added to it."""
    asked: Question = call.body
    if await call.services.store.connections.get(asked.connection) is None:
        raise missing(f"connection {asked.connection!r}")
    answer = await call.services.vault.explain(asked.connection, asked.method, asked.url)
    return Answer(body=Explanation.model_validate(answer))


async def show_all(store: Store, rows: Sequence[ConnectionRow]) -> list[Connection]:
    """Return rows as the API shows them, each with what is still to be revoked of it."""
    left = await store.revocations.of(row.id for row in rows)
    return [shown(row, left.get(row.id)) for row in rows]


async def show(store: Store, row: ConnectionRow) -> Connection:
    """Return one row as the API shows it."""
    return (await show_all(store, (row,)))[0]


def shown(row: ConnectionRow, left: RevocationRow | None = None) -> Connection:
    """Return a row as the API shows it, with what is `left` to be revoked: nothing that is sealed is opened for it."""
    return Connection(
        id=row.id,
        app=row.app,
        label=row.label,
        unique_id=row.unique_id,
        status=row.status,
        reason=row.reason,
        expires_at=time_of(row.expires_at),
        retry_at=time_of(row.retry_at),
        failures=row.failures,
        token_version=row.token_version,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        updated_at=datetime.fromtimestamp(row.updated_at, UTC),
        last_used_at=time_of(row.last_used_at),
        created_by=row.created_by,
        revocation=None if left is None else _revocation(left),
    )


def _revocation(row: RevocationRow) -> Revocation:
    return Revocation(
        state="failed" if row.next_try_at is None else "pending",
        since=datetime.fromtimestamp(row.created_at, UTC),
        attempts=row.attempts,
        next_try_at=time_of(row.next_try_at),
        last_error=row.last_error,
    )


async def _row(call: Call) -> ConnectionRow:
    name = call.parameters["id"]
    row = await call.services.store.connections.get(name)
    if row is None:
        raise missing(f"connection {name!r}")
    return row
