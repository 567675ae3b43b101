"""A caller that goes away in the middle of a query: the next one finds everything in order."""

import asyncio

from sqlalchemy import select

from gateway.store import Store
from tests.store.samples import a_connection


async def test_a_write_that_is_cancelled_at_any_moment_is_there_as_a_whole_or_not_at_all_and_keeps_no_lock(
    store: Store,
):
    for moment in range(120):
        task = asyncio.create_task(store.connections.insert(a_connection(f"c{moment}")))
        await asyncio.sleep(moment * 25e-6)  # from its first step to behind its last: some 3 ms
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            await store.meta.put("next", b"x")
    written, told = await store.connections.count(), len(await store.changes.since(0))
    assert written == told


async def test_writes_that_are_cancelled_while_they_wait_leave_no_connection_behind(store: Store):
    async with store.database.write():
        tasks = [asyncio.create_task(store.connections.get("x")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        await asyncio.gather(*(store.connections.insert(a_connection(f"c{number}")) for number in range(20)))
    assert await store.connections.count() == 20


async def test_a_store_that_is_closed_waits_for_what_runs_on_it(store_url: str):
    """A connection that is given back to a closed store would stay open, its thread too."""
    store = await Store.open(store_url, migrate=True)
    steps: list[str] = []
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with store.database.read() as connection:
            reading.set()
            await go_on.wait()
            await connection.execute(select(1))
            steps.append("read")

    reader = asyncio.create_task(read())
    await reading.wait()
    closing = asyncio.create_task(store.close())
    closing.add_done_callback(lambda _: steps.append("closed"))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(reader, closing)
    assert steps == ["read", "closed"]
