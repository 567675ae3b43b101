"""Patterns of fields: regular expressions as RE2 has them, which can't run away.

RE2 knows no back-references and no look-around, and its time grows with the length of the text and no faster, whatever
the pattern. A pattern covers the whole value.
"""

from functools import lru_cache
from typing import Any

import re2


class PatternInvalid(ValueError):
    """The pattern is none of RE2's; the message says where it stops being one."""


def check(pattern: str) -> None:
    """Refuse a pattern that can't be used. Raises `PatternInvalid`."""
    _compiled(pattern)


def matches(pattern: str, value: str) -> bool:
    """Whether the pattern covers all of `value`. Raises `PatternInvalid`."""
    try:
        return _compiled(pattern).fullmatch(value) is not None
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return False


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # to standard error, past the log
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise PatternInvalid(f"is not a pattern that RE2 can use: {_reason(error)}") from None
    except UnicodeEncodeError:
        raise PatternInvalid("is not text") from None


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
