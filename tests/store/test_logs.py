"""What every store does with the audit trail and the request log."""

from dataclasses import replace

import pytest

from gateway.errors import ClientError
from gateway.store import EventRow, Page, Store
from tests.store.samples import a_request


def without_ids(page: Page) -> list[object]:
    return [replace(row, id=0) for row in page.items]


async def test_an_event_comes_back_as_it_was_recorded(store: Store):
    row = EventRow(
        at=1000.5,
        kind="connection.created",
        actor="admin",
        app="crm",
        connection="crm-ann",
        client=None,
        detail={"label": "Ann ☃", "n": 3, "list": [1, None, True]},
    )
    await store.events.add(row)
    assert without_ids(await store.events.list()) == [row]


async def test_the_trail_is_read_newest_first_in_pages(store: Store):
    for number in range(5):
        await store.events.add(EventRow(at=1000.0, kind=f"k{number}", actor="a"))
    first = await store.events.list(limit=2)
    second = await store.events.list(limit=2, cursor=first.next)
    third = await store.events.list(limit=2, cursor=second.next)
    assert [[row.kind for row in page.items] for page in (first, second, third)] == [["k4", "k3"], ["k2", "k1"], ["k0"]]
    assert third.next is None


async def test_the_trail_is_narrowed_by_app_connection_and_kind(store: Store):
    await store.events.add(EventRow(at=1.0, kind="a", actor="x", app="crm", connection="one"))
    await store.events.add(EventRow(at=2.0, kind="b", actor="x", app="crm", connection="two"))
    await store.events.add(EventRow(at=3.0, kind="a", actor="x", app="hub"))

    async def times(**wanted: str) -> list[float]:
        return [row.at for row in (await store.events.list(**wanted)).items]

    assert await times(app="crm") == [2.0, 1.0]
    assert await times(connection="one") == [1.0]
    assert await times(kind="a") == [3.0, 1.0]
    assert await times(kind="a", app="crm") == [1.0]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "\u0661", "9" * 40, "1 OR 1=1"])
async def test_a_cursor_that_no_list_gave_is_the_callers_fault(store: Store, cursor: str):
    with pytest.raises(ClientError) as caught:
        await store.events.list(cursor=cursor)
    assert caught.value.refusal.code == "invalid"


async def test_requests_are_added_many_at_once_and_come_back_newest_first(store: Store):
    rows = [a_request(1000.0), a_request(1001.0, connection=None, client=None, code="target_invalid", status=400)]
    await store.requests.add_many(rows)
    await store.requests.add_many([])
    assert without_ids(await store.requests.list()) == rows[::-1]


async def test_the_request_log_is_narrowed_by_connection_client_and_status(store: Store):
    await store.requests.add_many(
        [
            a_request(1.0),
            a_request(2.0, connection="other"),
            a_request(3.0, client="other"),
            a_request(4.0, status=502),
        ]
    )

    async def times(**wanted: str | int) -> list[float]:
        return [row.at for row in (await store.requests.list(**wanted)).items]

    assert await times(connection="crm-ann") == [4.0, 3.0, 1.0]
    assert await times(client="other") == [3.0]
    assert await times(status=502) == [4.0]


async def test_the_request_log_is_pruned_by_age_and_by_number(store: Store):
    await store.requests.add_many([a_request(float(at)) for at in range(10)])
    assert await store.requests.prune(before=3.0) == 3
    assert await store.requests.prune(keep=4) == 3
    assert await store.requests.prune(keep=4) == 0
    assert [row.at for row in (await store.requests.list()).items] == [9.0, 8.0, 7.0, 6.0]
    assert await store.requests.prune(keep=0) == 4
