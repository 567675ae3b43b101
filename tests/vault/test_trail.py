"""The audit trail: an event for each change of a connection, and no flood."""

import json
from contextlib import suppress

from gateway.errors import AuthorizationServerError
from gateway.vault import Vault
from tests.vault.harness import ANN, House, as_json, down


async def trail(vault: Vault) -> list[tuple[str, str]]:
    page = await vault._store.events.list(limit=1000)
    return [(event.kind, event.actor) for event in reversed(page.items)]


async def test_each_change_of_a_connection_is_in_the_trail_with_who_did_it(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    await vault.test("c", actor="bob")
    await vault.refresh("c", actor="carl")
    house.provider.scripted = [as_json(400, error="invalid_grant")]
    with suppress(AuthorizationServerError):
        await vault.refresh("c", actor="carl")
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="dora")
    await vault.disconnect("c", actor="emil")
    await vault.close()
    assert await trail(vault) == [
        ("connection.created", "ann"),
        ("connection.tested", "bob"),
        ("token.refreshed", "carl"),
        ("connection.needs_reauthorization", "gateway"),
        ("connection.updated", "dora"),
        ("connection.disconnected", "emil"),
        ("connection.revoked", "emil"),
    ]


async def test_a_busy_connection_does_not_flood_the_trail(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    for _ in range(50):  # rotations: counted and logged, not told
        live = await vault.live("c")
        assert live is not None
        await vault.after_401(live)
    house.provider.scripted = [down()] * 20
    for _ in range(20):
        live = await vault.live("c")
        assert live is not None
        with suppress(AuthorizationServerError):
            await vault.after_401(live)
        house.clock.now += 400
    house.provider.scripted = []
    live = await vault.live("c")
    assert live is not None
    await vault.after_401(live)
    house.provider.scripted = [as_json(400, error="invalid_grant")] * 20
    for _ in range(20):  # a person who tries again and again
        with suppress(AuthorizationServerError):
            await vault.refresh("c", actor="ann")
    assert [kind for kind, _ in await trail(vault)] == [
        "connection.created",
        "token.refresh_failed",
        "token.refresh_recovered",
        "connection.needs_reauthorization",
    ]


async def test_a_change_and_its_event_are_there_together_or_not_at_all(house: House, vault: Vault) -> None:
    """The event is a row of the same transaction: where it can't be written, the connection stays as it was."""
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    async with vault._store.database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE events")
    with suppress(Exception):
        await vault.disconnect("c", actor="bob")
    row = await vault._store.connections.get("c")
    assert row is not None
    assert row.status.value == "active"
    assert house.provider.revoked == []


async def test_no_detail_holds_a_secret(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.scripted = [as_json(503, error_description="at-1-secret and rt-1-secret and app-s3cret")]
    with suppress(AuthorizationServerError):
        await vault.refresh("c", actor="ann")
    page = await vault._store.events.list(limit=1000)
    said = json.dumps([dict(event.detail) for event in page.items])
    assert "token.refresh_failed" in {event.kind for event in page.items}
    assert "secret" not in said
    assert "s3cret" not in said
