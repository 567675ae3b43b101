"""What replicas on one PostgreSQL cost: `python benchmarks/replicas.py`; the figures of docs/replicas.md.

Two questions. What does a request cost with one replica, with two, with one of two workers, beside SQLite: CPU time
from /proc, for the load and the database share these processors. And what does the database see: statements a second,
by kind, from pg_stat_statements, of a replica that idles, that is busy, and of one refresh.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.bench import PATH, TOKEN, Bench, Pace, prepared
from benchmarks.contenders import Running, prove
from benchmarks.gateway_under_test import Home, serving
from benchmarks.proc import cpu_by_process
from benchmarks.processes import CPUS
from benchmarks.wrk import Driven, Load, drive
from tests.postgres import Postgres

CONNECTIONS = 32
SETTLE_SECONDS = 6.0  # after a start: the first counts are written five seconds later
STATEMENTS = """
SELECT json_agg(json_build_array(calls, round(total_exec_time::numeric, 2), query))
FROM (SELECT sum(calls) calls, sum(total_exec_time) total_exec_time, query FROM pg_stat_statements GROUP BY query) found
"""


class Database(Postgres):
    """A PostgreSQL that counts its statements."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        with (self.directory / "postgresql.conf").open("a") as file:
            file.write("shared_preload_libraries = 'pg_stat_statements'\n")
        self.restart()
        self.ask("CREATE EXTENSION pg_stat_statements")
        self.pid = int((self.directory / "postmaster.pid").read_text().split()[0])

    def ask(self, statement: str) -> str:
        """Run a statement; return what it printed, bare."""
        return self.psql(f"\\pset format unaligned\n\\pset tuples_only on\n{statement};")

    def forget(self) -> None:
        """Begin to count anew."""
        self.ask("SELECT pg_stat_statements_reset()")

    def statements(self, seconds: float) -> dict[str, float]:
        """Return how many there were a second, by what they are; those of asking aren't."""
        said = self.ask(STATEMENTS)
        rows = json.loads(said[said.index("[") : said.rindex("]") + 1])
        found: Counter[str] = Counter()
        for calls, _, query in rows:
            if "pg_stat" not in query:
                found[kind_of(query)] += calls
        return {kind: calls / seconds for kind, calls in found.most_common()}

    def connections(self) -> int:
        """Return how many are open; ours to ask with isn't."""
        said = self.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(said.split()[-1]) - 1


def kind_of(query: str) -> str:
    """Return what a statement is, in two words: its verb and its table."""
    words = query.replace("(", " ").replace('"', "").split()
    verb = words[0].upper() if words else ""
    for marker in ("FROM", "INTO", "UPDATE"):
        if marker in (upper := [word.upper() for word in words]):
            return f"{verb} {words[upper.index(marker) + 1]}"[:40]
    return verb[:40]


@contextmanager
def replicas(home: Home, count: int, **settings: str) -> Iterator[list[Running]]:
    """Start so many gateways, on every processor."""
    with ExitStack() as stack:
        started = []
        for number in range(count):
            own = home.folder.parent / f"replica-{number}"
            if not own.exists():
                shutil.copytree(home.folder, own)
            one = type(home)(folder=own, ca=home.ca, token=home.token, site=home.site)
            name = f"replica {number}"
            started.append(stack.enter_context(serving(one, name=name, connection="bench", cpus=CPUS, **settings)))
        yield started


def loaded(bench: Bench, started: list[Running], seconds: int) -> list[Driven]:
    """Load all of them at once."""
    target, driven = bench.origin + PATH, []

    def one(replica: Running) -> None:
        load = Load(target=target, headers=replica.headers, connections=CONNECTIONS, cpus=CPUS)
        driven.append(drive(replica.port, load, seconds=seconds, work=bench.work))

    threads = [threading.Thread(target=one, args=(replica,)) for replica in started]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return driven


def measured(
    bench: Bench, home: Home, database: Database | None, count: int, seconds: int, **settings: str
) -> dict[str, Any]:
    """Return what idling and a load cost, of so many replicas together."""
    with replicas(home, count, **settings) as started:
        for one in started:
            prove(one, bench.origin + PATH, TOKEN)
        loaded(bench, started, 1)
        time.sleep(SETTLE_SECONDS)
        found: dict[str, Any] = {"replicas": count, **settings}
        if database is not None:
            database.forget()
            before = _cpu(started), _cpu_of(database.pid)
            time.sleep(seconds)
            found["idle_statements"] = database.statements(seconds)
            found["idle_cpu"] = (_cpu(started) - before[0]) / seconds
            found["idle_database_cpu"] = (_cpu_of(database.pid) - before[1]) / seconds
            found["connections"] = database.connections()
            database.forget()
        before = _cpu(started), 0.0 if database is None else _cpu_of(database.pid)
        began = time.monotonic()
        driven = loaded(bench, started, seconds)
        time.sleep(SETTLE_SECONDS)  # what was counted under the load is written by now
        spent, took = _cpu(started) - before[0], time.monotonic() - began
        requests = sum(one.requests for one in driven)
        found |= {
            "requests": requests,
            "rate": sum(one.requests / one.seconds for one in driven),
            "cpu_us": spent / requests * 1e6,
            "p50_ms": max(one.p50_ms for one in driven),
        }
        if database is not None:
            found["busy_statements"] = database.statements(took)
            found["database_us"] = (_cpu_of(database.pid) - before[1]) / requests * 1e6
        return found


def refreshed(home: Home, database: Database, times: int) -> dict[str, float]:
    """Return the statements of one refresh that was asked for, by kind."""
    import urllib.request  # noqa: PLC0415 - only here

    with replicas(home, 1) as (one,):
        token = (home.folder.parent / "replica-0" / "data" / "admin.token").read_text().strip()
        time.sleep(SETTLE_SECONDS)
        database.forget()
        began = time.monotonic()
        for _ in range(times):
            request = urllib.request.Request(
                f"http://127.0.0.1:{one.web}/api/v1/connections/storm/refresh",
                method="POST",
                headers={"Authorization": f"Bearer {token}"},
            )
            urllib.request.urlopen(request).close()
        took = time.monotonic() - began
        return {kind: rate * took / times for kind, rate in database.statements(took).items()}


def _cpu(started: list[Running]) -> float:
    return sum(_cpu_of(one.pid) for one in started)


def _cpu_of(pid: int) -> float:
    return sum(cpu_by_process(pid).values())


def main() -> int:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each sample (10)")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="gw-rep-"))  # a short path: a socket's has 107 bytes at most
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    database = Database(directory)

    class OnPostgres(Home):
        @property
        def settings(self) -> dict[str, str]:
            return super().settings | {"GATEWAY_STORE__URL": database.url}

    found: dict[str, Any] = {}
    try:
        with prepared(Pace.of(full=False)) as bench:
            places = {"origin": bench.origin, "tls": bench.tls_origin, "sink": bench.sink}
            rest = {"token": TOKEN, "ca": bench.ca, "site": bench.site}
            on_sqlite = Home.make(bench.work / "sqlite" / "home", **places, **rest)
            found["SQLite"] = measured(bench, on_sqlite, None, 1, given.seconds)
            shared = OnPostgres.make(bench.work / "postgres" / "home", **places, **rest)
            for name, count, settings in (
                ("1 replica", 1, {}),
                ("2 replicas", 2, {}),
                ("1 replica of 2 workers", 1, {"WORKERS": "2"}),
            ):
                found[name] = measured(bench, shared, database, count, given.seconds, **settings)
            found["refresh"] = refreshed(shared, database, 20)
    finally:
        database.end()
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
