"""How soon each page is there: `python benchmarks/pages.py`, in Chromium, over a store that has been used for a while.

10,000 connections under 30 policies, 100 clients, 100,000 requests and 20,000 events in the logs, a day of counts for
every connection. Every page is loaded anew several times, signed in; what is told is the browser's own measure from
going there to its first contentful paint, and how long the answer took of it. The goal is 100 ms.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.fill import app_of, id_of
from benchmarks.gateway_under_test import HEADER, POLICY, serving
from benchmarks.gateway_under_test import Home as Directory
from benchmarks.processes import LOAD_CPU, PROXY_CPU, environment
from gateway.app import Gateway, open_gateway
from gateway.log import configure_log
from gateway.settings import Settings
from gateway.store.rows import LATENCIES, EventRow, RequestRow, TallyRow
from gateway.store.tables import events
from tests.e2e.harness.chromium import chromium

HERE = Path(__file__).parent
POLICIES, CONNECTIONS, CLIENTS, REQUESTS, EVENTS = 30, 10_000, 100, 100_000, 20_000
HOURS = 24
GOAL_MS = 100
AT_ONCE = 5_000
# The API's document of `first paint` is the Paint Timing specification's; both times are milliseconds from the start.
TIMES = """() => new Promise(resolve => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const done = found => {
    const [page] = performance.getEntriesByType("navigation");
    resolve([found.startTime, page.responseEnd - page.requestStart, page.encodedBodySize]);
  };
  if (paint) done(paint);
  else new PerformanceObserver(list => list.getEntriesByName("first-contentful-paint").forEach(done))
    .observe({type: "paint", buffered: true});
})"""


def pages(newest: int) -> tuple[str, ...]:
    """Return the path of every page that an administrator looks at; `newest` is a request's number."""
    app, connection = app_of(0), id_of(0)
    return (
        "/",
        "/?period=7d",
        f"/?of=app&named={app}",
        "/apps",
        "/apps/new",
        f"/apps/{app}",
        "/connections",
        "/connections?status=active",
        "/connections?search=c-009999",
        "/connections?search=nobody",
        f"/connections/{connection}",
        "/clients",
        "/clients/_new",
        "/clients/client-001",
        "/activity",
        "/activity?kind=requests&status=5xx",
        f"/activity?connection={connection}",
        f"/activity/requests/{newest}",
    )


def fill(home: Directory) -> None:
    """Fill the store with connections, as `fill.py` does."""
    text = POLICY.format(
        origin="https://api.example.com", tls="https://api.example.org", sink="https://sink.example.com"
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "fill.py"), str(home.folder), str(POLICIES), str(CONNECTIONS)],
        cwd=home.folder,
        env=environment(home.settings),
        input=(text + HEADER).replace('"Bench"', '"Bench {number}"'),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the store could not be filled: {done.stderr[-600:]}")


async def remember(home: Directory, now: float) -> int:
    """Fill the logs and the counts; return the number of the newest request."""
    settings = Settings(data_dir=home.folder / "data", policies_dir=home.folder / "policies")
    async with open_gateway(settings) as gateway:
        for number in range(1, CLIENTS + 1):
            await gateway.access.create(f"client-{number:03d}", (f"c-{number:04d}*",), None)
        await _log(gateway, now)
        await _count(gateway, now)
        return (await gateway.store.requests.list(limit=1)).items[0].id


async def _log(gateway: Gateway, now: float) -> None:
    for start in range(0, REQUESTS, AT_ONCE):
        await gateway.store.requests.add_many(
            [_request(number, now - (REQUESTS - number) / 2) for number in range(start, start + AT_ONCE)]
        )
    rows = [_event(number, now - (EVENTS - number) * 4) for number in range(EVENTS)]
    async with gateway.store.database.write() as transaction:
        for start in range(0, EVENTS, AT_ONCE):
            await transaction.execute(events.insert(), rows[start : start + AT_ONCE])


def _request(number: int, at: float) -> RequestRow:
    status = (200, 200, 200, 200, 404, 200, 503, 200, 403, 200)[number % 10]
    return RequestRow(
        at=at,
        request_id=f"{number:016x}",
        method="GET",
        url=f"https://api.example.com/v1/things/{number % 500}",
        status=status,
        seconds=0.01 + number % 90 / 1000,
        entrance="absolute",
        app=app_of(number % POLICIES),
        connection=id_of(number % CONNECTIONS),
        client=f"client-{number % CLIENTS + 1:03d}",
        code="target_not_allowed" if status == 403 else None,
    )


def _event(number: int, at: float) -> dict[str, object]:
    row = EventRow(
        at=at, kind="connection.tested", actor="admin-api", app=app_of(number % POLICIES), connection=id_of(number)
    )
    return {
        column.name: getattr(row, column.name) for column in events.columns if column.name not in {"id", "detail"}
    } | {"detail": {"ok": number % 7 != 0, "status": 200}}


async def _count(gateway: Gateway, now: float) -> None:
    hour = int(now) // 3600 * 3600
    for back in range(HOURS):
        at = hour - back * 3600
        rows = [_tally("connection", id_of(number), at, 3600, 1 + number % 40) for number in range(CONNECTIONS)]
        rows += [_tally("client", f"client-{number + 1:03d}", at, 3600, 2_000) for number in range(CLIENTS)]
        for span in (300, 3600):
            for step in range(at, at + 3600, span):
                rows += [_tally("app", app_of(number), step, span, 7_000 * span // 3600) for number in range(POLICIES)]
                rows.append(_tally("all", "", step, span, 200_000 * span // 3600))
        await gateway.store.tallies.add(rows)


def _tally(dimension: str, key: str, at: int, span: int, requests: int) -> TallyRow:
    return TallyRow(
        dimension=dimension,
        key=key,
        at=at,
        span=span,
        requests=requests,
        refused=0,
        failed=requests // 50,
        refreshed=requests // 100,
        renewed=requests // 100,
        not_renewed=0,
        seconds=requests * 0.05,
        latency=(0, requests, *[0] * (len(LATENCIES) - 2)),
    )


def look(origin: str, token: str, paths: tuple[str, ...], times: int) -> dict[str, list[list[float]]]:
    """Return what the browser measured of each page: first paint, answer (both ms), bytes."""
    found: dict[str, list[list[float]]] = {path: [] for path in paths}
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(f"{origin}/sign-in")
        page.fill("#token", token)
        page.click("main button")
        page.wait_for_selector("nav")
        for number in range(times + 1):  # the first compiles the templates, and is not told
            for path in paths:
                page.goto(origin + path)
                measured = page.evaluate(TIMES)
                if number:
                    found[path].append(measured)
    return found


def main() -> int:
    """Measure, print a line for each page, and return 1 where one is later than the goal and `--strict` was given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="how often each page is loaded")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every sample")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where the goal is missed")
    given = parser.parse_args()
    configure_log(level="error")
    with tempfile.TemporaryDirectory() as work:
        home = Directory(folder=Path(work) / "home", ca=Path("/dev/null"), token="", site=HERE.parent)
        home.folder.mkdir()
        fill(home)
        newest = asyncio.run(remember(home, time.time()))
        with serving(home, name="gateway", connection=id_of(0), cpus=sorted({PROXY_CPU, LOAD_CPU})) as running:
            origin = f"http://127.0.0.1:{running.web}"
            found = look(origin, (home.folder / "data" / "admin.token").read_text().strip(), pages(newest), given.times)
    late = 0
    print(f"{'page':44}{'first paint, ms':>24}{'answer, ms':>14}{'KiB':>8}")
    for path, samples in found.items():
        paints, answers, sizes = (sorted(one[place] for one in samples) for place in range(3))
        late += median(paints) > GOAL_MS
        spread = f"{median(paints):.0f} ({paints[0]:.0f} to {paints[-1]:.0f})"
        print(f"{path.replace(str(newest), 'N'):44}{spread:>24}{median(answers):>14.0f}{sizes[0] / 1024:>8.0f}")
    print(f"{late} of {len(found)} pages are later than {GOAL_MS} ms")
    if given.json:
        given.json.write_text(json.dumps(found))
    return int(given.strict and late > 0)


if __name__ == "__main__":
    sys.exit(main())
