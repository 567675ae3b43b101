"""A store of SQLite for one test: the file of an empty one, made once for each process of tests, is copied."""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from gateway.store import Store


async def store_at(path: Path) -> Store:
    """Open the store in this file, an empty one where there is none: what making its tables costs is saved."""
    _place(path)
    return await Store.open(f"sqlite:///{path}", migrate=True)


def _place(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_empty())


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor() as elsewhere:  # here a loop is running
        file = Path(place, "gateway.db")
        elsewhere.submit(asyncio.run, _make(file)).result()
        return file.read_bytes()


async def _make(file: Path) -> None:
    await (await Store.open(f"sqlite:///{file}", migrate=True)).close()
