"""The background sweep: what nobody uses is renewed too, by one server, with a pause where it fails."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from gateway.errors import Refusal, StoreError
from gateway.store.rows import ConnectionRow, Status
from gateway.vault import Vault
from gateway.vault.upkeep import AT_ONCE
from tests.vault.harness import ANN, CLIENT_CREDENTIALS, NOW, PASSWORD, House, as_json, down, events, until

DAY = 86_400.0
KEPT_ALIVE = PASSWORD.replace("[auth.token]", 'keep_alive = "30d"\n[auth.token]')


async def connected(house: House, vault: Vault, connection_id: str = "c", app: str = "legacy") -> ConnectionRow:
    house.provider.me = as_json(200, id=connection_id, name=connection_id)
    return (await vault.connect(app, connection_id=connection_id, fields=ANN, actor="test")).row


async def row_of(vault: Vault, connection_id: str = "c") -> ConnectionRow:
    row = await vault._store.connections.get(connection_id)
    assert row is not None
    return row


def calls(house: House) -> int:
    """Token calls but the one that connected."""
    return len(house.provider.token_calls) - 1


async def test_a_connection_that_nobody_uses_is_renewed_before_its_token_expires(house: House, vault: Vault) -> None:
    row = await connected(house, vault)
    assert row.renew_at is not None
    assert NOW + 3600 - 66 <= row.renew_at <= NOW + 3600 - 54
    upkeep = vault.upkeep()
    house.clock.now = row.renew_at - 1
    await upkeep.catch_up()
    assert calls(house) == 0
    house.clock.now = row.renew_at
    await upkeep.catch_up()
    await upkeep.catch_up()
    assert calls(house) == 1
    renewed = await row_of(vault)
    assert (renewed.token_version, renewed.last_used_at) == (2, None)
    assert renewed.renew_at is not None
    assert renewed.renew_at > row.renew_at + 3400


async def test_a_refresh_token_that_would_lapse_is_kept_alive_though_the_access_token_never_expires(
    house: House, vault: Vault
) -> None:
    house.policies.put("legacy", KEPT_ALIVE)
    house.provider.expires_in = None
    row = await connected(house, vault)
    assert row.expires_at is None
    assert row.renew_at is not None
    assert NOW + 27 * DAY <= row.renew_at <= NOW + 30 * DAY
    upkeep = vault.upkeep()
    for _ in range(12):  # a year in which nobody comes by
        house.clock.now = (await row_of(vault)).renew_at or 0
        await upkeep.catch_up()
    assert calls(house) == 12
    assert (await row_of(vault)).status is Status.ACTIVE


async def test_what_was_connected_together_is_not_renewed_together(house: House, vault: Vault) -> None:
    house.policies.put("legacy", KEPT_ALIVE)
    house.provider.expires_in = None
    times = [(await connected(house, vault, f"c{n}")).renew_at or 0 for n in range(40)]
    assert max(times) - min(times) > 2 * DAY
    assert len(set(times)) == 40


@pytest.mark.parametrize("answer", [as_json(503), down()])
async def test_a_provider_that_is_away_is_asked_again_with_longer_and_longer_pauses(
    house: House, vault: Vault, answer: Any
) -> None:
    row = await connected(house, vault)
    house.provider.scripted = [answer] * 999
    upkeep = vault.upkeep()
    start = now = house.clock.now = row.renew_at or 0
    asked: list[float] = []
    while now < start + 1200:
        before = calls(house)
        await upkeep.catch_up()
        if calls(house) > before:
            asked.append(now)
        now = house.clock.now = now + (0.5 if now < start + 60 else 2)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert 9 <= len(asked) <= 13, pauses
    for pause, longest in zip(pauses, (2, 4, 8, 16, 32, 64, 128, 256, 300, 300), strict=False):
        assert 0.75 * longest <= pause <= longest + 2
    house.provider.scripted = []
    house.clock.now += 300
    await upkeep.catch_up()
    assert (await row_of(vault)).token_version == 2
    told = [event["reason"] for event in await events(vault, "token.refresh_failed")]
    assert len(told) == 1, "the first failure, and not each"
    assert [event["failures"] for event in await events(vault, "token.refresh_recovered")] == [len(asked)]


async def test_a_spent_refresh_token_is_not_swept_again(house: House, vault: Vault) -> None:
    row = await connected(house, vault)
    house.provider.scripted = [as_json(400, error="invalid_grant")]
    house.clock.now = row.renew_at or 0
    upkeep = vault.upkeep()
    await upkeep.catch_up()
    house.clock.now += DAY
    await upkeep.catch_up()
    assert calls(house) == 1
    assert (await row_of(vault)).status is Status.NEEDS_REAUTHORIZATION
    assert len(await events(vault, "connection.needs_reauthorization")) == 1


async def test_two_servers_share_the_work_and_nobody_asks_twice(house: House) -> None:
    async with house.vault() as one, house.vault() as two:
        for n in range(40):
            await connected(house, one, f"c{n}")
        house.provider.token_calls.clear()
        house.provider.scripted = [as_json(200, access_token="new", expires_in=3600)] * 999
        house.clock.now = NOW + 3600
        await asyncio.gather(one.upkeep().catch_up(), two.upkeep().catch_up())
        spent = [call["refresh_token"] for call in house.provider.token_calls]
        assert len(spent) == 40
        assert len(set(spent)) == 40


async def test_a_server_that_died_at_it_is_followed_by_the_next_look(house: House, vault: Vault) -> None:
    row = await connected(house, vault)
    upkeep = vault.upkeep()
    await upkeep.catch_up()
    house.clock.now = row.renew_at or 0
    claimed = await vault._store.due.claim(10, now=house.clock.now, until=house.clock.now + 90)
    assert [one.id for one in claimed] == ["c"]
    await upkeep.catch_up()
    assert calls(house) == 0
    house.clock.now += 90
    await upkeep.catch_up()
    assert calls(house) == 1


async def test_no_more_than_so_many_at_once_and_a_free_hand_is_used(house: House, vault: Vault) -> None:
    for n in range(AT_ONCE * 2):
        await connected(house, vault, f"c{n}")
    house.clock.now = NOW + 3600
    house.provider.token_calls.clear()
    house.provider.scripted = [as_json(200, access_token="new", expires_in=3600)] * 999
    house.provider.gate = asyncio.Event()
    running = asyncio.create_task(vault.upkeep().run())
    await until(lambda: len(house.provider.token_calls) == AT_ONCE)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(house.provider.token_calls) == AT_ONCE
    house.provider.gate.set()
    await until(lambda: len(house.provider.token_calls) == AT_ONCE * 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ending_the_sweep_loses_no_token_that_is_on_its_way(house: House, vault: Vault) -> None:
    await connected(house, vault)
    house.clock.now = NOW + 3600
    house.provider.gate = asyncio.Event()
    house.provider.arrived.clear()
    running = asyncio.create_task(vault.upkeep().run())
    await house.provider.arrived.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    house.provider.gate.set()
    await vault.close()
    assert (await row_of(vault)).token_version == 2


async def test_a_store_that_is_away_for_a_while_ends_nothing(
    house: House, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connected(house, vault)
    house.clock.now = NOW + 3600
    really, looks = vault._store.due.next_at, 0

    async def next_at() -> float | None:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise StoreError(Refusal(code="internal", detail="The store is away."))
        return await really()

    monkeypatch.setattr(vault._store.due, "next_at", next_at)
    monkeypatch.setattr("gateway.vault.upkeep.AWAY_LONGEST", 0.0)
    monkeypatch.setattr(vault._random, "uniform", lambda low, _high: low * 0.0)
    running = asyncio.create_task(vault.upkeep().run())
    await until(lambda: calls(house) == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert looks >= 3


async def test_an_edited_policys_times_count_for_what_is_connected_already_also_after_a_restart(house: House) -> None:
    house.provider.expires_in = None
    async with house.vault() as vault:
        await connected(house, vault)
        await vault.upkeep().catch_up()
        assert (await row_of(vault)).renew_at is None
        house.policies.put("legacy", KEPT_ALIVE)
        await vault.upkeep().catch_up()
        at = (await row_of(vault)).renew_at
        assert at is not None
        assert at > NOW + 26 * DAY
    house.policies.put("legacy", KEPT_ALIVE.replace("30d", "10d"))
    async with house.vault() as started:
        await started.upkeep().catch_up()
        at = (await row_of(started)).renew_at
        assert at is not None
        assert NOW + 9 * DAY <= at <= NOW + 10 * DAY
    assert calls(house) == 0


async def test_a_connection_without_a_policy_waits_and_is_not_looked_at_all_the_time(
    house: House, vault: Vault
) -> None:
    row = await connected(house, vault)
    del house.policies["legacy"]
    house.clock.now = row.renew_at or 0
    await vault.upkeep().catch_up()
    assert (await row_of(vault)).renew_at == house.clock.now + 3600
    assert calls(house) == 0


async def test_what_cannot_be_renewed_is_never_due(house: House, vault: Vault) -> None:
    row = (await vault.connect("keyed", connection_id="k", fields={"api_key": "key-12345"}, actor="test")).row
    assert row.renew_at is None
    house.policies.put("example", CLIENT_CREDENTIALS)
    assert await vault._store.due.next_at() is None


async def test_sweeping_pushes_nobody_out_of_the_cache(house: House, vault: Vault) -> None:
    await connected(house, vault, "used")
    await connected(house, vault, "unused")
    assert await vault.live("used") is not None
    house.provider.scripted = [as_json(200, access_token="new", expires_in=3600)] * 9
    house.clock.now = NOW + 3600
    await vault.upkeep().catch_up()
    assert vault.peek("unused") is None
    used = vault.peek("used")
    assert used is not None
    assert used.token_version == 2
