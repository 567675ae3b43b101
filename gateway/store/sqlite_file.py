"""The file of an SQLite store: looked at before anything is opened for writing, made with right modes.

Every way in which it can't be used is found here, is one line, and leaves the disk as it was. It blocks: use a thread.
"""

import errno
import fcntl
import os
import sqlite3
import stat
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Never

from gateway.errors import Refusal, StartError
from gateway.store.failures import PRIMARY, describe

ROOM_BYTES = 1 << 20  # a fresh store with its log takes 350 kB; less room than this is a full disk to us
WAIT_SECONDS = 30.0  # for the processes that start beside this one
AGAIN_SECONDS = 0.01
PAGE_BYTES = 512  # the smallest page, so the smallest file (SQLite file format §1.3.2)

# Who has a store open holds this byte of its shared memory's file (SQLite's os_unix.c, UNIX_SHM_DMS).
_OPENED_BYTE = 128

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare(path: Path, *, create: bool) -> str | None:
    """Make sure that a store can be opened at `path` for reading and writing; return its schema's version.

    None: a fresh one. A missing directory is then made 0700 and the file 0600, if `create`. Raises `StartError`.
    """
    made: list[Path] = []
    try:
        _directory(path.parent, made, create=create)
        _access(path)
        _room(path.parent)
        if path.exists() and path.stat().st_size:
            return _version(path)
        if not create:
            _refuse(f"There is no store at {path}.", "Run `gateway serve` or `gateway db upgrade` to make one.")
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600))
    except OSError as error:
        _remove(made)
        _refuse(f"The store {path} can't be reached ({error.strerror}).", "Check its directories' owners and modes.")
    except BaseException:
        _remove(made)
        raise
    else:
        return None


def write_ahead(path: Path) -> None:
    """Switch the file to the write-ahead log, unless it is. This lasts. Raises `StartError`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with closing(_connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.Error as error:
            # Two that switch at once: SQLite refuses one of them without asking its busy handler.
            busy = getattr(error, "sqlite_errorcode", 0) & PRIMARY == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                _refuse_sqlite(path, describe(error))
            time.sleep(AGAIN_SECONDS)
        else:
            return


def is_in_use(path: Path) -> bool:
    """Whether another process has the store open. Not to be asked by one that has: its own lock would go."""
    try:
        with path.with_name(f"{path.name}-shm").open("rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OPENED_BYTE)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def _version(path: Path) -> str | None:
    if path.stat().st_size < PAGE_BYTES:  # SQLite takes a file of one byte for an empty one, and writes over it
        _refuse_sqlite(path, "is not an SQLite database")
    # Every table's first page is read, so that a file which is no database, or is cut short, is found now. The file is
    # never opened but by SQLite: closing a descriptor of our own would drop the locks that this process holds on it.
    try:
        with closing(_connect(path)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for name in names:
                connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchall()  # noqa: S608 - the file's own names
            if not names:
                return None
            if "alembic_version" not in names:
                _refuse(f"{path} is a database of something else.", "Check `store.url`; the file was left as it is.")
            (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
            return str(version)
    except sqlite3.Error as error:
        _refuse_sqlite(path, describe(error))


def _directory(directory: Path, made: list[Path], *, create: bool) -> None:
    """Make the directory if `create`; what was made is put into `made`, outermost first."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    if missing and not create:
        _refuse(f"There is no directory {directory}.", "Check `store.url` and `data_dir`.")
    try:
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
            made.append(place)
    except OSError as error:
        _refuse(f"The directory {directory} can't be made ({error.strerror}).", "Check `data_dir` and its owner.")


def _remove(made: list[Path]) -> None:
    with suppress(OSError):  # no longer empty: another process is at work there
        for directory in reversed(made):
            directory.rmdir()


def _access(path: Path) -> None:
    if not path.parent.is_dir():
        _refuse(f"{path.parent} is not a directory.", "Check `store.url` and `data_dir`.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        _refuse(f"{path} is not a file.", "Check `store.url`.")
    # The directory too: the write-ahead log is a file beside the database.
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            _refuse(f"The store's {place} is read-only for this user.", "Check its owner, its mode and the mount.")


def _room(directory: Path) -> None:
    """Ask the file system for room, really, and give it back."""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            os.posix_fallocate(probe.fileno(), 0, ROOM_BYTES)
    except OSError as error:
        if error.errno in _FULL:
            _refuse(f"The disk of {directory} is full.", f"Free at least {ROOM_BYTES // 1024} KiB there.")
        _refuse(f"{directory} can't be written to ({error.strerror}).", "Check its owner, its mode and the mount.")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=WAIT_SECONDS, isolation_level=None)


def _refuse_sqlite(path: Path, what: str) -> Never:
    _refuse(f"The store {path} {what}.", "Nothing was changed. Check `store.url`.")


def _refuse(detail: str, hint: str) -> Never:
    raise StartError(Refusal(code="internal", detail=detail, hint=hint))
