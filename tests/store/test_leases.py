"""One refresh at a time: the lease, its end, and the fence that stops a late writer."""

import asyncio
from dataclasses import replace

from gateway.store import Status, Store
from tests.store.samples import a_connection


async def lease(store: Store, owner: str = "me", *, seen: int = 1, now: float = 1000.0) -> int | None:
    return await store.connections.take_lease("crm-ann", owner=owner, seen_version=seen, now=now, until=now + 30)


async def test_a_free_lease_is_taken_and_shows_in_the_row(store: Store):
    await store.connections.insert(a_connection(fence=4))
    assert await lease(store) == 5
    assert await store.connections.get("crm-ann") == a_connection(fence=5, lease_owner="me", lease_until=1030.0)


async def test_a_lease_that_is_held_is_not_given_to_anybody_else(store: Store):
    await store.connections.insert(a_connection())
    assert await lease(store, "a") == 1
    assert await lease(store, "b", now=1029.0) is None
    assert await lease(store, "a", now=1030.0) is None


async def test_a_lease_whose_owner_died_is_given_away_when_its_time_is_over(store: Store):
    await store.connections.insert(a_connection())
    assert await lease(store, "dead") == 1
    assert await lease(store, "next", now=1030.1) == 2


async def test_who_saw_an_older_token_gets_no_lease(store: Store):
    await store.connections.insert(a_connection(token_version=2))
    assert await lease(store, seen=1) is None
    assert await lease(store, seen=2) == 1


async def test_an_unknown_connection_has_no_lease(store: Store):
    assert await lease(store) is None


async def test_new_tokens_raise_the_version_end_the_lease_and_forget_the_failures(store: Store):
    await store.connections.insert(a_connection(failures=2, retry_at=990.0, reason="timeout"))
    fence = await lease(store)
    written = await store.connections.write_tokens(
        "crm-ann", fence=fence, now=1001.0, credentials=b"new", expires_at=4601.0
    )
    assert written
    assert await store.connections.get("crm-ann") == a_connection(
        fence=1, token_version=2, credentials=b"new", expires_at=4601.0, updated_at=1001.0
    )
    assert await lease(store, seen=2, now=1002.0) == 2


async def test_a_slow_owner_whose_lease_went_on_cannot_write_over_the_next_one(store: Store):
    await store.connections.insert(a_connection())
    slow = await lease(store, "slow")
    quick = await lease(store, "quick", now=1031.0)
    row = {"now": 1032.0, "expires_at": None}
    assert await store.connections.write_tokens("crm-ann", fence=quick, credentials=b"quick", **row)
    assert not await store.connections.write_tokens("crm-ann", fence=slow, credentials=b"slow", **row)
    assert not await store.connections.fail_refresh(
        "crm-ann", fence=slow, now=1033.0, reason="x", retry_at=None, failures=1, status=Status.NEEDS_REAUTHORIZATION
    )
    found = await store.connections.get("crm-ann")
    assert (found.credentials, found.status, found.token_version) == (b"quick", Status.ACTIVE, 2)


async def test_a_failed_refresh_ends_the_lease_and_says_when_to_try_again(store: Store):
    await store.connections.insert(a_connection())
    fence = await lease(store)
    assert await store.connections.fail_refresh(
        "crm-ann", fence=fence, now=1001.0, reason="503", retry_at=1011.0, failures=1
    )
    expected = a_connection(fence=1, reason="503", retry_at=1011.0, renew_at=1011.0, failures=1, updated_at=1001.0)
    assert await store.connections.get("crm-ann") == expected
    assert await lease(store, now=1002.0) == 2


async def test_a_final_failure_sets_the_status(store: Store):
    await store.connections.insert(a_connection())
    fence = await lease(store)
    await store.connections.fail_refresh(
        "crm-ann",
        fence=fence,
        now=1001.0,
        reason="invalid_grant",
        retry_at=None,
        failures=1,
        status=Status.NEEDS_REAUTHORIZATION,
    )
    assert (await store.connections.get("crm-ann")).status is Status.NEEDS_REAUTHORIZATION


async def test_a_person_who_reconnects_takes_over_from_a_refresh_that_is_under_way(store: Store):
    await store.connections.insert(a_connection())
    fence = await lease(store)
    await store.connections.update("crm-ann", credentials=b"from the person", updated_at=1001.0)
    late = await store.connections.write_tokens("crm-ann", fence=fence, now=1002.0, credentials=b"old", expires_at=None)
    assert not late
    found = await store.connections.get("crm-ann")
    assert found == replace(a_connection(), credentials=b"from the person", updated_at=1001.0, fence=2, token_version=2)


async def test_a_disconnect_is_not_undone_by_a_refresh_that_is_under_way(store: Store):
    await store.connections.insert(a_connection())
    fence = await lease(store)
    await store.connections.update("crm-ann", status=Status.DISCONNECTED, credentials=None)
    assert not await store.connections.write_tokens(
        "crm-ann", fence=fence, now=1002.0, credentials=b"new", expires_at=None
    )
    assert (await store.connections.get("crm-ann")).status is Status.DISCONNECTED


async def test_a_status_alone_is_not_undone_by_a_refresh_that_is_under_way(store: Store):
    await store.connections.insert(a_connection())
    fence = await lease(store)
    await store.connections.update("crm-ann", status=Status.NEEDS_REAUTHORIZATION)
    assert not await store.connections.write_tokens("crm-ann", fence=fence, now=1.0, credentials=b"new", expires_at=1.0)


async def test_of_twenty_tasks_exactly_one_gets_the_lease(store: Store):
    await store.connections.insert(a_connection())
    fences = await asyncio.gather(*(lease(store, f"task-{number}") for number in range(20)))
    assert [fence for fence in fences if fence is not None] == [1]


async def test_taking_a_lease_is_no_change_and_ending_it_is_one(store: Store):
    await store.connections.insert(a_connection())
    before = await store.changes.latest()
    fence = await lease(store)
    assert await store.changes.latest() == before
    await store.connections.write_tokens("crm-ann", fence=fence, now=1001.0, credentials=b"n", expires_at=None)
    assert [change[1:] for change in await store.changes.since(before)] == [("connection", "crm-ann")]
