"""What happened, and who did it: the trail that is only added to.

A detail is data for people: secrets in it are masked by their type, whatever depth they are at.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.secret import MASK
from gateway.store import EventRow, Store


class Audit:
    """Records events. `clock` gives epoch seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def record(
        self,
        kind: str,
        *,
        actor: str,
        app: str | None = None,
        connection: str | None = None,
        client: str | None = None,
        **detail: Any,
    ) -> None:
        """Add an event, such as `connection.created`. Raises `StoreError`: what isn't recorded isn't silent."""
        row = self.event(kind, actor=actor, app=app, connection=connection, client=client, **detail)
        await self._store.events.add(row)

    def event(
        self,
        kind: str,
        *,
        actor: str,
        app: str | None = None,
        connection: str | None = None,
        client: str | None = None,
        **detail: Any,
    ) -> EventRow:
        """Return an event that is to be written in the same transaction as what it tells of."""
        return EventRow(
            at=self._clock(),
            kind=kind,
            actor=actor,
            app=app,
            connection=connection,
            client=client,
            detail=_plain(detail),
        )


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it."""
    match value:
        case bytes():  # bytes are sealed or hashed: nobody reads them here
            return MASK
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case _:
            return str(value)  # texts, the value of an enum, the mask of a secret
