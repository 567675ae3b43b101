"""What is told of a change: an event of the audit trail, and a message to the webhook where there is one.

Both are rows that are written in the transaction of the change itself (`store.alongside`), so that neither is lost.
A busy connection doesn't flood the trail: what a program does again and again (each renewal, each further failure) is
counted and logged, not told.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.audit import Audit
from gateway.store.alongside import Alongside
from gateway.store.rows import DeliveryRow, EventRow

ANNOUNCED = {
    "connection.created": "connection.connected",
    "connection.updated": "connection.connected",
    "connection.needs_reauthorization": "connection.needs_reauthorization",
    "connection.disconnected": "connection.disconnected",
}
"""Which events the webhook is sent, and under which name."""


class Chronicle:
    """Makes the rows. `announces`: there is a webhook; `clock` gives epoch seconds, `entropy(n)` random bytes."""

    def __init__(
        self, audit: Audit, *, announces: bool, clock: Callable[[], float], entropy: Callable[[int], bytes]
    ) -> None:
        self._audit = audit
        self._announces = announces
        self._clock = clock
        self._entropy = entropy

    def tell(self, kind: str, *, actor: str, app: str, connection: str, **detail: Any) -> tuple[Alongside, ...]:
        """Return what is to be written beside a change."""
        event = self._audit.event(kind, actor=actor, app=app, connection=connection, **detail)
        if not self._announces or kind not in ANNOUNCED:
            return (event,)
        return (event, self._message(event, app, connection))

    def _message(self, event: EventRow, app: str, connection: str) -> DeliveryRow:
        kind = ANNOUNCED[event.kind]
        now = self._clock()
        data: dict[str, Any] = {"connection": connection, "app": app, **event.detail}
        if kind == "connection.connected":
            data["created"] = event.kind == "connection.created"
        body = {"type": kind, "timestamp": datetime.fromtimestamp(now, UTC).isoformat(), "data": data}
        return DeliveryRow(
            message_id=f"msg_{self._entropy(16).hex()}",
            kind=kind,
            app=app,
            connection=connection,
            body=json.dumps(body),
            created_at=now,
            next_try_at=now,
        )
