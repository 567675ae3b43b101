"""Whoever reads the pages' code for the first time begins with a map: every module stands on it."""

import re
from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["gateway.web", "gateway.web.setup"])
def test_the_map_names_every_module_and_none_that_is_gone(package):
    room = import_module(package)
    lines = re.findall(r"^ *([a-z_]+(?:, [a-z_]+)*) {2,}\S", room.__doc__, re.MULTILINE)
    named = [name for line in lines for name in line.split(", ")]
    there = {path.stem for path in Path(room.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(there)
