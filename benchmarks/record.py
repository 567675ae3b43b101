"""A run's samples as JSON: written scenario by scenario, so that a run that is broken off keeps what it has."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Pace
from benchmarks.figures import Outcome


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was measured, and on what."""

    machine: dict[str, str]
    versions: dict[str, str]
    paces: dict[str, dict[str, Any]]
    outcomes: dict[str, Outcome]


def add(file: Path, scenario: str, outcome: Outcome, pace: Pace, *, about: Mapping[str, Any]) -> None:
    """Put one scenario's outcome into the file. `about`: the machine and the versions."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    scenarios = found.get("scenarios", {}) | {scenario: {"pace": asdict(pace), **asdict(outcome)}}
    file.write_text(json.dumps({**about, "scenarios": scenarios}, indent=1) + "\n")


def read(file: Path) -> Record:
    """Return what a file has."""
    found = json.loads(file.read_text())
    scenarios: dict[str, dict[str, Any]] = found["scenarios"]
    return Record(
        machine=found["machine"],
        versions=found["versions"],
        paces={name: given.pop("pace") for name, given in scenarios.items()},
        outcomes={name: Outcome(**given) for name, given in scenarios.items()},
    )
