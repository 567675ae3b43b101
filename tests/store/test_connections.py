"""What every store does with connections."""

import pytest

from gateway.store import ConflictError, Status, Store
from tests.store.samples import a_connection


async def test_a_connection_comes_back_as_it_was_put_in(store: Store):
    row = a_connection(reason="why", lease_owner="me", lease_until=1.5, retry_at=2.5, failures=3, last_used_at=9.25)
    await store.connections.insert(row)
    assert await store.connections.get("crm-ann") == row
    assert isinstance((await store.connections.get("crm-ann")).status, Status)


async def test_an_unknown_connection_is_none(store: Store):
    assert await store.connections.get("nobody") is None


async def test_an_account_is_found_by_app_and_unique_identifier_whatever_its_status(store: Store):
    row = a_connection(status=Status.DISCONNECTED)
    await store.connections.insert(row)
    assert await store.connections.find("crm", "u-crm-ann") == row
    assert await store.connections.find("other", "u-crm-ann") is None


async def test_the_same_id_twice_is_a_conflict(store: Store):
    await store.connections.insert(a_connection())
    with pytest.raises(ConflictError):
        await store.connections.insert(a_connection(unique_id="another"))


async def test_the_same_account_twice_is_a_conflict_and_leaves_no_second_row(store: Store):
    await store.connections.insert(a_connection("one", unique_id="u"))
    with pytest.raises(ConflictError) as caught:
        await store.connections.insert(a_connection("two", unique_id="u"))
    assert caught.value.refusal.code == "conflict"
    assert await store.connections.count() == 1
    assert len(await store.changes.since(0)) == 1


async def test_connections_without_a_unique_identifier_never_conflict(store: Store):
    await store.connections.insert(a_connection("one", unique_id=None))
    await store.connections.insert(a_connection("two", unique_id=None))
    assert await store.connections.count() == 2


async def test_an_update_sets_what_it_names_and_nothing_else(store: Store):
    await store.connections.insert(a_connection())
    assert await store.connections.update("crm-ann", label="Ann B.", updated_at=1100.0)
    assert await store.connections.get("crm-ann") == a_connection(label="Ann B.", updated_at=1100.0)


async def test_an_update_of_what_is_another_by_now_changes_nothing(store: Store):
    row = a_connection("a", unique_id=None)
    await store.connections.insert(row)
    for seen, change in (
        ({"token_version": row.token_version}, {"credentials": row.credentials}),
        ({"status": Status.ACTIVE, "unique_id": None}, {"unique_id": "u"}),
    ):
        assert await store.connections.update("a", seen=seen, **change)
        after = await store.connections.get("a")
        assert not await store.connections.update("a", seen=seen, label="late")
        assert await store.connections.get("a") == after


async def test_an_update_of_an_unknown_connection_says_so(store: Store):
    assert not await store.connections.update("nobody", label="x")
    assert await store.changes.since(0) == []


async def test_an_update_to_an_account_that_is_taken_is_a_conflict(store: Store):
    await store.connections.insert(a_connection("one"))
    await store.connections.insert(a_connection("two"))
    with pytest.raises(ConflictError):
        await store.connections.update("two", unique_id="u-one")


async def test_pages_hold_every_connection_once_in_the_order_of_ids(store: Store):
    for number in range(7):
        await store.connections.insert(a_connection(f"c{number}"))
    pages, cursor = [], None
    while True:
        page = await store.connections.list(limit=3, cursor=cursor)
        pages.append([row.id for row in page.items])
        cursor = page.next
        if cursor is None:
            break
    assert pages == [["c0", "c1", "c2"], ["c3", "c4", "c5"], ["c6"]]


async def test_a_last_page_that_is_full_has_no_next(store: Store):
    for number in range(3):
        await store.connections.insert(a_connection(f"c{number}"))
    assert (await store.connections.list(limit=3)).next is None


async def test_a_connection_added_between_two_pages_shifts_nothing(store: Store):
    for name in ("b", "d", "f"):
        await store.connections.insert(a_connection(name))
    page = await store.connections.list(limit=2)
    await store.connections.insert(a_connection("a"))
    assert [row.id for row in (await store.connections.list(limit=2, cursor=page.next)).items] == ["f"]


async def test_a_list_is_narrowed_by_app_status_and_a_part_of_id_or_label(store: Store):
    await store.connections.insert(a_connection("crm-ann", label="Ann"))
    await store.connections.insert(a_connection("crm-bob", label="Bob 100%", status=Status.NEEDS_REAUTHORIZATION))
    await store.connections.insert(a_connection("hub-ann", app="hub", label="Zoë"))

    async def ids(**wanted: object) -> list[str]:
        return [row.id for row in (await store.connections.list(**wanted)).items]

    assert await ids(app="crm") == ["crm-ann", "crm-bob"]
    assert await ids(status=Status.ACTIVE) == ["crm-ann", "hub-ann"]
    assert await ids(app="crm", status=Status.ACTIVE) == ["crm-ann"]
    assert await ids(search="ANN") == ["crm-ann", "hub-ann"]
    assert await ids(search="0%") == ["crm-bob"]
    assert await ids(search="%") == ["crm-bob"]
    assert await ids(search="_") == []
    assert await ids(search="ann", app="hub") == ["hub-ann"]
    assert await ids(search="crm", status=Status.ACTIVE) == ["crm-ann"]
    assert await ids(search="crm", status=Status.ACTIVE, app="hub") == []


async def test_pages_of_a_search_hold_each_that_fits_once(store: Store):
    for number in range(9):
        await store.connections.insert(a_connection(f"c{number}", label="even" if number % 2 == 0 else "odd"))
    pages, cursor = [], None
    while True:
        page = await store.connections.list(search="EVEN", limit=2, cursor=cursor)
        pages.append([row.id for row in page.items])
        cursor = page.next
        if cursor is None:
            break
    assert pages == [["c0", "c2"], ["c4", "c6"], ["c8"]]


async def test_counts_are_by_app_and_status(store: Store):
    await store.connections.insert(a_connection("one"))
    await store.connections.insert(a_connection("two", status=Status.PENDING))
    await store.connections.insert(a_connection("three", app="hub"))
    assert await store.connections.count() == 3
    assert await store.connections.count(app="crm") == 2
    assert await store.connections.count(app="crm", status=Status.PENDING) == 1
    assert await store.connections.count_by_status() == {
        Status.PENDING: 1,
        Status.ACTIVE: 2,
        Status.NEEDS_REAUTHORIZATION: 0,
        Status.DISCONNECTED: 0,
    }
    assert await store.connections.count_by_status(app="hub") == {
        Status.PENDING: 0,
        Status.ACTIVE: 1,
        Status.NEEDS_REAUTHORIZATION: 0,
        Status.DISCONNECTED: 0,
    }


async def test_the_ids_of_those_that_are_not_disconnected_come_in_the_order_of_their_characters(store: Store):
    for number, name in enumerate(("b", "a-1", "B", "a.1")):
        await store.connections.insert(a_connection(name, unique_id=str(number), status=list(Status)[number % 3]))
    await store.connections.insert(a_connection("gone", unique_id="g", status=Status.DISCONNECTED))
    assert await store.connections.ids() == ("B", "a-1", "a.1", "b")


async def test_a_deleted_connection_is_gone_once(store: Store):
    await store.connections.insert(a_connection())
    assert await store.connections.delete("crm-ann")
    assert not await store.connections.delete("crm-ann")
    assert await store.connections.get("crm-ann") is None


async def test_a_touch_notes_the_use_of_many_and_is_no_change(store: Store):
    for number in range(3):
        await store.connections.insert(a_connection(f"c{number}"))
    before = await store.changes.latest()
    await store.connections.touch(("c0", "c2", *(f"unknown-{n}" for n in range(600))), now=1234.5)
    used = [row.last_used_at for row in (await store.connections.list()).items]
    assert used == [1234.5, None, 1234.5]
    assert await store.changes.latest() == before


async def test_living_connections_are_counted_by_app(store: Store):
    for name, app, status in (
        ("a", "crm", Status.ACTIVE),
        ("b", "crm", Status.NEEDS_REAUTHORIZATION),
        ("c", "crm", Status.DISCONNECTED),
        ("d", "mail", Status.PENDING),
        ("e", "gone", Status.DISCONNECTED),
    ):
        await store.connections.insert(a_connection(name, app=app, status=status))
    assert await store.connections.count_by_app() == {"crm": 2, "mail": 1}
