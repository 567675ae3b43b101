"""What is done beside: claimed by one, in order, and written together with the change that it belongs to."""

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import StoreError
from gateway.store import EventRow, Status, Store
from gateway.store.alongside import NoRevocations
from gateway.store.rows import DeliveryRow, RevocationRow
from tests.store.samples import a_connection

REVOCATION = RevocationRow(
    id="r1", connection="crm-ann", app="crm", actor="ann", sealed=b"sealed", created_at=1000.0, next_try_at=1000.0
)
EVENT = EventRow(at=1000.0, kind="connection.disconnected", actor="ann", app="crm", connection="crm-ann")


def a_message(message_id: str, connection: str = "crm-ann") -> DeliveryRow:
    return DeliveryRow(
        message_id=message_id,
        kind="connection.connected",
        app="crm",
        connection=connection,
        body="{}",
        created_at=1000.0,
        next_try_at=1000.0,
    )


# Due.


async def test_what_is_due_first_is_claimed_first_and_put_off(store: Store):
    for number, renew_at in enumerate((1003.0, 1001.0, 1002.0, 2000.0, None)):
        await store.connections.insert(a_connection(f"c{number}", renew_at=renew_at))
    assert await store.due.next_at() == 1001.0
    claimed = await store.due.claim(2, now=1010.0, until=1100.0)
    assert {row.id for row in claimed} == {"c1", "c2"}
    assert {row.renew_at for row in claimed} == {1100.0}
    assert [row.id for row in await store.due.claim(9, now=1010.0, until=1100.0)] == ["c0"]
    assert await store.due.claim(9, now=1010.0, until=1100.0) == ()
    assert await store.due.next_at() == 1100.0


@pytest.mark.parametrize("status", [Status.NEEDS_REAUTHORIZATION, Status.DISCONNECTED, Status.PENDING])
async def test_only_active_connections_are_ever_due(store: Store, status: Status):
    await store.connections.insert(a_connection(status=status, renew_at=1.0))
    assert await store.due.next_at() is None
    assert await store.due.claim(9, now=1010.0, until=1100.0) == ()


async def test_of_many_who_claim_at_once_each_row_goes_to_one(store: Store):
    for number in range(20):
        await store.connections.insert(a_connection(f"c{number}", renew_at=1.0))
    claimed = await asyncio.gather(*(store.due.claim(3, now=1010.0, until=1100.0) for _ in range(8)))
    ids = [row.id for rows in claimed for row in rows]
    assert len(ids) == len(set(ids))
    rest = await store.due.claim(20, now=1010.0, until=1100.0)
    assert {*ids, *(row.id for row in rest)} == {f"c{number}" for number in range(20)}


async def test_a_time_is_not_put_off_once_the_token_is_another(store: Store):
    await store.connections.insert(a_connection(renew_at=1.0))
    await store.due.put_off("crm-ann", seen_version=0, renew_at=None)
    assert await store.due.next_at() == 1.0
    await store.due.put_off("crm-ann", seen_version=1, renew_at=None)
    assert await store.due.next_at() is None
    assert await store.due.look_again("crm", now=7.0) == 1
    assert await store.due.next_at() == 7.0


# Alongside.


async def test_a_change_and_what_is_told_of_it_are_written_together(store: Store):
    await store.connections.insert(a_connection())
    seen = await store.changes.latest()
    rows = (EVENT, REVOCATION, a_message("m1"))
    assert await store.connections.update("crm-ann", status=Status.DISCONNECTED, alongside=rows)
    (event,) = (await store.events.list()).items
    assert replace(event, id=0) == EVENT
    assert await store.revocations.of(["crm-ann", "nobody"]) == {"crm-ann": REVOCATION}
    assert await store.deliveries.next_at() == 1000.0
    assert {(kind, key) for _, kind, key in await store.changes.since(seen)} == {
        ("connection", "crm-ann"),
        ("upkeep", "revocations"),
        ("upkeep", "deliveries"),
    }


async def test_what_cannot_be_told_is_not_done(store: Store):
    await store.connections.insert(a_connection())
    await store.revocations.add(REVOCATION)
    with pytest.raises(StoreError):
        await store.connections.update("crm-ann", status=Status.DISCONNECTED, alongside=(EVENT, REVOCATION))
    row = await store.connections.get("crm-ann")
    assert row is not None
    assert row.status is Status.ACTIVE
    assert (await store.events.list()).items == ()


async def test_a_writer_who_came_too_late_tells_nothing(store: Store):
    await store.connections.insert(a_connection())
    await store.connections.take_lease("crm-ann", owner="me", seen_version=1, now=1.0, until=2.0)
    late = {"credentials": b"x", "expires_at": None, "alongside": (EVENT,)}
    assert not await store.connections.write_tokens("crm-ann", fence=9, now=1.0, **late)
    assert not await store.connections.update("nobody", label="x", alongside=(EVENT,))
    assert (await store.events.list()).items == ()


# Revocations.


async def test_a_revocation_is_tried_until_it_is_done(store: Store):
    await store.revocations.add(REVOCATION)
    assert await store.revocations.claim(9, now=999.0, until=1100.0) == ()
    (claimed,) = await store.revocations.claim(9, now=1000.0, until=1100.0)
    assert claimed == replace(REVOCATION, next_try_at=1100.0)
    assert await store.revocations.failed("r1", attempts=1, next_try_at=1002.0, last_error="503")
    assert await store.revocations.next_at() == 1002.0
    assert await store.revocations.done("r1", (EVENT,))
    assert await store.revocations.of(["crm-ann"]) == {}
    assert not await store.revocations.done("r1", (EVENT,))
    assert len((await store.events.list()).items) == 1


async def test_a_revocation_that_is_given_up_is_shown_without_what_was_sealed(store: Store):
    await store.revocations.add(REVOCATION)
    await store.revocations.failed("r1", attempts=9, next_try_at=None, last_error="503", alongside=(EVENT,))
    given_up = replace(REVOCATION, attempts=9, next_try_at=None, last_error="503", sealed=None)
    assert await store.revocations.of(["crm-ann"]) == {"crm-ann": given_up}
    assert await store.revocations.next_at() is None


async def test_connecting_again_forgets_what_was_to_be_revoked(store: Store):
    await store.connections.insert(a_connection(status=Status.DISCONNECTED))
    await store.revocations.add(REVOCATION)
    await store.revocations.add(replace(REVOCATION, id="r2", connection="other"))
    await store.connections.update("crm-ann", status=Status.ACTIVE, alongside=(NoRevocations("crm-ann"),))
    assert list(await store.revocations.of(["crm-ann", "other"])) == ["other"]


# Deliveries.


async def test_a_connections_messages_come_one_after_the_other_and_another_connections_beside(store: Store):
    rows = (a_message("m1"), a_message("m2"), a_message("o1", "other"))
    await store.connections.insert(a_connection(), alongside=rows)
    first = await store.deliveries.claim(9, now=1000.0, until=1060.0)
    assert [row.message_id for row in first] == ["m1", "o1"]
    assert await store.deliveries.claim(9, now=1000.0, until=1060.0) == ()
    await store.deliveries.failed(first[0].id, attempts=1, next_try_at=1005.0, last_error="500")
    await store.deliveries.done(first[1].id)
    assert await store.deliveries.next_at() == 1005.0
    (again,) = await store.deliveries.claim(9, now=1005.0, until=1065.0)
    assert (again.message_id, again.attempts, again.last_error) == ("m1", 1, "500")
    await store.deliveries.done(again.id, (EVENT,))
    (second,) = await store.deliveries.claim(9, now=1005.0, until=1065.0)
    assert second.message_id == "m2"
    assert len((await store.events.list()).items) == 1
