"""What every store does with the audit trail and the request log."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import ClientError
from gateway.store import EventRow, Page, RequestRow, Store
from gateway.store.requests import REFUSED
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
    rows = [
        a_request(1000.0, refreshed=True),
        a_request(1001.0, app=None, connection=None, client=None, code="target_invalid", status=400),
    ]
    await store.requests.add_many(rows)
    await store.requests.add_many([])
    assert without_ids(await store.requests.list()) == rows[::-1]


async def test_the_request_log_is_narrowed_by_app_connection_client_status_and_code(store: Store):
    await store.requests.add_many(
        [
            a_request(1.0),
            a_request(2.0, connection="other"),
            a_request(3.0, client="other"),
            a_request(4.0, status=502),
            a_request(5.0, app="hub", connection="hub-ann", status=403, code="target_not_allowed"),
            a_request(6.0, app=None, connection="hub-ann", status=403, code="connection_not_permitted"),
        ]
    )

    async def times(**wanted: str | int) -> list[float]:
        return [row.at for row in (await store.requests.list(**wanted)).items]

    assert await times(connection="crm-ann") == [4.0, 3.0, 1.0]
    assert await times(client="other") == [3.0]
    assert await times(status=502) == [4.0]
    assert await times(app="crm") == [4.0, 3.0, 2.0, 1.0]
    assert await times(code="target_not_allowed") == [5.0]
    assert await times(app="hub", status=403) == [5.0]


async def test_a_tail_reads_what_is_behind_an_entry_oldest_first_and_misses_nothing(store: Store):
    for number in range(5):
        await store.events.add(EventRow(at=float(number), kind="k", actor="a"))
        await store.requests.add_many([a_request(float(number), connection="other" if number == 3 else "crm-ann")])
    for log in (store.events, store.requests):
        one, two, *_ = [row.id for row in (await log.list()).items][::-1]
        first = await log.list(after=one, limit=2)
        assert ([row.at for row in first.items], first.next) == ([1.0, 2.0], str(first.items[-1].id))
        second = await log.list(after=int(first.next or 0), limit=2)
        assert ([row.at for row in second.items], second.next) == ([3.0, 4.0], None)
        assert (await log.list(after=second.items[-1].id)).items == ()
        assert [row.at for row in (await log.list(after=0)).items] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert [row.at for row in (await log.list(after=two, connection="other")).items] == (
            [3.0] if log is store.requests else []
        )


async def test_what_an_app_was_refused_lately_is_each_target_once_newest_first(store: Store):
    def refused(at: float, url: str, **changes: Any) -> RequestRow:
        return a_request(at, url=f"https://x.test{url}", **{"status": 403, "code": "target_not_allowed"} | changes)

    await store.requests.add_many(
        [
            refused(1.0, "/a"),
            refused(2.0, "/b"),
            refused(3.0, "/a"),
            refused(4.0, "/a", method="POST"),
            refused(5.0, "/c", app="hub"),
            refused(6.0, "/d", code="address_not_allowed"),
            a_request(7.0),
        ]
    )
    found = [(one.method, one.url, one.count, one.last_at) for one in await store.requests.refused("crm", limit=10)]
    a, b = "https://x.test/a", "https://x.test/b"
    assert found == [("POST", a, 1, 4.0), ("GET", a, 2, 3.0), ("GET", b, 1, 2.0)]
    assert len(await store.requests.refused("crm", limit=1)) == 1


async def test_only_so_many_of_the_refused_are_looked_at(store: Store):
    row = a_request(1.0, status=403, code="target_not_allowed")
    await store.requests.add_many([replace(row, url="https://x.test/old")] + [row] * REFUSED)
    assert [one.count for one in await store.requests.refused("crm", limit=10)] == [REFUSED]


async def test_the_request_log_is_pruned_by_age_and_by_number(store: Store):
    await store.requests.add_many([a_request(float(at)) for at in range(10)])
    assert await store.requests.prune(before=3.0) == 3
    assert await store.requests.prune(keep=4) == 3
    assert await store.requests.prune(keep=4) == 0
    assert [row.at for row in (await store.requests.list()).items] == [9.0, 8.0, 7.0, 6.0]
    assert await store.requests.prune(keep=0) == 4


async def test_one_entry_is_found_by_its_number_and_the_newest_number_is_known(store: Store):
    for log in (store.requests, store.events):
        assert (await log.get(1), await log.latest()) == (None, 0)
    await store.requests.add_many([a_request(1.0), a_request(2.0, refreshed=True)])
    await store.events.add(EventRow(at=3.0, kind="k", actor="a", detail={"n": 1}))
    found = await store.requests.get(await store.requests.latest())
    assert found is not None
    assert replace(found, id=0) == a_request(2.0, refreshed=True)
    event = await store.events.get(await store.events.latest())
    assert event is not None
    assert (event.at, event.detail) == (3.0, {"n": 1})


async def test_the_request_log_is_narrowed_by_class_of_status_and_to_what_the_gateway_answered(store: Store):
    await store.requests.add_many(
        [
            a_request(1.0, status=204),
            a_request(2.0, status=301),
            a_request(3.0, status=404),
            a_request(4.0, status=403, code="target_not_allowed"),
            a_request(5.0, status=504, code="upstream_timeout"),
            a_request(6.0, status=500, client="other"),
        ]
    )

    async def times(**wanted: Any) -> list[float]:
        return [row.at for row in (await store.requests.list(**wanted)).items]

    assert await times(status_class=2) == [1.0]
    assert await times(status_class=4) == [4.0, 3.0]
    assert await times(status_class=5) == [6.0, 5.0]
    assert await times(refused=True) == [5.0, 4.0]
    assert await times(refused=True, status_class=5, client="runner") == [5.0]
    assert await times(status_class=4, after=3) == [4.0]


async def test_the_trail_is_narrowed_by_client(store: Store):
    await store.events.add(EventRow(at=1.0, kind="a", actor="x", client="runner"))
    await store.events.add(EventRow(at=2.0, kind="a", actor="x"))
    assert [row.at for row in (await store.events.list(client="runner")).items] == [1.0]
