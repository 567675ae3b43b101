"""The narration: each step as it happens, and a table of what was claimed and what came true."""

import sys
import time
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gateway.cli.demo.stage import Stage, Unmet, stage
from gateway.cli.demo.steps import STEPS, Step
from gateway.cli.output import plain, show_json

STYLES = {"$": "bold", ">": "cyan", "<": "green"}
WIDTH = 110
"""Columns where the output isn't a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a step went."""

    title: str
    ok: bool
    outcome: str
    seconds: float


async def show(*, json: bool) -> bool:
    """Play every step; return whether each did what it says."""
    console = Console(quiet=json, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(
        Text("A program holds no credential. The gateway does, and lends it to one call at a time.", "italic")
    )
    began = time.perf_counter()
    results: list[Shown] = []
    async with stage() as built:
        for number, step in enumerate(STEPS, 1):
            console.print(Rule(Text(f"{number}. {step.title}", "bold"), align="left"))
            results.append(await _play(step, built, console))
            if not results[-1].ok:
                console.print(Text(plain_lines(built.log()), "dim"))
                break
    total = time.perf_counter() - began
    passed = len(results) == len(STEPS) and all(result.ok for result in results)
    if json:
        items = [{"title": one.title, "ok": one.ok, "outcome": one.outcome, "seconds": one.seconds} for one in results]
        show_json({"ok": passed, "seconds": round(total, 3), "items": items})
    else:
        console.print(_table(results, total))
    return passed


async def _play(step: Step, built: Stage, console: Console) -> Shown:
    began = time.perf_counter()
    try:
        seen = await step.act(built)
    except Unmet as unmet:
        console.print(Text(f"✗ {plain(unmet)}", "bold red"))
        ok, outcome = False, str(unmet)
    else:
        for line in seen.lines:
            console.print(Text(plain(line), STYLES.get(line[:1], "dim")), soft_wrap=True)
        ok, outcome = True, seen.outcome
    return Shown(title=step.title, ok=ok, outcome=outcome, seconds=round(time.perf_counter() - began, 3))


def _table(results: list[Shown], total: float) -> Table:
    table = Table("", "Step", "What came true", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Time", justify="right")
    done = {result.title: result for result in results}
    for step in STEPS:
        result = done.get(step.title)
        if result is None:
            table.add_row("·", step.title, "not reached", "")
            continue
        mark = Text("✓", "bold green") if result.ok else Text("✗", "bold red")
        table.add_row(mark, step.title, Text(plain(result.outcome)), f"{result.seconds:.1f} s")
    table.caption = f"{total:.1f} s in all; everything that was made for it is gone again."
    return table


def plain_lines(text: str) -> str:
    """Return a text of several lines, each one safe for a terminal."""
    return "\n".join(plain(line) for line in text.splitlines())
