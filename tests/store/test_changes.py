"""The change feed: every change is told, in the order of the commits, to whoever watches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.errors import Refusal, StoreError
from gateway.store import ConflictError, DataKeyRow, Status, Store, changes
from tests.store.samples import a_client, a_connection


class Heard:
    """A watcher that one can wait for."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self._news = asyncio.Condition()

    async def __call__(self, kind: str, key: str) -> None:
        async with self._news:
            self.said.append((kind, key))
            self._news.notify_all()

    async def until(self, enough: Callable[[list[tuple[str, str]]], bool]) -> None:
        async with asyncio.timeout(5), self._news:
            await self._news.wait_for(lambda: enough(self.said))


@asynccontextmanager
async def watching(store: Store, heard: Heard, **options: object) -> AsyncIterator[None]:
    task = asyncio.create_task(store.changes.watch(heard, **{"interval": 0.005} | options))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_write_that_others_must_hear_of_is_in_the_feed(store: Store):
    await store.connections.insert(a_connection())
    await store.connections.update("crm-ann", label="B")
    fence = await store.connections.take_lease("crm-ann", owner="me", seen_version=1, now=1.0, until=2.0)
    await store.connections.fail_refresh("crm-ann", fence=fence, now=1.0, reason="x", retry_at=None, failures=1)
    await store.connections.delete("crm-ann")
    await store.clients.insert(a_client())
    await store.clients.revoke("runner", now=1.0)
    await store.secrets.put("crm", "s", b"x", now=1.0)
    await store.secrets.delete("crm", "s")
    await store.keys.add(DataKeyRow(id=1, wrapped=b"x", created_at=1.0))
    assert [change[1:] for change in await store.changes.since(0)] == [
        ("connection", "crm-ann"),
        ("connection", "crm-ann"),
        ("connection", "crm-ann"),
        ("connection", "crm-ann"),
        ("client", "runner"),
        ("client", "runner"),
        ("secret", "crm/s"),
        ("secret", "crm/s"),
        ("key", "1"),
    ]


async def test_a_write_that_failed_is_not_in_the_feed(store: Store):
    await store.connections.insert(a_connection())
    before = await store.changes.latest()
    with pytest.raises(ConflictError):
        await store.connections.insert(a_connection())
    assert await store.changes.latest() == before


async def test_an_empty_feed_is_at_zero(store: Store):
    assert await store.changes.latest() == 0
    assert await store.changes.since(0) == []


async def test_who_watches_after_a_number_is_told_what_came_since(store: Store):
    await store.connections.insert(a_connection("old"))
    mark = await store.changes.latest()
    await store.connections.insert(a_connection("new"))
    heard = Heard()
    async with watching(store, heard, after=mark):
        await heard.until(bool)
        await store.clients.insert(a_client())
        await heard.until(lambda said: len(said) == 2)
    assert heard.said == [("connection", "new"), ("client", "runner")]


async def test_another_store_on_the_same_database_is_heard(store: Store, store_url: str):
    heard = Heard()
    async with await Store.open(store_url, migrate=False) as other, watching(store, heard, after=0):
        for number in range(3):
            await other.connections.insert(a_connection(f"c{number}"))
            await heard.until(lambda said, count=number + 1: len(said) == count)
    assert heard.said == [("connection", "c0"), ("connection", "c1"), ("connection", "c2")]


async def test_a_plain_function_can_watch_too(store: Store):
    await store.connections.insert(a_connection())
    said: list[str] = []
    done = asyncio.Event()
    task = asyncio.create_task(store.changes.watch(lambda _, key: said.append(key) or done.set(), after=0))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    assert said == ["crm-ann"]


async def test_a_change_that_comes_often_in_one_look_is_told_once(store: Store):
    await store.connections.insert(a_connection())
    for _ in range(5):
        await store.connections.update("crm-ann", status=Status.ACTIVE)
    await store.clients.insert(a_client())
    heard = Heard()
    async with watching(store, heard, after=0):
        await heard.until(lambda said: ("client", "runner") in said)
    assert heard.said == [("connection", "crm-ann"), ("client", "runner")]


async def test_the_feed_prunes_itself_and_who_is_too_far_behind_is_told_to_forget_everything(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes, "KEEP", 20)
    monkeypatch.setattr(changes, "PRUNE_EVERY", 8)
    for number in range(40):
        await store.secrets.put("crm", f"s{number}", b"x", now=1.0)
    assert len(await store.changes.since(0)) <= 28
    assert await store.changes.latest() == 40
    heard = Heard()
    async with watching(store, heard, after=3):
        await heard.until(bool)
    assert heard.said == [("everything", "")]


async def test_a_store_that_goes_away_is_reported_and_the_feed_goes_on_where_it_was(store: Store):
    await store.connections.insert(a_connection("before"))
    heard, errors = Heard(), []
    reported = asyncio.Event()
    read, broken = store.database.read, asyncio.Event()

    @asynccontextmanager
    async def flaky() -> AsyncIterator[object]:
        if not broken.is_set():
            broken.set()
            raise StoreError(Refusal(code="overloaded", detail="The store is away."))
        async with read() as connection:
            yield connection

    store.database.read = flaky
    async with watching(store, heard, after=0, on_error=lambda error: errors.append(error) or reported.set()):
        await asyncio.wait_for(reported.wait(), 5)
        await heard.until(bool)
    assert heard.said == [("connection", "before")]
    assert len(errors) == 1


async def test_how_far_a_watcher_has_come_is_known_once_it_was_told(store: Store):
    """Monitoring goes by it: a process that hears of nothing is seen (`app/watching`)."""
    hold, heard = asyncio.Event(), Heard()

    async def slowly(kind: str, key: str) -> None:
        await heard(kind, key)
        await hold.wait()

    before = await store.changes.latest()
    task = asyncio.create_task(store.changes.watch(slowly, after=before, interval=0.005))
    await store.clients.insert(a_client())
    await heard.until(lambda said: len(said) == 1)
    assert store.changes.seen == before, "it is still being told"
    hold.set()
    await store.clients.revoke("runner", now=1.0)
    await heard.until(lambda said: len(said) == 2)
    assert store.changes.seen > before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
