"""docs/grants.md: no step of a document is left out, no row is empty, and every test and picture it names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "grants.md").read_text()
STEPS = {"000": 9, "001": 9, "002": 12, "003": 11, "004": 12}
"""The numbered steps of each document."""
_SECTION = re.compile(r"^## [^\n]+ \((\d+)\)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
SECTIONS = dict(_SECTION.findall(TEXT))


def rows(document: str) -> list[list[str]]:
    """Return the cells of a document's table."""
    lines = [line for line in SECTIONS[document].splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names_in(file: str) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_document_is_there() -> None:
    assert SECTIONS.keys() == STEPS.keys()


@pytest.mark.parametrize("document", STEPS)
def test_every_step_has_its_rows(document: str) -> None:
    numbers = {int(match[0]) for step, *_ in rows(document) if (match := re.match(r"\d+", step))}
    assert numbers == set(range(1, STEPS[document] + 1))


@pytest.mark.parametrize("document", STEPS)
def test_no_row_is_empty_and_every_test_it_names_exists(document: str) -> None:
    for cells in rows(document):
        assert len(cells) == 3, cells
        assert all(cells), cells
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cells[2])
        assert len(named) == cells[2].count("`") / 2 > 0, cells
        assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


def test_every_picture_is_there_and_small() -> None:
    pictures = [ROOT / "docs" / name for name in re.findall(r'src="([^"]+)"', TEXT)]
    assert len(pictures) == 3
    assert [picture for picture in pictures if picture.stat().st_size > 100_000] == []
