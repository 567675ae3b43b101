"""What is answered while there is no token to send, and when the provider is asked again."""

import math
from random import Random

from gateway.errors import Refusal

BACK_OFF_FIRST = 2.0  # seconds after the first failure, doubled with each further one
BACK_OFF_LONGEST = 300.0


def back_off(failures: int, random: Random) -> float:
    """Return the seconds until the next try after so many failures: 2, 4, 8 … 300, less up to a quarter by chance."""
    longest = min(BACK_OFF_FIRST * float(1 << min(failures - 1, 20)), BACK_OFF_LONGEST)
    return longest * random.uniform(0.75, 1.0)


def paused(connection_id: str, reason: str | None, retry_at: float | None, now: float) -> Refusal | None:
    """Return the refusal of a connection whose provider isn't to be asked yet; None: it may be."""
    if retry_at is None or retry_at <= now:
        return None
    return Refusal(
        code="refresh_failed",
        detail=sentence(connection_id, reason),
        retry_after=max(1, math.ceil(retry_at - now)),
    )


def gone(connection_id: str) -> Refusal:
    """Return the refusal for a connection that is not there any more."""
    return Refusal(code="connection_not_permitted", detail=f"There is no connection {connection_id}.")


def sentence(connection_id: str, reason: str | None) -> str:
    """Return what a failed refresh is told as."""
    return f"The token of {connection_id} could not be refreshed. {reason or ''}".strip()


def stopping() -> Refusal:
    """Return the refusal of everything that a stopping gateway doesn't begin."""
    return Refusal(code="overloaded", detail="The gateway is stopping.", retry_after=1)
