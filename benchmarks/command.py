"""The options, the run, and the exit status.

Status 1: a contender failed its check, or with `--strict` a goal was missed; 2: something that is needed isn't here.
"""

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import record, report
from benchmarks.bench import SOURCES, Pace, prepared
from benchmarks.document import write_document
from benchmarks.figures import Outcome
from benchmarks.goals import Word
from benchmarks.install import NEEDED, install, missing
from benchmarks.machine import machine, versions
from benchmarks.processes import LOAD_CPU, PROXY_CPU
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
INTERRUPTED, TERMINATED = 130, 143
"""As a shell counts them: 128 and the number of the signal."""


def main() -> int:
    """Measure and return the exit status."""
    options = _options()
    if options.list:
        _list()
        return 0
    if options.document:
        write_document(record.read(options.document), ROOT / "docs")
        return 0
    if not options.no_install:
        install(missing())
    if absent := missing():
        print(f"Missing, so left out: {', '.join(absent)}", file=sys.stderr)
    if needed := [name for name in NEEDED if name in absent]:
        print(f"Without {', '.join(needed)} nothing can be measured: apt-get install {' '.join(needed)}")
        return 2
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(TERMINATED)
    )  # ends what was started on the way out, as Ctrl-C does
    try:
        return _measure(options)
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has been ended.", file=sys.stderr)
        return INTERRUPTED


def _measure(options: argparse.Namespace) -> int:
    pace = Pace.of(full=options.full)
    about = {"machine": machine(), "versions": versions()}
    print(", ".join(about["machine"].values()))
    print("; ".join(f"{name} {version}" for name, version in about["versions"].items()))
    print(f"{pace.rounds} rounds of {pace.seconds} s; proxies on CPU {PROXY_CPU}, load and upstream on CPU {LOAD_CPU}")
    if PROXY_CPU == LOAD_CPU:
        print("There is one processor: times are not worth much here.", file=sys.stderr)
    outcomes: dict[str, Outcome] = {}
    with prepared(pace, site=options.site.resolve(), is_quiet=options.quiet) as bench:
        for name in options.scenario:
            bench.say(f"\n{name}")
            outcomes[name] = SCENARIOS[name].run(bench)
            print(f"\n{report.terminal(SCENARIOS[name], outcomes[name])}", flush=True)
            if options.json:
                record.add(options.json, name, outcomes[name], pace, about=about)
    return _status(outcomes, strict=options.strict)


def _status(outcomes: dict[str, Outcome], *, strict: bool) -> int:
    verdicts = [goal.verdict(outcome) for name, outcome in outcomes.items() for goal in SCENARIOS[name].goals]
    counts = {word: sum(verdict.word is word for verdict in verdicts) for word in Word}
    print("\nGoals: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count))
    has_failed = any(outcome.refused for outcome in outcomes.values())
    return int(has_failed or (strict and counts[Word.MISSED] > 0))


def _list() -> None:
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:12}{scenario.what}")
        for goal in scenario.goals:
            print(f"{'':14}{goal.text}, {report.bound(goal)}")


def _scenarios(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"no such scenario: {', '.join(unknown)}; --list shows them")
    return names


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="The gateway beside real proxies, in one run.")
    parser.add_argument("--scenario", type=_scenarios, default=list(SCENARIOS), help="some of --list, e.g. small,tls")
    parser.add_argument("--list", action="store_true", help="show the scenarios and their goals")
    parser.add_argument("--full", action="store_true", help="more and longer rounds, for the documentation")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every sample; other scenarios in it stay")
    parser.add_argument("--document", type=Path, metavar="FILE", help="write docs/performance.md from such a file; end")
    parser.add_argument("--no-install", action="store_true", help="leave out the peers that aren't here")
    parser.add_argument(
        "--site", type=Path, default=SOURCES, metavar="DIR", help="the gateway of this folder, e.g. of `make fast`"
    )
    parser.add_argument("--quiet", action="store_true", help="the tables alone")
    return parser.parse_args()
