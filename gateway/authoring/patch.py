"""A TOML text that says something else, with everything that needn't change byte for byte."""

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit


def patched(text: str, new: Mapping[str, Any]) -> str:
    """Return a text that says `new`, as near to `text` as can be."""
    if tomllib.loads(text.removeprefix("\ufeff")) == new:
        return text
    return tomlkit.dumps(new)
