"""What the modes with a token request have in common: how it is sent, and how long its token lasts."""

from collections.abc import Mapping
from typing import Any

from gateway.importing.data import line, text
from gateway.importing.draft import Draft


def method(data: Mapping[str, Any], draft: Draft) -> str:
    """Return the method of a token request, POST or GET; another one is a lack."""
    written = text(data.get("token_request_method")).upper() or "POST"
    if written not in ("POST", "GET"):
        draft.lack("a token request of another method", line(written, 20))
    return "GET" if written == "GET" else "POST"


def lifetime(data: Mapping[str, Any], draft: Draft, at: str) -> None:
    """Set how the answer at `at` says how long its token lasts, and what holds where it says nothing."""
    unit = text(data.get("expires_in_unit"))
    if unit == "milliseconds" and not draft.get(f"{at}.expires"):
        draft.put(f"{at}.expires", "milliseconds")
    elif unit not in ("", "seconds"):
        draft.lack("how the answer says how long a token lasts", f"expires_in_unit: {line(unit, 40)}")
    milliseconds = data.get("token_expires_in_ms")
    if isinstance(milliseconds, int) and milliseconds > 0:
        draft.put("auth.token.default_ttl", f"{milliseconds // 1000}s")
