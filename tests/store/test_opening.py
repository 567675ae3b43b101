"""Every way in which an SQLite store can't be opened: one line, what to do next, and the disk as it was."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import StartError, StoreError
from gateway.store import Store, schema, sqlite_file
from tests.store.samples import a_connection

NOBODY = 65534

OPEN = """
import asyncio, os, sys, tempfile
from gateway.errors import StartError
from gateway.store import Store

async def attempt(path):
    async with await Store.open(f"sqlite:///{path}", migrate=True) as store:
        return await store.connections.count()

try:
    if sys.argv[2:]:
        with tempfile.TemporaryDirectory() as place:  # what is imported late is imported now, while it may be read
            asyncio.run(attempt(place + "/x.db"))
        os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
    print("opened", asyncio.run(attempt(sys.argv[1])))
except StartError as error:
    print(error)
    raise SystemExit(1)
"""


def a_store(path: Path) -> Path:
    """Make a store in a process of its own, and return its path once it is closed."""
    assert opened_by_child(path) == (0, "opened 0")
    return path


def opened_by_child(path: Path, *, user: int | None = None, **options: object) -> tuple[int, str]:
    child = subprocess.run(
        [sys.executable, "-c", OPEN, str(path), *([] if user is None else [str(user)])],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        **options,
    )
    assert child.stderr == ""
    return child.returncode, child.stdout.strip()


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mode) for path in files}


async def refused(path: Path, *, migrate: bool = True) -> str:
    """Open the store, which must be refused with one line; return it. The directory must be left as it was."""
    before = snapshot(path.parent)
    with pytest.raises(StartError) as caught:
        await Store.open(f"sqlite:///{path}", migrate=migrate)
    assert snapshot(path.parent) == before
    assert "\n" not in str(caught.value)
    assert caught.value.refusal.hint
    return str(caught.value)


async def test_a_missing_directory_is_made_for_its_owner_alone_and_so_are_the_files(tmp_path):
    path = tmp_path / "a" / "b" / "gateway.db"
    async with await Store.open(f"sqlite:///{path}", migrate=True) as store:
        await store.connections.insert(a_connection())
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert modes == {"gateway.db": "0o600", "gateway.db-wal": "0o600", "gateway.db-shm": "0o600"}
    assert [oct(place.stat().st_mode & 0o777) for place in (path.parent, path.parent.parent)] == ["0o700", "0o700"]


async def test_what_was_written_is_there_at_the_next_opening(sqlite_path):
    for _ in range(2):
        async with await Store.open(f"sqlite:///{sqlite_path}", migrate=True) as store:
            await store.meta.put("x", b"y")
    async with await Store.open(f"sqlite:///{sqlite_path}", migrate=False) as store:
        assert await store.meta.get("x") == b"y"


async def test_a_store_is_durable_logs_ahead_and_can_be_shared(sqlite_store):
    async with sqlite_store.database.write() as connection:
        found = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    assert found == ["wal", 2, 15000]


@pytest.mark.parametrize(
    "url", ["", "gateway.db", "mysql://user:s3cret@host/db", "sqlite://", "sqlite:///:memory:", "postgresql:/x:y:z"]
)
async def test_a_url_of_another_kind_is_refused_without_being_repeated(url):
    with pytest.raises(StartError) as caught:
        await Store.open(url, migrate=True)
    assert "s3cret" not in str(caught.value)


async def test_without_migrate_nothing_is_made(tmp_path):
    assert "no directory" in await refused(tmp_path / "missing" / "gateway.db", migrate=False)
    assert not (tmp_path / "missing").exists()
    assert "no store" in await refused(tmp_path / "gateway.db", migrate=False)


async def test_a_newer_schema_is_refused(sqlite_path):
    a_store(sqlite_path)
    with closing(sqlite3.connect(sqlite_path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '0099'")
        db.commit()
    said = await refused(sqlite_path)
    assert "schema 0099, newer than this gateway's " + schema.HEAD in said


@pytest.mark.parametrize("version", ["", "abc", "-1"])
async def test_a_version_that_was_never_ours_is_refused(sqlite_path, version):
    a_store(sqlite_path)
    with closing(sqlite3.connect(sqlite_path)) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (version,))
        db.commit()
    await refused(sqlite_path)


async def test_an_older_schema_is_refused_without_migrate(sqlite_path):
    a_store(sqlite_path)
    with closing(sqlite3.connect(sqlite_path)) as db:
        db.execute("UPDATE alembic_version SET version_num = '0000'")
        db.commit()
    assert "Run `gateway db upgrade`" in await refused(sqlite_path, migrate=False)


async def test_a_database_of_something_else_is_refused(tmp_path):
    path = tmp_path / "music.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (name TEXT)")
    assert "something else" in await refused(path)


@pytest.mark.parametrize("content", [b"x", b"[store]\nurl = 'sqlite'\n", b"\x7fELF" + bytes(8192), bytes(4096)])
async def test_a_file_that_is_no_database_is_refused(tmp_path, content):
    path = tmp_path / "gateway.db"
    path.write_bytes(content)
    assert "is not an SQLite database" in await refused(path)


async def test_a_file_that_is_cut_short_is_refused(sqlite_path):
    a_store(sqlite_path)
    os.truncate(sqlite_path, 3 * 4096)
    assert "is corrupt" in await refused(sqlite_path)


async def test_a_file_whose_pages_are_garbage_is_refused(sqlite_path):
    a_store(sqlite_path)
    with sqlite_path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(7).randbytes(sqlite_path.stat().st_size - 4096))
    assert "is corrupt" in await refused(sqlite_path)


async def test_a_directory_in_the_files_place_is_refused(tmp_path):
    (tmp_path / "gateway.db").mkdir()
    assert "is not a file" in await refused(tmp_path / "gateway.db")


async def test_a_file_in_the_directorys_place_is_refused(tmp_path):
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(StartError, match="data"):
        await Store.open(f"sqlite:///{tmp_path}/data/gateway.db", migrate=True)
    with pytest.raises(StartError, match="data"):
        await Store.open(f"sqlite:///{tmp_path}/data/below/gateway.db", migrate=True)


@pytest.fixture
def user() -> int | None:
    """Who the child is to be, so that file modes hold for it: root is above them."""
    return NOBODY if os.geteuid() == 0 else None


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own isn't."""
    with tempfile.TemporaryDirectory(prefix="gw-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("read_only", ["directory", "file"])
def test_a_store_that_is_read_only_is_refused(place, user, read_only):
    path = a_store(place / "data" / "gateway.db")
    for name in (path.parent, path):
        os.chown(name, -1 if user is None else user, -1)
    name, mode = {"directory": (path.parent, 0o500), "file": (path, 0o400)}[read_only]
    name.chmod(mode)
    before = snapshot(place)
    status, said = opened_by_child(path, user=user)
    assert (status, "read-only for this user" in said) == (1, True)
    assert snapshot(place) == before
    path.parent.chmod(0o700)


def test_a_directory_that_may_not_be_made_is_refused(place, user):
    (place / "locked").mkdir(mode=0o555)
    status, said = opened_by_child(place / "locked" / "data" / "gateway.db", user=user)
    assert (status, "can't be made (Permission denied)" in said) == (1, True)


def test_a_directory_that_may_not_be_entered_is_refused(place, user):
    (place / "locked" / "data").mkdir(parents=True)
    (place / "locked").chmod(0o000)
    status, said = opened_by_child(place / "locked" / "data" / "gateway.db", user=user)
    assert (status, "can't be reached (Permission denied)" in said) == (1, True)
    (place / "locked").chmod(0o700)


def test_directories_that_were_made_are_gone_again_when_the_rest_failed(place, user):
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    status, _ = opened_by_child(place / "open" / "a" / "b" / "gateway.db", user=user, preexec_fn=no_room)
    assert status == 1
    assert list((place / "open").iterdir()) == []


def no_room() -> None:
    # The kernel refuses every byte of a file behind 64 KiB, as a full disk does.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_is_refused_and_leaves_no_trace(tmp_path, sqlite_path, there):
    if there:
        a_store(sqlite_path)
    before = snapshot(tmp_path)
    status, said = opened_by_child(sqlite_path, preexec_fn=no_room)
    assert (status, "is full. Free at least 1024 KiB there" in said) == (1, True)
    assert snapshot(tmp_path) == before
    assert sqlite_path.parent.exists() == there


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1280k", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_disk_that_fills_up_under_a_running_store_is_an_error_and_loses_nothing(small_disk):
    kept = 0

    async def fill(store: Store) -> None:
        nonlocal kept
        while True:
            await store.connections.insert(a_connection(f"c{kept}", credentials=bytes(20_000)))
            kept += 1

    async with await Store.open(f"sqlite:///{small_disk}/gateway.db", migrate=True) as store:
        with pytest.raises(StoreError, match="disk"):
            await fill(store)
        assert kept > 0
        assert await store.connections.count() == kept
        assert await store.connections.get(f"c{kept - 1}") is not None
    assert "is full" in await refused(small_disk / "gateway.db")


async def test_a_store_that_becomes_full_says_so_and_goes_on_when_there_is_room_again(sqlite_store):
    async with sqlite_store.database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError) as caught:
        await sqlite_store.connections.insert(a_connection(credentials=bytes(100_000)))
    assert caught.value.refusal.detail == "The store is on a full disk."
    assert caught.value.refusal.code == "overloaded"
    await sqlite_store.connections.insert(a_connection(credentials=b"small"))
    assert await sqlite_store.connections.count() == 1


async def test_switching_to_the_log_waits_for_those_who_do_it_at_the_same_moment(sqlite_path, monkeypatch):
    sqlite_path.parent.mkdir()
    sqlite_path.touch()
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    answers: list[Exception] = [busy, busy]

    def connect(path: Path) -> sqlite3.Connection:
        if answers:
            raise answers.pop()
        return sqlite3.connect(path)

    monkeypatch.setattr(sqlite_file, "_connect", connect)
    sqlite_file.write_ahead(sqlite_path)
    with closing(sqlite3.connect(sqlite_path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_importing_the_store_costs_neither_sqlalchemy_nor_alembic():
    listed = (
        "import sys, gateway.store; "
        "print([name for name in ('sqlalchemy', 'alembic', 'aiosqlite') if name in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_a_first_start_and_a_later_one_do_without_alembic(sqlite_path):
    for _ in range(2):
        command = [sys.executable, "-c", OPEN + "print('alembic' in sys.modules)", str(sqlite_path)]
        child = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        assert child.stdout.split() == ["opened", "0", "False"]
