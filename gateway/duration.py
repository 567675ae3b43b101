"""Durations as people write them: `30s`, `5m`, `12h`, `90d`."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return seconds. Raises `ValueError` that says which forms are right."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        form = "write a number with ms, s, m, h or d behind it, such as 30s or 90d"
        raise ValueError(f"{text!r} is not a duration; {form}")
    return float(match[1]) * UNITS[match[2]]


def format_duration(seconds: float) -> str:
    """Return the shortest exact form: `90.0` is `90s`, `3600.0` is `1h`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % UNITS[unit] == 0:
            return f"{seconds / UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


def _read(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_read), PlainSerializer(format_duration)]
"""Seconds as a float; in a file, a number of seconds or a text such as `60s`."""
