"""What docs/operations.md reckons with: `python benchmarks/sizing.py`, on SQLite and on a real PostgreSQL, in a minute.

Memory for each connection that a process has in use, the first use of one, how many refreshes a process does in a
second and what they cost it, and what rows weigh. The provider is a process of its own and answers at once. The store
is filled as `fill.py` does; a process is measured by the kernel's own figures (PSS, CPU time).
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from sqlalchemy import text as sql

from benchmarks.fill import app_of, fill, id_of
from benchmarks.gateway_under_test import HEADER, OAUTH, POLICY
from benchmarks.proc import kibibytes
from gateway.app import Gateway, open_gateway
from gateway.app.loop import run_on_uvloop
from gateway.log import configure_log
from gateway.settings import load_settings
from gateway.store.rows import RequestRow, TallyRow
from tests.postgres import postgres

POLICIES, CONNECTIONS = 30, 10_000
RENEWED, AT_ONCE, ROUNDS = 100, 16, 4
ROWS = 20_000
PROVIDER = """
import asyncio, sys
BODY = b'{"access_token":"' + b'a' * 900 + b'","token_type":"Bearer","expires_in":3600}'
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0] or 0)
            await reader.readexactly(length)
            writer.write(ANSWER)
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def main() -> None:
    """Measure each store in a process of its own, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--store", choices=PLACES, help="this store alone")
    wanted = parser.parse_args()
    if wanted.store:
        with PLACES[wanted.store]() as (folder, url), _provider() as port:
            os.environ |= {
                "GATEWAY_DATA_DIR": f"{folder}/data",
                "GATEWAY_POLICIES_DIR": f"{folder}/policies",
                "GATEWAY_STORE__URL": url,
                "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.1",
            }
            found = run_on_uvloop(_measure(folder, port))
        print(json.dumps(found, indent=2))
        return
    found = {kind: _one(kind) for kind in PLACES}
    if wanted.json:
        print(json.dumps(found, indent=2))
        return
    names = list(found["SQLite"])
    width = max(map(len, names))
    print(f"{'':{width}}  {'SQLite':>12}{'PostgreSQL':>12}")
    for name in names:
        print(f"{name:{width}}  {found['SQLite'][name]:12,.2f}{found['PostgreSQL'][name]:12,.2f}")


def _one(kind: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--store", kind], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _measure(folder: Path, port: int) -> dict[str, float]:
    text = POLICY.format(origin="https://api.example.com", tls="https://api.example.org", sink="https://a.example.net")
    await fill(folder, POLICIES, CONNECTIONS, (text + HEADER).replace('"Bench"', '"Bench {number}"'))
    (folder / "policies" / "storm.toml").write_text(OAUTH.format(sink=f"http://127.0.0.1:{port}"))
    configure_log(level="error")
    async with open_gateway(load_settings(None)) as gateway:
        return (
            {"bytes of a connection, with its indexes": await _bytes(gateway, "connections") / CONNECTIONS}
            | await _memory(gateway)
            | await _renewals(gateway)
            | await _rows(gateway, "requests", _requests)
            | await _rows(gateway, "tallies", _tallies)
        )


async def _memory(gateway: Gateway) -> dict[str, float]:
    """Use every connection once."""
    await gateway.vault.live(id_of(0))
    before, began = _pss(), time.process_time()
    for number in range(1, CONNECTIONS):
        await gateway.vault.live(id_of(number))
    used = time.process_time() - began
    return {
        "KiB of memory for each connection in use": (_pss() - before) / (CONNECTIONS - 1) / 1024,
        "CPU ms of a connection's first use": used / (CONNECTIONS - 1) * 1000,
    }


async def _renewals(gateway: Gateway) -> dict[str, float]:
    """Refresh connections, several at once, each of them several times."""
    names = [f"r-{number:03d}" for number in range(RENEWED)]
    for name in names:
        await gateway.vault.connect("storm", connection_id=name, secrets={"client_secret": "hush"}, actor="benchmark")
    at_once = asyncio.Semaphore(AT_ONCE)

    async def renew(name: str) -> None:
        async with at_once:
            await gateway.vault.refresh(name)

    began, used = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        await asyncio.gather(*map(renew, names))
    seconds, used, count = time.perf_counter() - began, time.process_time() - used, ROUNDS * RENEWED
    return {"refreshes a second": count / seconds, "CPU ms of a refresh": used / count * 1000}


async def _rows(gateway: Gateway, table: str, write: Callable[[Gateway, range], Awaitable[None]]) -> dict[str, float]:
    """Write rows, a thousand in a transaction; tell how fast, and what they weigh."""
    before, began, used = await _bytes(gateway, table), time.perf_counter(), time.process_time()
    for start in range(0, ROWS, 1000):
        await write(gateway, range(start, start + 1000))
    seconds, used = time.perf_counter() - began, time.process_time() - used
    return {
        f"bytes of a row of {table}, with its indexes": (await _bytes(gateway, table) - before) / ROWS,
        f"rows of {table} a second": ROWS / seconds,
        f"CPU µs of a row of {table}": used / ROWS * 1e6,
    }


async def _bytes(gateway: Gateway, table: str) -> int:
    asked = (
        f"SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = '{table}')"
        if gateway.store.database.is_sqlite
        else f"SELECT pg_total_relation_size('{table}')"
    )
    async with gateway.store.database.read() as transaction:
        return int((await transaction.execute(sql(asked))).scalar_one() or 0)


async def _requests(gateway: Gateway, numbers: range) -> None:
    rows = [
        RequestRow(
            at=time.time(),
            request_id=f"{number:016x}",
            method="GET",
            url=f"https://api.example.com/v1/things/{number % 500}",
            status=200,
            seconds=0.01,
            entrance="absolute",
            app=app_of(number % POLICIES),
            connection=id_of(number % CONNECTIONS),
            client="bench",
        )
        for number in numbers
    ]
    await gateway.store.requests.add_many(rows)


async def _tallies(gateway: Gateway, numbers: range) -> None:
    hour = int(time.time()) // 3600 * 3600
    rows = [
        TallyRow(
            dimension="connection", key=id_of(n % CONNECTIONS), at=hour - n // CONNECTIONS * 3600, span=3600, requests=7
        )
        for n in numbers
    ]
    await gateway.store.tallies.add(rows)


def _pss() -> int:
    return kibibytes(Path("/proc/self/smaps_rollup").read_text(), "Pss")


@contextmanager
def _sqlite() -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), "sqlite:///{data_dir}/gateway.db"


@contextmanager
def _postgresql() -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        yield Path(folder), server.url


@contextmanager
def _provider() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", PROVIDER], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


PLACES = {"SQLite": _sqlite, "PostgreSQL": _postgresql}

if __name__ == "__main__":
    main()
