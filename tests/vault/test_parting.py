"""Disconnecting: at once here, and at the provider until it has heard, over restarts."""

import sqlite3
from contextlib import closing

import pytest

from gateway.errors import ClientError
from gateway.keyring import Keyring
from gateway.store.rows import RevocationRow, Status
from gateway.vault import Vault
from tests.vault.harness import ANN, CLIENT_CREDENTIALS, NOW, House, Overtaken, as_json, down, events, until

DOWN = "id.test could not be connected to: refused."


async def parted(house: House, vault: Vault) -> RevocationRow:
    """Disconnect while the provider is down; return what is left to be revoked."""
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.revocations = [down()] * 1000
    await vault.disconnect("c", actor="bob")
    await until(lambda: not vault._partings._tasks)
    left = await pending(vault)
    assert left is not None
    return left


async def pending(vault: Vault) -> RevocationRow | None:
    return (await vault._store.revocations.of(["c"])).get("c")


async def test_disconnecting_is_immediate_and_revokes_at_the_provider(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    await vault.disconnect("c", actor="bob")
    assert await vault.live("c") is None
    row = await vault._store.connections.get("c")
    assert row is not None
    assert (row.status, row.credentials, row.renew_at) == (Status.DISCONNECTED, None, None)
    await vault.close()
    assert house.provider.revoked == [{"token": "at-1-secret", "token_type_hint": "access_token"}]
    assert [event["actor"] for event in await events(vault, "connection.disconnected")] == ["bob"]
    assert [event["actor"] for event in await events(vault, "connection.revoked")] == ["bob"]
    assert await pending(vault) is None
    with pytest.raises(ClientError, match="no connection"):
        await vault.disconnect("c", actor="bob")


async def test_tokens_that_came_while_it_was_ended_are_those_that_are_revoked(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")

    async def first() -> None:
        async with house.vault() as other:
            await other.refresh("c")

    vault._store.connections = Overtaken(vault._store, first)
    await vault.disconnect("c", actor="bob")
    await vault.close()
    assert house.provider.revoked == [{"token": "at-2-secret", "token_type_hint": "access_token"}]
    assert len(await events(vault, "connection.disconnected")) == 1


async def test_a_refresh_token_is_what_is_revoked_where_the_policy_says_so(house: House, vault: Vault) -> None:
    text = CLIENT_CREDENTIALS.replace('/revoke"', '/revoke"\ntoken = "refresh_token"')
    house.policies.put("example", text)
    fields = {"client_id": "cid", "client_secret": "client-s3cret"}
    await vault.connect("example", connection_id="c", fields=fields, actor="ann")
    await vault.disconnect("c", actor="bob")
    await vault.close()
    assert house.provider.revoked == [{"token": "rt-1-secret", "token_type_hint": "refresh_token"}]


async def test_what_is_left_to_be_revoked_is_shown_and_sealed(house: House, vault: Vault) -> None:
    left = await parted(house, vault)
    assert (left.attempts, left.last_error, left.actor) == (1, DOWN, "bob")
    assert NOW + 2 <= (left.next_try_at or 0) <= NOW + 2.2
    assert [event["reason"] for event in await events(vault, "connection.revocation_failed")] == [DOWN]
    with closing(sqlite3.connect(house.path)) as database:
        stored = b"".join(str(row).encode() for row in database.execute("SELECT * FROM revocations"))
    assert b"at-1-secret" not in stored
    assert b"rt-1-secret" not in stored


async def test_a_revocation_is_done_by_the_next_start(house: House, vault: Vault) -> None:
    await parted(house, vault)
    await vault.close()
    house.clock.now += 3
    house.provider.revocations = []
    async with house.vault() as started:
        await started.upkeep().catch_up()
        assert await pending(started) is None
        revoked = await events(started, "connection.revoked")
    assert [(event["actor"], event["attempts"]) for event in revoked] == [("bob", 2)]
    assert [call["token"] for call in house.provider.revoked] == ["at-1-secret"] * 2


async def test_what_a_dead_process_was_at_is_tried_again(house: House, vault: Vault) -> None:
    """Ended between the commit and the first try: the row is there, claimed for a minute."""
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    vault._partings.begin = lambda _revocation: None  # type: ignore[method-assign]
    await vault.disconnect("c", actor="bob")
    async with house.vault() as started:
        await started.upkeep().catch_up()
        assert house.provider.revoked == []
        house.clock.now += 61
        await started.upkeep().catch_up()
    assert len(house.provider.revoked) == 1


async def test_the_schedule_of_a_provider_that_stays_away_and_that_it_is_given_up_after_a_week(
    house: House, vault: Vault
) -> None:
    left = await parted(house, vault)
    upkeep, pauses, now = vault.upkeep(), [], NOW
    while left.next_try_at is not None:
        pauses.append(left.next_try_at - now)
        now = house.clock.now = left.next_try_at
        await upkeep.catch_up()
        following = await pending(vault)
        assert following is not None
        left = following
    for paused, planned in zip(pauses, (2, 10, 60, 300, 1800, 3600, 21600, 21600), strict=False):
        assert planned <= paused <= planned * 1.1
    assert len(house.provider.revoked) == len(pauses) + 1
    assert now - NOW >= 7 * 86400
    assert (left.sealed, left.last_error) == (None, DOWN)
    told = await events(vault, "connection.revocation_failed")
    assert [(event["given_up"], event["attempts"]) for event in told] == [(True, left.attempts), (False, 1)]


async def test_connecting_again_lets_the_old_tokens_be(house: House, vault: Vault) -> None:
    """Many providers end every token of an account with one: the living connection must not be the one that ends."""
    await parted(house, vault)
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    assert await pending(vault) is None
    house.clock.now += 86400
    house.provider.revoked.clear()
    await vault._partings.close()
    assert await vault._store.revocations.next_at() is None


async def test_without_its_policy_or_its_key_a_revocation_waits(house: House, vault: Vault) -> None:
    await parted(house, vault)
    policy = house.policies.pop("legacy")
    house.clock.now += 3
    await vault.upkeep().catch_up()
    left = await pending(vault)
    assert left is not None
    assert left.last_error == "The policy of the app legacy is not there."
    house.policies["legacy"] = policy
    house.clock.now += 20
    keyring, vault._safe._keyring = vault._safe._keyring, Keyring({2: bytes(32)})
    await vault.upkeep().catch_up()
    vault._safe._keyring = keyring
    left = await pending(vault)
    assert left is not None
    assert "can't be opened" in (left.last_error or "")
    house.provider.revocations = []
    house.clock.now += 70
    await vault.upkeep().catch_up()
    assert await pending(vault) is None


async def test_a_connection_whose_credentials_do_not_open_can_be_ended(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    vault._safe._keyring = Keyring({2: bytes(32)})
    await vault.disconnect("c", actor="bob")
    row = await vault._store.connections.get("c")
    assert row is not None
    assert row.status is Status.DISCONNECTED
    assert house.provider.revoked == []


async def test_a_command_that_ends_lets_the_first_try_finish_and_waits_for_no_other(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.revocations = [as_json(503)]
    await vault.disconnect("c", actor="bob")
    await vault.close()
    assert len(house.provider.revoked) == 1
    left = await pending(vault)
    assert left is not None
    assert left.attempts == 1


async def test_two_servers_try_once_between_them(house: House, vault: Vault) -> None:
    await parted(house, vault)
    house.provider.revocations = []
    house.clock.now += 3
    async with house.vault() as other:
        ours, theirs = vault.upkeep(), other.upkeep()
        await theirs.catch_up()
        await ours.catch_up()
    assert len(house.provider.revoked) == 2, "one when it was disconnected, one now"
