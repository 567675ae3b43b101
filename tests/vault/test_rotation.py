"""A rotation that begins and ends while a provider is being asked: whatever it answers is sealed anew and kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.keyring import key_id_of, wrap
from gateway.store import DataKeyRow, Store, keyring_from_store
from gateway.store.rotation import Rotation
from gateway.store.rows import ConnectionRow
from gateway.store.unlock import learn_keys
from gateway.vault import Vault
from tests.vault.harness import ANN, KEY, NOW, PASSWORD, House, authorization

MASTER = b"m" * 32


@asynccontextmanager
async def server(house: House) -> AsyncIterator[Vault]:
    """A vault whose keyring is its store's, as a server has it."""
    house.policies.put("legacy", PASSWORD)
    async with house.vault() as vault:
        store, ring = vault._store, vault._safe._keyring
        await store.keys.add(DataKeyRow(id=1, wrapped=wrap(MASTER, 1, KEY), created_at=NOW))
        store.database.opened_with(ring, partial(learn_keys, store, ring, MASTER))
        yield vault


async def rotate(house: House) -> None:
    """Another process's rotation, from its beginning to its end; the server hears nothing of it."""
    async with await Store.open(house.url, migrate=False) as store:
        ring = await keyring_from_store(store, MASTER, NOW)
        done = await Rotation(store, ring, MASTER, clock=lambda: NOW, grace=0.0).run()
    assert (done.removed, done.stuck) == ((1,), ())


async def stored(vault: Vault) -> ConnectionRow:
    row = await vault._store.connections.get("c")
    assert row is not None
    return row


async def test_a_rotated_token_that_comes_behind_a_rotation_is_sealed_anew_and_kept(house: House) -> None:
    async with server(house) as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
        live = await vault.live("c")
        assert live is not None
        house.provider.gate, house.provider.arrived = asyncio.Event(), asyncio.Event()
        refreshing = asyncio.create_task(vault.after_401(live))
        await house.provider.arrived.wait()
        await rotate(house)
        house.provider.gate.set()
        got = await refreshing
        assert got is not None
        assert authorization(got) == "Bearer at-2-secret"
        row = await stored(vault)
        assert row.credentials is not None
        assert key_id_of(row.credentials) == 2
        kept = vault._safe.open_credentials(row).refresh_token
        assert kept is not None
        assert kept.reveal() == "rt-2-secret"
        assert len(house.provider.token_calls) == 2


async def test_a_connection_that_is_made_across_a_rotation_is_made(house: House) -> None:
    async with server(house) as vault:
        house.provider.gate = asyncio.Event()
        connecting = asyncio.create_task(vault.connect("legacy", connection_id="c", fields=ANN, actor="test"))
        await house.provider.arrived.wait()
        await rotate(house)
        house.provider.gate.set()
        row = (await connecting).row
        assert row.credentials is not None
        assert (key_id_of(row.fields), key_id_of(row.credentials)) == (2, 2)
        assert len(house.provider.token_calls) == 1


async def test_a_connection_is_ended_behind_a_rotation_and_its_token_revoked(house: House) -> None:
    async with server(house) as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
        get = vault._store.connections.get

        async def then_rotate(connection_id: str) -> ConnectionRow | None:
            row = await get(connection_id)
            vault._store.connections.get = get  # type: ignore[method-assign]
            await rotate(house)
            return row

        vault._store.connections.get = then_rotate  # type: ignore[method-assign]
        await vault.disconnect("c", actor="test")
    assert [call["token"] for call in house.provider.revoked]
