"""What happened is recorded, who did it and when; never a secret."""

from collections.abc import AsyncIterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import pytest

from gateway.audit import Audit
from gateway.errors import StoreError
from gateway.secret import Secret
from gateway.store import EventRow, Store


class Colour(StrEnum):
    RED = "red"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{tmp_path}/gateway.db", migrate=True) as opened:
        yield opened


async def recorded(store: Store) -> list[EventRow]:
    return [replace(row, id=0) for row in (await store.events.list()).items]


async def test_an_event_has_its_time_its_actor_and_its_details(store):
    audit = Audit(store, lambda: 1234.5)
    await audit.record("connection.created", actor="admin", app="crm", connection="crm-ann", label="Ann")
    await audit.record("client.revoked", actor="admin", client="runner")
    assert await recorded(store) == [
        EventRow(at=1234.5, kind="client.revoked", actor="admin", client="runner"),
        EventRow(
            at=1234.5,
            kind="connection.created",
            actor="admin",
            app="crm",
            connection="crm-ann",
            detail={"label": "Ann"},
        ),
    ]


async def test_a_secret_is_masked_at_any_depth(store):
    audit = Audit(store, lambda: 1.0)
    token = Secret("s3cret-token")
    await audit.record("x", actor="a", token=token, nested={"list": [token, {"deep": token}]}, sealed=b"\x01\x02")
    (row,) = await recorded(store)
    assert row.detail == {"token": "***", "nested": {"list": ["***", {"deep": "***"}]}, "sealed": "***"}


async def test_values_that_json_does_not_know_are_written_as_text(store):
    audit = Audit(store, lambda: 1.0)
    await audit.record(
        "x", actor="a", colour=Colour.RED, place=Path("/data"), pair=(1, 2.5), none=None, yes=True, keys={1: "one"}
    )
    (row,) = await recorded(store)
    expected = {"colour": "red", "place": "/data", "pair": [1, 2.5], "none": None, "yes": True, "keys": {"1": "one"}}
    assert row.detail == expected


async def test_an_event_that_cannot_be_recorded_is_an_error(store):
    audit = Audit(store, lambda: 1.0)
    async with store.database.write() as connection:
        await connection.exec_driver_sql("DROP TABLE events")
    with pytest.raises(StoreError):
        await audit.record("x", actor="a")
