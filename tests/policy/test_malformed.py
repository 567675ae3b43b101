"""One small file for each way to get a policy wrong; its last lines say what must be found, and nothing else may be."""

import re
from pathlib import Path

import pytest

from gateway.policy.load import load

CASES = sorted((Path(__file__).parent.parent / "cases" / "policies").glob("*.toml"))
_EXPECT = re.compile(r"^# expect: (.*?) \| (.*)$", re.MULTILINE)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_malformed_policy_gives_exactly_the_expected_finding(path: Path) -> None:
    """The file, the key path as a person would write it, and what would be right."""
    text = path.read_text()
    expected = _EXPECT.findall(text)
    loaded = load(text, app="crm", file=path.name)
    assert loaded.policy is None
    assert [(finding.file, finding.path) for finding in loaded.findings] == [(path.name, at) for at, _ in expected]
    for finding, (_, part) in zip(loaded.findings, expected, strict=True):
        assert part in finding.message


def test_there_are_many_cases() -> None:
    """The cases are found at all."""
    assert len(CASES) >= 40
