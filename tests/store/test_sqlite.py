"""How writers and readers of one SQLite file stand to each other."""

import asyncio
from pathlib import Path

from gateway.store import Store
from tests.store.samples import a_connection


async def test_a_write_transaction_holds_the_lock_before_it_writes(sqlite_store: Store, sqlite_path: Path):
    begun = asyncio.Event()

    async def write(store: Store) -> None:
        async with store.database.write():
            begun.set()

    async with await Store.open(f"sqlite:///{sqlite_path}", migrate=False) as other:
        async with sqlite_store.database.write() as connection:
            waiting = asyncio.create_task(write(other))
            for _ in range(20):  # that much of SQLite's own time, which a transaction that only reads would need
                await connection.exec_driver_sql("SELECT count(*) FROM connections")
            assert not begun.is_set()
        await asyncio.wait_for(waiting, 5)


async def test_a_reader_waits_for_no_writer(sqlite_store: Store):
    await sqlite_store.connections.insert(a_connection())
    async with sqlite_store.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM connections")
        waiting = [asyncio.create_task(sqlite_store.meta.put(f"m{number}", b"x")) for number in range(20)]
        for _ in range(20):  # they all stand where they wait
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await sqlite_store.connections.count() == 1
    await asyncio.gather(*waiting)
    assert await sqlite_store.connections.count() == 0
