"""A lapsed lease is watched before it is taken, and a lease that was long in coming leaves no time for a call."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import Refusal
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.lease import LEASE_SECONDS, WATCH_SECONDS, Watch
from gateway.vault.renewal import Why
from tests.vault.harness import ANN, NOW, PASSWORD, House
from tests.vault.test_renewal import refused

LAPSED = ConnectionRow(
    id="c", app="a", status=Status.ACTIVE, created_at=0.0, updated_at=0.0, fence=7, lease_owner="x", lease_until=NOW - 1
)
FREE = replace(LAPSED, lease_owner=None, lease_until=None)
HELD = replace(LAPSED, lease_until=NOW)


def test_a_lease_that_was_given_back_is_free_at_once():
    assert Watch().is_free(FREE, NOW)


def test_a_lapsed_one_is_free_when_it_was_watched_for_its_time():
    watch = Watch()
    assert not watch.is_free(LAPSED, NOW)
    watch.waited(WATCH_SECONDS - 0.1)
    assert not watch.is_free(LAPSED, NOW)
    watch.waited(0.1)
    assert watch.is_free(LAPSED, NOW)


def test_one_that_is_held_is_never_free_however_long_it_was_watched():
    watch = Watch()
    watch.is_free(HELD, NOW)
    watch.waited(10 * WATCH_SECONDS)
    assert not watch.is_free(HELD, NOW)


@pytest.mark.parametrize("meanwhile", [replace(LAPSED, fence=8), HELD], ids=["it was taken", "it is held again"])
def test_where_somebody_took_it_meanwhile_the_watch_begins_anew(meanwhile: ConnectionRow):
    watch = Watch()
    watch.is_free(LAPSED, NOW)
    watch.waited(WATCH_SECONDS)
    assert not watch.is_free(meanwhile, NOW)
    assert not watch.is_free(replace(LAPSED, fence=meanwhile.fence), NOW)


async def test_those_who_wait_for_other_processes_look_one_after_the_other(house: House) -> None:
    """Hundreds may wait while a provider takes its time, and who has a token to write needs the database, too."""
    house.policies.put("legacy", PASSWORD)
    async with house.vault() as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
        live = await vault.live("c")
        assert live is not None
        connections, names = vault._store.connections, [f"c{number}" for number in range(8)]
        held = await connections.get("c")
        assert held is not None
        looks, at_once, looked = 0, [0], asyncio.Event()

        async def look(connection_id: str) -> ConnectionRow:
            nonlocal looks
            looks += 1
            at_once.append(at_once[-1] + 1)
            for _ in range(5):
                await asyncio.sleep(0)
            at_once.append(at_once[-1] - 1)
            if looks >= 3 * len(names):
                looked.set()
            return replace(held, id=connection_id, lease_owner="another", lease_until=NOW + 30)

        flights = [vault._renewals.start(name, seen=1, why=Why.REJECTED) for name in names]
        connections.get = look  # type: ignore[method-assign]
        await looked.wait()
        assert max(at_once[2 * len(names) :]) <= 1, "behind the first look of each"
    assert all(isinstance(flight.result(), Refusal) for flight in flights)


async def test_a_lease_that_was_long_in_coming_leaves_no_time_for_the_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store hung while it was taken, or before the client's secret was read: the lease may lapse in the call."""
    house.policies.put("legacy", PASSWORD)
    loop = asyncio.get_running_loop()
    true, late = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: true() + late[0])
    async with house.vault() as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
        live = await vault.live("c")
        assert live is not None
        take = vault._store.connections.take_lease

        async def slowly(*args: Any, **kwargs: Any) -> int | None:
            fence = await take(*args, **kwargs)
            late[0] += 19.5
            return fence

        monkeypatch.setattr(vault._store.connections, "take_lease", slowly)
        refusal = await refused(vault.after_401(live))
        row = await vault._store.connections.get("c")
    assert refusal.detail.endswith("The store was so slow that the provider was not asked.")
    assert len(house.provider.token_calls) == 1, "the one to connect"
    assert row is not None
    assert (row.lease_until, row.failures) == (None, 1), "and the lease is given back, so that it is tried again"


async def test_the_calls_time_is_what_the_lease_has_left_for_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.policies.put("legacy", PASSWORD)
    loop = asyncio.get_running_loop()
    true, late, limits = loop.time, [0.0], []
    monkeypatch.setattr(loop, "time", lambda: true() + late[0])
    async with house.vault() as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
        live = await vault.live("c")
        assert live is not None
        read, send = vault._provider._sources.client, house.provider.send

        async def slowly(*args: Any) -> Any:
            late[0] += 12.0
            return await read(*args)

        async def noting(*args: Any, **kwargs: Any) -> Any:
            limits.append(kwargs["timeout"])
            return await send(*args, **kwargs)

        monkeypatch.setattr(vault._provider._sources, "client", slowly)
        monkeypatch.setattr(house.provider, "send", noting)
        await vault.after_401(live)
    assert 7.0 < limits[0] <= 8.0
    assert 20.0 + WATCH_SECONDS <= LEASE_SECONDS
