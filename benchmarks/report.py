"""The table of a scenario, for the terminal and in Markdown, and its goals. Pure: text out."""

from collections.abc import Sequence

from benchmarks.figures import Outcome
from benchmarks.goals import Goal
from benchmarks.scenarios.scenario import Scenario


def rows(scenario: Scenario, outcome: Outcome) -> list[list[str]]:
    """Return the table's cells, the head first."""
    columns = [
        column for column in scenario.columns if any(outcome.spread(name, column.key) for name in outcome.samples)
    ]
    table = [["", *(column.title for column in columns)]]
    for name in outcome.samples:
        spreads = [outcome.spread(name, column.key) for column in columns]
        cells = [column.text(spread) if spread else "" for column, spread in zip(columns, spreads, strict=True)]
        table.append([name, *cells])
    return table


def terminal(scenario: Scenario, outcome: Outcome) -> str:
    """Return a scenario's table and goals as lines."""
    table = rows(scenario, outcome)
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = [f"{scenario.name}: {scenario.what}", ""]
    for first, *others in table:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    lines.append("")
    lines += [f"  {verdict(goal, outcome)}" for goal in scenario.goals]
    lines += notes(outcome)
    return "\n".join(lines)


def markdown(scenario: Scenario, outcome: Outcome) -> str:
    """Return a scenario's table and goals for the documentation."""
    head, *body = rows(scenario, outcome)
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *map(_row, body), ""]
    lines += [f"- {verdict(goal, outcome)}" for goal in scenario.goals]
    return "\n".join(lines + notes(outcome))


def verdict(goal: Goal, outcome: Outcome) -> str:
    """Return a goal with its word: `met 0.74: CPU per request, of Envoy's, at most 0.8`."""
    return f"{goal.verdict(outcome)}: {goal.text}, {bound(goal)}"


def bound(goal: Goal) -> str:
    """Return what the goal asks."""
    bounds = (("at most", goal.at_most), ("at least", goal.at_least))
    return ", ".join(f"{word} {round(limit, goal.digits):g}" for word, limit in bounds if limit is not None)


def notes(outcome: Outcome) -> Sequence[str]:
    """Return who was left out, and why."""
    absent = [f"Left out, not installed: {', '.join(outcome.absent)}"] if outcome.absent else []
    return [*absent, *(f"Not measured: {name}: {reason}" for name, reason in outcome.refused.items())]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
