"""THREAT_MODEL.md names a test for each promise, and each of them exists; every rule of the wire has its promise."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "THREAT_MODEL.md").read_text()
ATTACKERS = set(re.findall(r"^\| \*\*(\w+)\*\* \|", TEXT, re.MULTILINE))
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("## The promises")[2].partition("\n## ")[0].splitlines()
    if line.startswith("|") and not line.startswith(("| ---", "| promise"))
]


@cache
def names_of_tests(file: str) -> frozenset[str]:
    """The names of a file's test functions."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_promise_names_its_attackers_and_tests_that_exist(row: list[str]) -> None:
    _promise, attackers, how, names = row
    assert set(re.split(r",\s*", attackers)) <= ATTACKERS
    assert how
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", names)
    assert named
    for file, name in named:
        assert names_of_tests(file), file
        assert not name or name in names_of_tests(file), f"{file} has no {name}"


def test_every_rule_of_the_wire_has_a_promise() -> None:
    """The numbers are those of the rules: requests 1 to 11, answers 12 to 17."""
    numbered = {int(number) for row in ROWS for number in re.findall(r"\b(\d+)\b", row[0].partition(".")[0])}
    assert numbered >= set(range(1, 18))


def test_there_are_promises_against_everybody() -> None:
    against = {one for row in ROWS for one in re.split(r",\s*", row[1])}
    assert against == ATTACKERS
    assert len(ROWS) > 50
