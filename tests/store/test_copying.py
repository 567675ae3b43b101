"""A store moved to another database: every row, as it is, or an end that says so."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    Text,
    delete,
    select,
    text,
    update,
)

from gateway.errors import StartError
from gateway.store import Store, copying, keyring_from_store
from gateway.store.copying import copy_store
from gateway.store.sealed import Sealed
from gateway.store.tables import clients, connections, data_keys, metadata, requests, version
from tests.postgres import Postgres
from tests.store.samples import a_client, a_connection

ROOT = Path(__file__).parents[2]
MASTER = b"m" * 32
ROWS = 7
TABLES = [table for table in metadata.sorted_tables if table is not version]
PLACE = {"table": "connections", "column": "credentials", "row": "sealed-1"}


def a_value(column: Column[Any], number: int) -> Any:  # noqa: PLR0911 - one for each type
    """What is hard to carry over, of each type."""
    match column.type:
        case Sealed() | LargeBinary():
            return bytes((number, 0, 255))
        case Text():
            return f"{number} ä\u2028'\"\\ 🜁"
        case Boolean():
            return number % 2 == 0
        case BigInteger():
            return 2**40 + number
        case Integer():
            return number
        case Double():
            return 1.1 * 10**9 + number / 7
        case JSON():
            return {"k": [number, None, {"ä": True}]}
        case _:
            raise AssertionError(f"{column}: a type that the copy has not been shown to carry")


def a_row(table: Any, number: int) -> dict[str, Any]:
    return {
        column.name: None if column.nullable and number % 3 == 0 else a_value(column, number)
        for column in table.columns
    }


async def fill(url: str) -> None:
    """Put rows into every table; some of what is numbered is gone again."""
    async with await Store.open(url, migrate=True) as store:
        await store.meta.put("gateway_id", b"ours")
        keyring = await keyring_from_store(store, MASTER, 1.0)
        credentials = keyring.seal(b"the token", **PLACE)
        await store.connections.insert(a_connection("sealed-1", credentials=credentials))
        for table in TABLES:
            if table is data_keys:
                continue  # the real one
            async with store.database.write() as connection:
                plain = copying._plain(table)
                await connection.execute(plain.insert(), [a_row(table, number) for number in range(2, ROWS)])
        async with store.database.write() as connection:
            last = select(requests.c.id).order_by(requests.c.id.desc()).limit(1).scalar_subquery()
            await connection.execute(delete(requests).where(requests.c.id == last))


async def rows_of(url: str) -> dict[str, list[str]]:
    async with await Store.open(url, migrate=False) as store, store.database.read() as connection:
        return {table.name: sorted(map(repr, await connection.execute(select(table)))) for table in TABLES}


@pytest.fixture
async def source(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/source.db"
    await fill(url)
    return url


@pytest.fixture
async def target(store_url: str, fresh: None) -> str:  # noqa: ARG001 - an empty database
    return store_url


async def test_every_row_of_every_table_is_there_and_the_source_is_as_it_was(source: str, target: str, tmp_path: Path):
    before = (tmp_path / "source.db").read_bytes()
    told: list[tuple[int, int]] = []
    done = await copy_store(source, target, progress=lambda done, total: told.append((done, total)))
    assert (tmp_path / "source.db").read_bytes() == before
    rows = await rows_of(source)
    assert await rows_of(target) == rows
    assert done.rows == {name: len(found) for name, found in rows.items()}
    assert all(rows.values())
    assert (done.resumed, done.written) == (False, sum(done.rows.values()))
    assert told[-1] == (done.written, done.written)


async def test_the_same_master_key_opens_what_was_sealed_and_numbers_go_on(source: str, target: str):
    await copy_store(source, target)
    async with await Store.open(target, migrate=True) as store:
        keyring = await keyring_from_store(store, MASTER, 2.0)
        row = await store.connections.get("sealed-1")
        assert keyring.open(row.credentials, **PLACE) == b"the token"
        await store.connections.delete("sealed-1")
        assert await store.changes.latest() == 2**40 + ROWS
        async with store.database.write() as connection:
            values = a_row(requests, 1)
            del values["id"]
            number = await connection.execute(requests.insert().values(values).returning(requests.c.id))
            assert number.scalar_one() == 2**40 + ROWS  # the one before it was given, and its row is gone


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
async def test_the_way_back_is_the_same_and_no_transaction_stands_open_for_as_long_as_it_takes(
    source: str, target: str, tmp_path: Path, postgresql: Postgres
):
    await copy_store(source, target)
    back = f"sqlite:///{tmp_path}/back.db"
    idle: list[str] = []

    def told(_done: int, _total: int) -> None:
        # One that stood still would be ended after ten seconds, and the copy with it.
        if not idle:
            idle.append(
                postgresql.psql("SELECT 'open: ' || count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'")
            )

    await copy_store(target, back, progress=told)
    assert "open: 0" in idle[0]
    assert await rows_of(back) == await rows_of(source)


COPY = """
import asyncio, sys, time
from gateway.store import copying
copying.BATCH = 3

def told(done, total):
    if done >= total // 2:
        print(done, flush=True)
        time.sleep(60)

asyncio.run(copying.copy_store(sys.argv[1], sys.argv[2], progress=told))
"""
HOLD = """
import asyncio, sys
from gateway.store import Store

async def main():
    async with await Store.open(sys.argv[1], migrate=False) as store:
        await store.meta.get("x")
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def start(program: str, *arguments: str) -> tuple[Process, str]:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *arguments, cwd=ROOT, stdout=PIPE)
    return child, (await child.stdout.readline()).decode().strip()


async def kill(child: Process) -> None:
    child.send_signal(signal.SIGKILL)
    await child.wait()


async def changed(url: str) -> None:
    """Change the source between two runs: a row anew, one gone, one more that has what was unique to it."""
    async with await Store.open(url, migrate=False) as store, store.database.write() as connection:
        await connection.execute(update(connections).where(connections.c.id == "sealed-1").values(label="other"))
        await connection.execute(delete(clients).where(clients.c.name == a_value(clients.c.name, 2)))
        anew = a_row(clients, 99) | {"token_hash": a_value(clients.c.token_hash, 2)}
        await connection.execute(clients.insert().values(anew))


async def unchanged(_url: str) -> None: ...


@pytest.mark.parametrize("meanwhile", [unchanged, changed])
async def test_a_copy_that_was_killed_is_nobodys_to_use_and_is_gone_on_with(
    source: str, target: str, meanwhile: Callable[[str], Awaitable[None]]
):
    child, said = await start(COPY, source, target)
    await kill(child)
    for migrate in (True, False):
        with pytest.raises(StartError, match="The store is a copy that isn't finished") as caught:
            await Store.open(target, migrate=migrate)
        assert "gateway db copy" in str(caught.value)
    await meanwhile(source)
    done = await copy_store(source, target)
    assert done.resumed
    assert int(said) > 10
    if meanwhile is unchanged:
        assert done.written == sum(done.rows.values()) - int(said)
    assert await rows_of(target) == await rows_of(source)


async def test_another_gateways_data_and_a_copy_that_is_whole_are_left_alone(source: str, target: str):
    async with await Store.open(target, migrate=True) as store:
        await store.meta.put("gateway_id", b"theirs")
    before = await rows_of(target)
    with pytest.raises(StartError, match=r"holds another gateway's data\. Name an empty database"):
        await copy_store(source, target)
    assert await rows_of(target) == before
    async with await Store.open(target, migrate=True) as store:
        await store.meta.put("gateway_id", b"ours")
    before = await rows_of(target)
    with pytest.raises(StartError, match="holds this gateway's data, whole, and may be in use"):
        await copy_store(source, target)
    assert await rows_of(target) == before


async def test_an_empty_store_can_be_filled_and_a_database_of_something_else_cannot(source: str, target: str):
    async with await Store.open(target, migrate=True):
        pass
    await copy_store(source, target)
    async with await Store.open(target, migrate=False) as store, store.database.write() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(StartError, match="something else"):
        await copy_store(source, target)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_store_that_is_in_use_is_not_copied(source: str, target: str):
    child, _ = await start(HOLD, source)
    try:
        with pytest.raises(StartError, match=r"in use by another process\. Stop the servers"):
            await copy_store(source, target)
    finally:
        await kill(child)
    assert (await copy_store(source, target)).written


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("named", ["", "&application_name=here"])
async def test_a_store_on_postgresql_that_is_in_use_is_not_copied_either(target: str, tmp_path: Path, named: str):
    async with await Store.open(target + named, migrate=True) as store:
        await store.meta.put("gateway_id", b"ours")
        with pytest.raises(StartError, match="in use by another process"):
            await copy_store(target + named, f"sqlite:///{tmp_path}/target.db")


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_source_that_was_changed_meanwhile_is_told_and_the_next_run_has_it(source: str, target: str):
    async with await Store.open(source, migrate=False) as other:
        loop, written = asyncio.get_running_loop(), []

        def told(_done: int, _total: int) -> None:
            if not written:
                written.append(loop.create_task(other.clients.insert(a_client("late"))))

        # Its own lock in this process doesn't count as another's.
        with pytest.raises(StartError, match=r"changed meanwhile.*Stop the servers"):
            await copy_store(source, target, progress=told)
        await written[0]
    assert (await copy_store(source, target)).resumed
    assert await rows_of(target) == await rows_of(source)


async def test_a_source_that_is_no_gateway_is_refused_before_anything_is_made(tmp_path: Path):
    async with await Store.open(f"sqlite:///{tmp_path}/empty.db", migrate=True):
        pass
    for name, said in (("missing", "There is no store at"), ("empty", "There is no gateway in this store yet")):
        with pytest.raises(StartError, match=said):
            await copy_store(f"sqlite:///{tmp_path}/{name}.db", f"sqlite:///{tmp_path}/target.db")
