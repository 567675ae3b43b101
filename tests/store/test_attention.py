"""What every store says needs a person."""

from dataclasses import replace

from gateway.store import EventRow, Status, Store
from gateway.store.attention import TESTS
from gateway.store.tables import events
from tests.store.samples import a_connection


async def run_test(store: Store, connection: str, *, ok: bool, at: float = 1000.0) -> None:
    detail = {"ok": ok, "status": 200 if ok else 403}
    await store.events.add(
        EventRow(at=at, kind="connection.tested", actor="admin", app="crm", connection=connection, detail=detail)
    )


async def failing(store: Store) -> list[str]:
    return [test.connection for test in await store.attention.failing(10)]


async def test_connections_that_need_a_sign_in_come_newest_first(store: Store):
    for name, at in (("a", 3.0), ("b", 5.0), ("c", 4.0)):
        row = a_connection(name, status=Status.NEEDS_REAUTHORIZATION, updated_at=at, reason="Token was revoked")
        await store.connections.insert(row)
    await store.connections.insert(a_connection("fine", updated_at=9.0))
    found = await store.attention.to_reauthorize(2)
    assert [(row.id, row.reason) for row in found] == [("b", "Token was revoked"), ("c", "Token was revoked")]


async def test_connections_that_are_tried_again_come_by_their_failures(store: Store):
    for name, failures in (("a", 1), ("b", 7), ("fine", 0)):
        await store.connections.insert(a_connection(name, failures=failures))
    ended = replace(a_connection("ended"), failures=9, status=Status.DISCONNECTED)
    await store.connections.insert(ended)
    assert [row.id for row in await store.attention.retrying(10)] == ["b", "a"]
    assert [row.id for row in await store.attention.retrying(1)] == ["b"]


async def test_a_connection_fails_its_test_until_one_passes(store: Store):
    await store.connections.insert(a_connection("a", label="Ann"))
    await store.connections.insert(a_connection("b"))
    await run_test(store, "a", ok=False, at=5.0)
    await run_test(store, "b", ok=True)
    await run_test(store, "b", ok=False)
    (b, a) = await store.attention.failing(10)
    assert (b.connection, a.connection) == ("b", "a")
    assert (a.app, a.label, a.at, a.status) == ("crm", "Ann", 5.0, 403)
    assert len(await store.attention.failing(1)) == 1
    await run_test(store, "b", ok=True)
    assert await failing(store) == ["a"]


async def test_a_connection_that_is_gone_or_was_connected_again_since_fails_nothing(store: Store):
    for name in ("ended", "again", "fails"):
        await store.connections.insert(a_connection(name))
        await run_test(store, name, ok=False)
    await run_test(store, "never-there", ok=False)
    await store.connections.update("ended", status=Status.DISCONNECTED)
    await store.events.add(EventRow(at=2000.0, kind="connection.updated", actor="x", app="crm", connection="again"))
    await store.events.add(EventRow(at=2000.0, kind="token.refreshed", actor="x", app="crm", connection="fails"))
    assert await failing(store) == ["fails"]


async def test_a_test_that_many_newer_ones_lie_over_isnt_seen(sqlite_store: Store):
    """Else the whole trail would be read: `TESTS` says how far back."""
    await sqlite_store.connections.insert(a_connection("a"))
    await run_test(sqlite_store, "a", ok=False)
    await sqlite_store.connections.insert(a_connection("b"))
    row = {"at": 1.0, "kind": "connection.tested", "actor": "x", "connection": "b", "detail": {"ok": True}}
    async with sqlite_store.database.write() as connection:
        await connection.execute(events.insert(), [row] * (TESTS - 1))
    assert await failing(sqlite_store) == ["a"]
    await run_test(sqlite_store, "b", ok=True)
    assert await failing(sqlite_store) == []
