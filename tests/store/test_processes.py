"""Several processes on one store, and one that dies in the middle."""

import asyncio
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store import Store, keyring_from_store
from tests.store.samples import a_connection

ROOT = Path(__file__).parents[2]
PROCESSES = 4

# Each process says "ready", waits for a word, and works: so that all begin at the same moment. They are split off from
# one that has imported everything, which is what would take the time.
BEGIN = """
import asyncio, os, signal, sys
from gateway.store import ClientRow, ConnectionRow, Status, Store, keyring_from_store
url, processes, me = sys.argv[1], int(sys.argv[2]), 0
if processes > 1:
    import asyncpg, gateway.store.store
    import sqlalchemy.dialects.postgresql.asyncpg, sqlalchemy.dialects.sqlite.aiosqlite
    for me in range(processes):
        if not os.fork():
            break
    else:
        sys.exit(any([os.wait()[1] for _ in range(processes)]))

def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\\n")  # whole, or it would mix with what the others say

def wait_for_the_start():
    say("ready")
    os.read(0, len(b"go\\n"))
"""

OPEN = (
    BEGIN
    + """
async def main():
    wait_for_the_start()
    async with await Store.open(url, migrate=True) as store:
        keyring = await keyring_from_store(store, b"m" * 32, 1.0)
        place = {"table": "t", "column": "c", "row": "r"}
        await store.meta.put(f"sealed-{me}", keyring.seal(b"hello", **place))
        found = await store.meta.establish({"gateway_id": str(me).encode()})
        say(found["gateway_id"].decode())

asyncio.run(main())
"""
)

WRITE = (
    BEGIN
    + """
async def main():
    async with await Store.open(url, migrate=False) as store:
        wait_for_the_start()
        async def one(number):
            await store.connections.insert(ConnectionRow(
                id=f"p{me}-{number}", app="crm", status=Status.ACTIVE, created_at=1.0, updated_at=1.0))
            await store.connections.update(f"p{me}-{number}", label=f"written by {me}")
        await asyncio.gather(*(one(number) for number in range(25)))

asyncio.run(main())
"""
)

REFRESH = (
    BEGIN
    + """
async def main():
    async with await Store.open(url, migrate=False) as store:
        wait_for_the_start()
        won = []
        for seen in range(1, 21):
            while True:
                fence = await store.connections.take_lease(
                    "crm-ann", owner=str(me), seen_version=seen, now=1000.0, until=1030.0)
                if fence is not None:
                    won.append(seen)
                    assert await store.connections.write_tokens(
                        "crm-ann", fence=fence, now=1000.0, credentials=f"{seen} {me}".encode(), expires_at=None)
                if (await store.connections.get("crm-ann")).token_version > seen:
                    break
        say(*won)

asyncio.run(main())
"""
)

DIE = (
    BEGIN
    + """
async def main():
    store = await Store.open(url, migrate=False)
    await store.meta.put("committed", b"yes")
    async with store.database.write() as connection:
        from sqlalchemy import text
        for number in range(300):  # enough to be spilled into the log before the commit
            await connection.execute(
                text("INSERT INTO meta VALUES (:name, zeroblob(20000))"), {"name": f"uncommitted-{number}"})
        say("ready")
        await asyncio.sleep(60)

asyncio.run(main())
"""
)


async def start(program: str, url: str, *, processes: int = 1) -> Process:
    """Start the program; return the process that waits for its processes, once they are ready."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, url, str(processes), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    for _ in range(processes):
        assert await child.stdout.readline() == b"ready\n"
    return child


async def run_together(program: str, url: str) -> list[str]:
    """Run the program in four processes that begin together; return what each printed."""
    child = await start(program, url, processes=PROCESSES)
    out, _ = await child.communicate(b"go\n" * PROCESSES)
    assert child.returncode == 0
    return out.decode().splitlines()


@pytest.mark.usefixtures("fresh")
async def test_processes_that_start_together_on_nothing_make_one_store_with_one_key(store_url: str):
    said = await run_together(OPEN, store_url)
    assert len(set(said)) == 1
    async with await Store.open(store_url, migrate=False) as store:
        assert [row.id for row in await store.keys.all()] == [1]
        keyring = await keyring_from_store(store, b"m" * 32, 2.0)
        for number in range(PROCESSES):
            blob = await store.meta.get(f"sealed-{number}")
            assert keyring.open(blob, table="t", column="c", row="r") == b"hello"


async def test_every_write_of_four_processes_is_there_and_in_the_feed(store: Store, store_url: str):
    heard: set[str] = set()
    all_heard = asyncio.Event()

    def hear(_kind: str, key: str) -> None:
        heard.add(key)
        if len(heard) == PROCESSES * 25:
            all_heard.set()

    watch = asyncio.create_task(store.changes.watch(hear, after=0, interval=0.001))
    await run_together(WRITE, store_url)
    rows = (await store.connections.list(limit=1000)).items
    assert len(rows) == PROCESSES * 25
    assert all(row.label == f"written by {row.id[1]}" for row in rows)
    assert len(await store.changes.since(0)) == PROCESSES * 50
    await asyncio.wait_for(all_heard.wait(), 5)
    assert heard == {row.id for row in rows}
    watch.cancel()


async def test_of_four_processes_exactly_one_refreshes_in_each_round(store: Store, store_url: str):
    await store.connections.insert(a_connection())
    said = await run_together(REFRESH, store_url)
    assert sorted(int(won) for line in said for won in line.split()) == list(range(1, 21))
    row = await store.connections.get("crm-ann")
    assert (row.token_version, row.fence) == (21, 20)


async def test_a_kill_in_the_middle_of_a_transaction_leaves_what_was_committed_and_nothing_else(
    sqlite_store, sqlite_path
):
    await sqlite_store.close()
    child = await start(DIE, f"sqlite:///{sqlite_path}")
    child.send_signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert sqlite_path.with_name("gateway.db-wal").stat().st_size > 0
    async with await Store.open(f"sqlite:///{sqlite_path}", migrate=False) as store:
        assert await store.meta.get("committed") == b"yes"
        assert await store.meta.get("uncommitted-0") is None
        await store.connections.insert(a_connection())
    with closing(sqlite3.connect(sqlite_path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_kill_frees_the_write_lock_for_those_who_live(sqlite_store, sqlite_path):
    child = await start(DIE, f"sqlite:///{sqlite_path}")
    waiting = asyncio.create_task(sqlite_store.connections.insert(a_connection()))
    child.send_signal(signal.SIGKILL)
    await child.wait()
    async with asyncio.timeout(5):
        await waiting
    assert await sqlite_store.connections.count() == 1


async def test_a_change_in_another_process_is_heard_within_a_second(store: Store, store_url: str):
    heard, loop = asyncio.Event(), asyncio.get_running_loop()
    told: list[float] = []
    child = await start(WRITE, store_url)
    mark = await store.changes.latest()
    watch = asyncio.create_task(
        store.changes.watch(lambda _kind, _key: told.append(loop.time()) or heard.set(), after=mark)
    )
    child.stdin.write(b"go\n")
    begun = loop.time()
    await asyncio.wait_for(heard.wait(), 10)
    await child.communicate()
    watch.cancel()
    assert told[0] - begun < 1.0
