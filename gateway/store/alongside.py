"""What is written in the same transaction as a change of a connection: there together with it, or not at all.

Events of the audit trail, tokens that are to be revoked, messages of the webhook.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import assert_never

from sqlalchemy import delete

from gateway.store.changes import append, in_order
from gateway.store.rows import DeliveryRow, EventRow, RevocationRow
from gateway.store.tables import deliveries, events, revocations
from gateway.store.transaction import Transaction

UPKEEP = "upkeep"
"""The kind in the change feed that says: there is work beside; the key is the table."""


@dataclass(frozen=True, slots=True)
class NoRevocations:
    """Forget what was to be revoked of a connection: it has been connected again."""

    connection: str


Alongside = EventRow | RevocationRow | DeliveryRow | NoRevocations


async def write_alongside(transaction: Transaction, rows: Sequence[Alongside]) -> None:
    """Write these in the transaction of a change."""
    for row in rows:
        match row:
            case EventRow():
                await in_order(transaction)
                await transaction.execute(events.insert().values(_numbered(row) | {"detail": dict(row.detail)}))
            case RevocationRow():
                await transaction.execute(revocations.insert().values(asdict(row)))
                await append(transaction, UPKEEP, revocations.name)
            case DeliveryRow():
                await transaction.execute(deliveries.insert().values(_numbered(row)))
                await append(transaction, UPKEEP, deliveries.name)
            case NoRevocations():
                await transaction.execute(delete(revocations).where(revocations.c.connection == row.connection))
            case _:
                assert_never(row)


def _numbered(row: EventRow | DeliveryRow) -> dict[str, object]:
    """Return the columns without the number, which the store gives."""
    values = asdict(row)
    del values["id"]
    return values
