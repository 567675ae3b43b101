"""A rotation, in whatever order its steps fall between those of a server: nothing is lost, and the old key goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import LargeBinary

from gateway.errors import StartError
from gateway.keyring import Keyring, KeyringError, key_id_of, unwrap
from gateway.store import LinkRow, LoginStateRow, Store, keyring_from_store
from gateway.store.failures import RetiredKeyError
from gateway.store.rotation import Rotated, Rotation, rewrap
from gateway.store.rows import RevocationRow
from gateway.store.sealed import sealed_columns
from gateway.store.sealed_values import BATCH, SealedValues
from gateway.store.tables import clients, connect_links, data_keys, login_states, metadata
from gateway.store.unlock import CANARY
from tests.store.samples import a_connection

MASTER, OTHER = b"m" * 32, b"o" * 32
CANARY_PLACE = {"table": "meta", "column": "value", "row": CANARY}
NOT_SEALED = {
    clients.c.token_hash,
    connect_links.c.token_hash,
    login_states.c.state_hash,
    login_states.c.session_hash,
    data_keys.c.wrapped,
    data_keys.c.handed_on,
}
"""Bytes that no data key seals: hashes of what has 256 random bits, and the keys themselves, wrapped by others."""


def place(column: str, row: str = "crm-ann", table: str = "connections") -> dict[str, str]:
    return {"table": table, "column": column, "row": row}


def a_sealed(ring: Keyring, connection_id: str = "crm-ann", token: bytes = b"token"):
    return a_connection(
        connection_id,
        fields=ring.seal(b"fields", **place("fields", connection_id)),
        credentials=ring.seal(token, **place("credentials", connection_id)),
    )


@pytest.fixture
async def ring(store: Store) -> Keyring:
    """The keyring of a server that was started before the rotation."""
    return await keyring_from_store(store, MASTER, 1000.0)


@pytest.fixture
async def other(store: Store, ring: Keyring, store_url: str) -> AsyncIterator[Store]:
    """The store as another process sees it: the rotation's, with a keyring of its own."""
    assert (await store.keys.all())[-1].id == ring.newest == 1
    async with await Store.open(store_url, migrate=False) as opened:
        yield opened


async def rotation(store: Store, *, master: bytes = MASTER, progress=lambda _done, _total: None) -> Rotation:
    ring = await keyring_from_store(store, master, 2000.0)
    return Rotation(store, ring, master, clock=lambda: 2000.0, grace=0.0, progress=progress)


async def rotated(store: Store, **changes) -> Rotated:
    return await (await rotation(store, **changes)).run()


class StoppedError(Exception):
    """The end of a process, at a moment of our choosing."""


async def stopped(run: Rotation, at: str) -> None:
    """Let a rotation end where it is about to take this step."""

    async def stop(*_args: object, **_kwargs: object) -> None:
        raise StoppedError

    owner = run._values if at == "replace" else run._store.keys
    original = getattr(owner, at)
    setattr(owner, at, stop)
    with pytest.raises(StoppedError):
        await run.run()
    setattr(owner, at, original)


# What is sealed.


def test_every_column_of_bytes_is_sealed_or_known_not_to_be():
    """A new one has to be put on one side or the other; rotation goes through all that are sealed."""
    binary = {
        column for table in metadata.tables.values() for column in table.columns if isinstance(column.type, LargeBinary)
    }
    assert binary == NOT_SEALED
    assert {str(column) for column in sealed_columns(metadata)} == {
        "app_secrets.sealed",
        "connect_links.fields",
        "connect_links.outcome",
        "connections.credentials",
        "connections.fields",
        "login_states.sealed",
        "meta.value",
        "revocations.sealed",
    }


async def everywhere(store: Store, ring: Keyring) -> dict[str, dict[str, str]]:
    """Put something into every sealed column; return each place."""
    link, state = b"l" * 32, b"s" * 32
    places = {
        "app_secrets.sealed": place("sealed", "crm/client_secret", "app_secrets"),
        "connect_links.fields": place("fields", link.hex(), "connect_links"),
        "connect_links.outcome": place("outcome", link.hex(), "connect_links"),
        "connections.credentials": place("credentials"),
        "connections.fields": place("fields"),
        "login_states.sealed": place("sealed", state.hex(), "login_states"),
        "meta.value": place("value", "ca_key", "meta"),
        "revocations.sealed": place("sealed", "r1", "revocations"),
    }
    blob = {name: ring.seal(name.encode(), **where) for name, where in places.items()}
    await store.connections.insert(
        a_connection(fields=blob["connections.fields"], credentials=blob["connections.credentials"])
    )
    await store.secrets.put("crm", "client_secret", blob["app_secrets.sealed"], now=1.0)
    await store.meta.put("ca_key", blob["meta.value"])
    await store.meta.put("ca_certificate", b"-----BEGIN CERTIFICATE-----\n")
    await store.links.insert(
        LinkRow(
            token_hash=link,
            app="crm",
            created_at=1.0,
            expires_at=2.0,
            fields=blob["connect_links.fields"],
            outcome=blob["connect_links.outcome"],
        )
    )
    await store.logins.insert(
        LoginStateRow(
            state_hash=state,
            app="crm",
            session_hash=b"x" * 32,
            sealed=blob["login_states.sealed"],
            created_at=1.0,
            expires_at=2.0,
        )
    )
    await store.revocations.add(
        RevocationRow(
            id="r1",
            connection="crm-ann",
            app="crm",
            actor="a",
            created_at=1.0,
            next_try_at=2.0,
            sealed=blob["revocations.sealed"],
        )
    )
    return places


async def test_everything_goes_under_the_new_key_in_its_own_place_and_the_old_key_goes(store, ring, other):
    places = await everywhere(store, ring)
    assert set(places) == {str(column) for column in sealed_columns(metadata)}
    done = await rotated(other)
    assert done == Rotated(key=2, resumed=False, sealed=9, removed=(1,), stuck=())
    assert await SealedValues(store.database).count() == {2: 9}
    assert [(row.id, row.retired_at, row.handed_on) for row in await store.keys.all()] == [(2, None, None)]
    fresh = await keyring_from_store(store, MASTER, 3000.0)
    assert fresh.ids == (2,)
    found = {
        f"{value.column.table.name}.{value.column.name}": fresh.open(value.blob, **value.place)
        async for batch in SealedValues(store.database).older_than(3)
        for value in batch
        if value.key != (CANARY,)
    }
    assert found == {name: name.encode() for name in places}
    assert await store.meta.get("ca_certificate") == b"-----BEGIN CERTIFICATE-----\n"


async def test_the_removed_key_opens_nothing_and_the_new_one_is_not_the_old_one(store, other):
    (before,) = await store.keys.all()
    await rotated(other)
    (after,) = await store.keys.all()
    assert unwrap(MASTER, 1, before.wrapped) != unwrap(MASTER, 2, after.wrapped)
    canary = await store.meta.get(CANARY)
    with pytest.raises(KeyringError):
        Keyring({1: unwrap(MASTER, 1, before.wrapped)}).open(canary, **CANARY_PLACE)


async def test_more_rows_than_a_batch_are_all_sealed_anew(store, ring, other):
    for number in range(BATCH + 5):
        await store.connections.insert(a_sealed(ring, f"c{number:04}"))
    told: list[tuple[int, int]] = []
    await rotated(other, progress=lambda done, total: told.append((done, total)))
    total = 2 * (BATCH + 5) + 1
    assert await SealedValues(store.database).count() == {2: total}
    assert told[0] == (0, total)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# While servers serve.


async def test_a_server_that_has_not_heard_of_the_new_key_reads_what_is_sealed_with_it(store, ring, other):
    """The keys are read again before the row is given out: whoever opens it knows nothing of all this."""
    await store.connections.insert(a_sealed(ring))
    await rotated(other)
    assert ring.ids == (1,)
    row = await store.connections.get("crm-ann")
    assert ring.open(row.credentials, **place("credentials")) == b"token"
    assert ring.ids == (1, 2)


async def test_what_a_server_seals_with_the_old_key_in_the_middle_is_sealed_anew(store, ring, other):
    run = await rotation(other)
    await stopped(run, "retire")
    await store.connections.insert(a_sealed(ring))
    assert await SealedValues(store.database).count() == {1: 2, 2: 1}
    await run.run()
    assert await SealedValues(store.database).count() == {2: 3}


async def test_a_token_that_a_server_writes_between_reading_and_replacing_stays(store, ring, other):
    """Compare and swap: the rotation's copy of the older token isn't put over the newer one."""
    await store.connections.insert(a_sealed(ring))
    fence = await store.connections.take_lease("crm-ann", owner="s", seen_version=1, now=1.0, until=31.0)
    run = await rotation(other)
    replace = run._values.replace

    async def late(anew) -> None:
        if anew[0][0].column.name != "credentials":
            return await replace(anew)
        run._values.replace = replace
        newer = ring.seal(b"rotated", **place("credentials"))
        assert await store.connections.write_tokens("crm-ann", fence=fence, now=2.0, credentials=newer, expires_at=None)
        return await replace(anew)

    run._values.replace = late
    await run.run()
    row = await store.connections.get("crm-ann")
    assert ring.open(row.credentials, **place("credentials")) == b"rotated"
    assert key_id_of(row.credentials) == 2
    assert (row.token_version, row.fence) == (2, fence)


async def test_sealing_anew_does_not_disturb_a_refresh_under_way(store, ring, other):
    await store.connections.insert(a_sealed(ring))
    fence = await store.connections.take_lease("crm-ann", owner="s", seen_version=1, now=1.0, until=31.0)
    await rotated(other)
    await store.database.learn()
    newer = ring.seal(b"rotated", **place("credentials"))
    assert await store.connections.write_tokens("crm-ann", fence=fence, now=2.0, credentials=newer, expires_at=None)


WRITES: dict[str, Callable[[Store, Keyring], Awaitable[object]]] = {
    "connections, inserted": lambda store, ring: store.connections.insert(a_sealed(ring, "late")),
    "connections, updated": lambda store, ring: store.connections.update(
        "crm-ann", fields=ring.seal(b"f", **place("fields"))
    ),
    "app_secrets": lambda store, ring: store.secrets.put(
        "crm", "s", ring.seal(b"s", **place("sealed", "crm/s", "app_secrets")), now=1.0
    ),
    "meta": lambda store, ring: store.meta.put("ca_key", ring.seal(b"k", **place("value", "ca_key", "meta"))),
    "meta, established": lambda store, ring: store.meta.establish(
        {"ca_certificate": b"c", "ca_key": ring.seal(b"k", **place("value", "ca_key", "meta"))}
    ),
    "revocations": lambda store, ring: store.revocations.add(
        RevocationRow(
            id="r",
            connection="c",
            app="a",
            actor="x",
            created_at=1.0,
            next_try_at=1.0,
            sealed=ring.seal(b"r", **place("sealed", "r", "revocations")),
        )
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_process_that_slept_through_a_rotation_writes_nothing_under_the_old_key(store, ring, other, write):
    """It sealed before and wakes behind: refused, nothing written, and the next try seals with the key of now."""
    await store.connections.insert(a_sealed(ring))
    await rotated(other)
    assert ring.newest == 1
    with pytest.raises(RetiredKeyError, match="has been replaced meanwhile"):
        await write(store, ring)
    assert set(await SealedValues(store.database).count()) == {2}
    assert ring.newest == 2
    await write(store, ring)
    assert set(await SealedValues(store.database).count()) == {2}


async def test_retiring_waits_for_a_write_that_was_earlier_and_finds_what_it_wrote(store, ring, other):
    """An open transaction that has sealed with the old key commits first; then the search finds its row."""
    run = await rotation(other)
    await stopped(run, "retire")
    async with store.database.write() as transaction:
        row = a_sealed(ring)
        values = {column.name: getattr(row, column.name) for column in metadata.tables["connections"].columns}
        await transaction.execute(metadata.tables["connections"].insert().values(values))
        finishing = asyncio.create_task(run.run())
        done, _ = await asyncio.wait([finishing], timeout=0.2)
        assert not done
    assert (await finishing).removed == (1,)
    found = await store.connections.get("crm-ann")
    assert ring.open(found.credentials, **place("credentials")) == b"token"


# Stopped, gone on with, and two at once.


@pytest.mark.parametrize("step", ["replace", "retire", "remove"])
async def test_a_rotation_that_was_stopped_is_gone_on_with_and_makes_no_other_key(store, ring, other, step):
    await store.connections.insert(a_sealed(ring))
    await stopped(await rotation(other), step)
    done = await rotated(other)
    assert (done.key, done.resumed, done.removed) == (2, True, (1,))
    assert [(row.id, row.handed_on) for row in await store.keys.all()] == [(2, None)]
    assert await SealedValues(store.database).count() == {2: 3}


def meeting(run: Rotation, barrier: asyncio.Barrier) -> Rotation:
    """Let a rotation wait, once it has begun, until the others have begun too."""
    begin = run._begin

    async def begin_and_wait():
        begun = await begin()
        await barrier.wait()
        return begun

    run._begin = begin_and_wait
    return run


async def test_two_rotations_at_once_make_one_key(store, ring, other):
    for number in range(BATCH * 2):
        await store.connections.insert(a_sealed(ring, f"c{number:04}"))
    barrier = asyncio.Barrier(2)
    runs = [meeting(await rotation(opened), barrier).run() for opened in (other, store)]
    done = await asyncio.gather(*runs)
    assert [one.key for one in done] == [2, 2]
    assert sorted(one.resumed for one in done) == [False, True]
    assert await SealedValues(store.database).count() == {2: BATCH * 4 + 1}


async def test_a_value_that_does_not_open_is_named_and_keeps_its_key(store, ring, other):
    await store.connections.insert(a_sealed(ring))
    await store.connections.update("crm-ann", credentials=ring.seal(b"x", **place("credentials", "somebody-else")))
    done = await rotated(other)
    assert (done.stuck, done.removed) == (("connections.credentials of crm-ann",), ())
    assert [(row.id, row.retired_at) for row in await store.keys.all()] == [(1, 2000.0), (2, None)]
    await store.database.learn()
    await store.connections.update("crm-ann", credentials=ring.seal(b"x", **place("credentials")))
    assert (await rotated(other)).removed == (1,)


# Another master key.


async def test_another_master_key_opens_everything_and_the_old_one_nothing(store, ring, other):
    await store.connections.insert(a_sealed(ring))
    assert await rewrap(other, MASTER, OTHER) == 1
    fresh = await keyring_from_store(other, OTHER, 3000.0)
    row = await other.connections.get("crm-ann")
    assert fresh.open(row.credentials, **place("credentials")) == b"token"
    with pytest.raises(StartError, match="after `gateway keys rotate --master-to` it is the new one"):
        await keyring_from_store(other, MASTER, 3000.0)


@pytest.mark.usefixtures("ring")
async def test_a_wrong_old_master_key_changes_nothing(store):
    before = await store.keys.all()
    with pytest.raises(StartError, match="nothing was changed"):
        await rewrap(store, b"w" * 32, OTHER)
    assert await store.keys.all() == before


async def test_a_rotation_that_was_begun_before_the_master_key_changed_makes_no_key_of_the_old_one(store, other):
    """Two keys under two masters would open for nobody."""
    run = await rotation(other)
    await rewrap(store, MASTER, OTHER)
    with pytest.raises(StartError, match="master key was changed just now"):
        await run.run()
    assert len(await store.keys.all()) == 1


async def test_a_server_with_the_earlier_master_key_follows_a_rotation_under_the_new_one(store, ring, other):
    """Until it is restarted with the new one it is handed each new data key under the one before."""
    await store.connections.insert(a_sealed(ring))
    await rewrap(other, MASTER, OTHER)
    run = await rotation(other, master=OTHER)
    await stopped(run, "retire")
    await store.database.learn()
    assert ring.newest == 2
    await run.run()
    row = await store.connections.get("crm-ann")
    assert ring.open(row.credentials, **place("credentials")) == b"token"


async def test_a_key_that_can_not_be_had_is_left_out_and_what_it_seals_does_not_open(store, ring, other):
    await store.connections.insert(a_sealed(ring))
    await rewrap(other, MASTER, OTHER)
    await rotated(other, master=OTHER)
    row = await store.connections.get("crm-ann")
    with pytest.raises(KeyringError, match="data key 2, which is not in the keyring"):
        ring.open(row.credentials, **place("credentials"))
