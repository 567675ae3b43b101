"""What is wrong with a policy file, and where, as a person would write the place."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

Fault = tuple[str, str]
"""A key path and what is wrong there and would be right; the file is added by `load`."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault of one file. `path` is a key path such as `allow.urls[0]`, or `line 3` where the file isn't TOML."""

    file: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.message}" if self.path else f"{self.file}: {self.message}"


def key_path(steps: Iterable[str | int]) -> str:
    """Write a path as in `allow.urls[1]`; keys that TOML would quote are quoted."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE.fullmatch(step) else '"' + step.replace("\\", "\\\\").replace('"', '\\"') + '"'
            text += f".{key}" if text else key
    return text


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is nearest, or None."""
    names = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=cutoff)
    return names[near[0]] if near else None
