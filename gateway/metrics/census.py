"""What is looked up now and then and not counted as it happens: what the store holds, what this server is made of.

A scrape never waits for the store: whoever asks for `/metrics` a thousand times a second costs it nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Census:
    """The newest look. None and nothing: it hasn't been looked up yet.

    What the store holds stays as it was last seen while the store is away. Times are seconds since the epoch.
    """

    store_up: bool | None = None
    connections: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By app and status; of an app that has any, those that there are none of too: what rises from nothing is seen."""
    retrying: int | None = None
    """Active connections whose last refresh has failed."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Pieces of work by chore, due or not yet."""
    overdue: Mapping[str, float] = field(default_factory=dict)
    """By chore, how many seconds the oldest piece has been due for."""
    given_up: int | None = None
    """Revocations that were tried for so long that nobody tries them any more."""
    feed_lag: float | None = None
    """For how many seconds the process that is furthest behind has not heard of a change that is in the feed."""
    policies: int | None = None
    faulty: int | None = None
    """Policy files that can't be used as they are."""
    ca_expires_at: float | None = None
    data_key_made_at: float | None = None
    """When the key that seals now was made."""
    workers: int | None = None
    """How many the configuration asks for."""
