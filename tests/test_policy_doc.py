"""docs/policy.md: its examples can be read, and every key of the model is in it."""

import re
import tomllib
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from gateway.policy import structure
from gateway.policy.model import Policy

TEXT = (Path(__file__).parents[1] / "docs/policy.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_every_example_has_known_keys_and_right_values() -> None:
    """An example shows one section: what else a policy needs is missing, and nothing else may be wrong."""
    assert len(BLOCKS) > 15
    for block in BLOCKS:
        faults, _ = structure.check(tomllib.loads(block))
        wrong = [(path, why) for path, why in faults if why != "is required"]
        assert not wrong, block


def test_every_key_is_written_down() -> None:
    missing = sorted(key for key in set(_keys(Policy)) if not re.search(rf"(?<![\w]){re.escape(key)}(?![\w])", TEXT))
    assert missing == []


def _keys(model: type[BaseModel]) -> list[str]:
    found = []
    for name, info in model.model_fields.items():
        found.append(info.alias or name)
        for inner in _models(info.annotation):
            found += _keys(inner)
    return found


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
