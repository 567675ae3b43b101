"""Writes the generated part of docs/performance.md, between its markers, and the pictures beside it."""

from pathlib import Path

from benchmarks import report
from benchmarks.plot import Bar, bars
from benchmarks.record import Record
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.scenario import Scenario

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TOOLS = ("gateway", "wrk")


def write_document(record: Record, docs: Path) -> None:
    """Write the page's figures and the pictures."""
    page = docs / "performance.md"
    page.write_text(replaced(page.read_text(), figures(record)))
    pictures = docs / "pictures"
    for name, scenario in SCENARIOS.items():
        if drawn := picture(scenario, record):
            (pictures / file_name(name)).write_text(drawn)


def replaced(page: str, figures: str) -> str:
    """Return the page with other figures. Raises `ValueError` where a marker isn't there once."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the page must have {BEGIN} and {END}, each once")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def figures(record: Record) -> str:
    """Return everything that is generated: the machine, the versions, then each scenario."""
    machine = dict(record.machine)
    date = machine.pop("date")
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    parts = [f"Measured on {date}: {', '.join(machine.values())}.\n{versions}."]
    for name, scenario in SCENARIOS.items():
        if name not in record.outcomes:
            continue
        pace = record.paces[name]
        parts.append(f"### {name}\n\n{scenario.what[0].upper()}{scenario.what[1:]}. {_pace(pace)}")
        if scenario.plot and record.outcomes[name].samples:
            parts.append(f"![{name}](pictures/{file_name(name)})")
        parts.append(report.markdown(scenario, record.outcomes[name]))
    return "\n\n".join(parts)


def picture(scenario: Scenario, record: Record) -> str:
    """Return the scenario's picture; empty where it has none."""
    outcome = record.outcomes.get(scenario.name)
    column = next((column for column in scenario.columns if column.key == scenario.plot), None)
    if outcome is None or column is None:
        return ""
    spreads = {name: outcome.spread(name, column.key) for name in outcome.samples}
    shown = [Bar(name=name, spread=spread) for name, spread in spreads.items() if spread]
    return bars(scenario.name, column.title, shown, digits=column.digits) if shown else ""


def file_name(scenario: str) -> str:
    """Return what the picture is called."""
    return f"performance-{scenario}.svg"


def _pace(pace: dict[str, object]) -> str:
    return f"{pace['rounds']} rounds of {pace['seconds']} s; median (least to most)."
