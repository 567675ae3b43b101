"""What a command prints: data on standard output, notes on standard error, tables for people, JSON for programs.

Labels, messages, values and the text of policies come from providers, callers and who knows where: control characters
are escaped in every line before it reaches a terminal.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def plain(value: Any) -> str:
    """Return the value as one line of text that can't talk to a terminal; nothing is `-`."""
    if value is None or value == "":
        return "-"
    return _escaped(str(value))


def moment(epoch: float | None) -> str | None:
    """Return seconds since the epoch as RFC 3339 in UTC."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text: str) -> None:
    """Print a line of data."""
    sys.stdout.write(_escaped(text) + "\n")


def note(text: str) -> None:
    """Print a line for the person, beside the data."""
    sys.stderr.write(_escaped(text) + "\n")


def complain(message: str, hint: str | None = None) -> None:
    """Print an error as one line: what happened, and what to do next."""
    line = plain(message)
    if hint:
        line += ("" if line.endswith((".", "?", "!")) else ".") + " " + plain(hint)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)
    else:
        sys.stderr.write(f"error: {line}\n")


def show_json(value: Any) -> None:
    """Print one JSON document."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print rows: a table on a terminal, tab-separated lines with a heading elsewhere. `empty` is a note for none."""
    if not rows:
        note(empty)
        return
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            sys.stdout.write("\t".join(plain(value) for value in row) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(plain(value)) for value in row))
    Console().print(table)


def show_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values under one another."""
    width = max(len(name) for name in pairs) + 2
    for name, value in pairs.items():
        say(f"{name:<{width}}{plain(value)}")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far it is, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
