"""The keyring of a store: made once, opened with the right master key alone."""

import asyncio

import pytest

from gateway.errors import StartError
from gateway.keyring import create_data_key, wrap
from gateway.store import DataKeyRow, Store, keyring_from_store
from gateway.store.unlock import CANARY

MASTER, WRONG = b"m" * 32, b"w" * 32
HERE = {"table": "t", "column": "c", "row": "r"}


async def contents(store: Store) -> tuple[object, ...]:
    return await store.keys.all(), await store.meta.get(CANARY), await store.changes.since(0)


async def test_an_empty_store_gets_its_first_key_and_a_later_start_opens_with_it(store: Store):
    first = await keyring_from_store(store, MASTER, 1000.0)
    second = await keyring_from_store(store, MASTER, 2000.0)
    assert second.open(first.seal(b"token", **HERE), **HERE) == b"token"
    assert [(row.id, row.created_at) for row in await store.keys.all()] == [(1, 1000.0)]


async def test_another_master_key_is_one_clear_line_and_changes_nothing(store: Store):
    await keyring_from_store(store, MASTER, 1000.0)
    before = await contents(store)
    with pytest.raises(StartError) as caught:
        await keyring_from_store(store, WRONG, 2000.0)
    said = str(caught.value)
    assert said.startswith("The master key is not the one this store was made with")
    assert "keys.source" in said
    assert "\n" not in said
    assert await contents(store) == before


async def test_a_master_key_that_is_too_short_makes_nothing(store: Store):
    with pytest.raises(StartError, match="at least 32 bytes"):
        await keyring_from_store(store, b"short", 1000.0)
    assert await contents(store) == ((), None, [])


async def test_a_data_key_that_was_exchanged_is_found_by_the_canary(store: Store):
    await keyring_from_store(store, MASTER, 1000.0)
    await store.keys.rewrap(lambda row: wrap(MASTER, row.id, create_data_key()))
    with pytest.raises(StartError, match=r"meta\.value does not open"):
        await keyring_from_store(store, MASTER, 2000.0)


async def test_a_store_that_lost_its_data_keys_is_not_given_new_ones(store: Store):
    await store.meta.put(CANARY, b"something sealed")
    with pytest.raises(StartError, match="a canary and no data keys"):
        await keyring_from_store(store, MASTER, 1000.0)
    assert await store.keys.all() == ()


async def test_a_start_that_ended_between_the_key_and_the_canary_is_gone_on_with(store: Store):
    await store.keys.add(DataKeyRow(id=1, wrapped=wrap(MASTER, 1, b"k" * 32), created_at=1.0))
    await keyring_from_store(store, MASTER, 2.0)
    assert await store.meta.get(CANARY) is not None


async def test_a_newer_data_key_seals_and_the_canary_of_the_older_one_still_opens(store: Store):
    await keyring_from_store(store, MASTER, 1000.0)
    await store.keys.add(DataKeyRow(id=2, wrapped=wrap(MASTER, 2, b"k" * 32), created_at=2000.0))
    assert (await keyring_from_store(store, MASTER, 3000.0)).newest == 2


async def test_starts_at_once_agree_on_one_key(store: Store):
    rings = await asyncio.gather(*(keyring_from_store(store, MASTER, 1.0) for _ in range(8)))
    blob = rings[0].seal(b"token", **HERE)
    assert all(ring.open(blob, **HERE) == b"token" for ring in rings)


async def test_a_key_that_another_process_makes_right_then_is_the_key(store, monkeypatch):
    """Both may appear between our look for keys and our look for the canary: that store has lost nothing."""
    theirs = await keyring_from_store(store, MASTER, now=1.0)
    every, looks = store.keys.all, []

    async def none_at_first():
        looks.append(1)
        return () if len(looks) == 1 else await every()

    monkeypatch.setattr(store.keys, "all", none_at_first)
    ours = await keyring_from_store(store, MASTER, now=1.0)
    place = {"table": "t", "column": "c", "row": "1"}
    assert ours.open(theirs.seal(b"x", **place), **place) == b"x"
