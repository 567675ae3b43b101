"""Three replicas in trouble for a long time: `python benchmarks/chaos.py --minutes 20 --connections 500`.

The engine is `tests/chaos`; this is its long run, with what it prints, draws (`timeline`) and writes down. Exit status:
0, or 1 where something was found that must not be: each finding is a line. Needs the packages of the tests.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # also where it is started by its path

from benchmarks.timeline import timeline
from tests.chaos.load import Tally
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.troubles import Troubles, at_length
from tests.chaos.verdict import Trouble

SHOWN = 40  # findings on the terminal; the file has all


def main() -> int:
    """Run it, or draw what an earlier run wrote down."""
    given = _arguments()
    if given.draw:
        given.picture.write_text(timeline(json.loads(given.draw.read_text())))
        return 0
    began = time.monotonic()

    def heard(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f}  {what}", flush=True)

    def watched(tally: Tally, _troubles: list[Trouble]) -> None:
        if sys.stdout.isatty():
            answered = sum(tally.answered.values())
            print(f"{time.monotonic() - began:7.1f}  {answered} answered, {len(tally.failures)} not", end="\r")

    async def script(troubles: Troubles) -> None:
        await at_length(troubles, minutes=given.minutes, random=Random(given.seed))

    plan = Plan(connections=given.connections, rate=given.rate, life=given.life, margin=given.life / 5)
    with tempfile.TemporaryDirectory(prefix="gw-chaos-", ignore_cleanup_errors=True) as place:
        outcome = asyncio.run(run(Path(place), plan, script, heard, watched))
    figures = figures_of(outcome, plan, seed=given.seed)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))
    if given.picture:
        given.picture.write_text(timeline(figures))
    _print(figures)
    return int(not outcome.verdict.holds)


def figures_of(outcome: Outcome, plan: Plan, *, seed: int) -> dict[str, Any]:
    """Return what is written down; times are seconds from the first request on."""
    tally, verdict = outcome.tally, outcome.verdict
    seconds = range(int(outcome.began), int(outcome.ended) + 1)
    took = sorted(tally.seconds)
    return {
        "connections": plan.connections,
        "seed": seed,
        "seconds": round(outcome.ended - outcome.began),
        "requests": tally.requests,
        "answered": sum(tally.answered.values()),
        "failed": dict(Counter(failure.what for failure in tally.failures).most_common()),
        "excused": dict(verdict.excused.most_common()),
        "refreshes": outcome.rotations,
        "unavoidable": list(verdict.unavoidable),
        "findings": list(verdict.findings),
        "starts": list(outcome.starts),
        "median": statistics.median(took),
        "p99": took[int(len(took) * 0.99)],
        "longest": took[-1],
        "by_second": {
            "answered": [[tally.answered[second, number] for second in seconds] for number in range(3)],
            "failed": [[tally.failed[second, number] for second in seconds] for number in range(3)],
        },
        "troubles": [
            {
                "kind": one.kind,
                "replica": one.replica,
                "began": round(one.began - outcome.began, 1),
                "ended": round(one.ended - outcome.began, 1),
            }
            for one in outcome.troubles
        ],
    }


def _print(figures: dict[str, Any]) -> None:
    kinds = Counter(one["kind"] for one in figures["troubles"])
    print(f"\n{figures['seconds']} s, {figures['connections']} connections, {figures['refreshes']} refreshes")
    print(f"requests     {figures['requests']}, of which {figures['answered']} were answered as they should be")
    print(f"             median {figures['median'] * 1000:.1f} ms, 99 % within {figures['p99'] * 1000:.0f} ms")
    print(f"troubles     {dict(kinds.most_common())}")
    print(f"failures     {figures['failed']}")
    print(f"  in         {figures['excused']}")
    print(f"unavoidable  {len(figures['unavoidable'])}")
    for line in figures["unavoidable"][:SHOWN]:
        print(f"  {line}")
    print(f"findings     {len(figures['findings'])}")
    for line in figures["findings"][:SHOWN]:
        print(f"  {line}")
    print("HOLDS" if not figures["findings"] else "DOES NOT HOLD")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="how long there is trouble (20)")
    parser.add_argument("--connections", type=int, default=500, help="how many accounts (500)")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (100)")
    parser.add_argument("--life", type=int, default=60, help="seconds that an access token lives (60)")
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn by chance (7)")
    parser.add_argument("--json", type=Path, help="write the figures into this file")
    parser.add_argument("--picture", type=Path, help="draw the timeline into this file (SVG)")
    parser.add_argument("--draw", type=Path, metavar="JSON", help="only draw what an earlier run wrote")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
