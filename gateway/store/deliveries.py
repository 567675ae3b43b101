"""The webhook's outbox: messages in the order they were written, a connection's next one only after the one before."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, select, update

from gateway.store.alongside import Alongside, write_alongside
from gateway.store.database import Database
from gateway.store.rows import DeliveryRow
from gateway.store.tables import deliveries

_earlier = deliveries.alias("earlier")


class Deliveries:
    """The queries on messages. They are added with `alongside`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_at(self) -> float | None:
        """Return when the next try is due, None: everything has arrived."""
        query = select(deliveries.c.next_try_at).where(_first()).order_by(deliveries.c.next_try_at).limit(1)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[DeliveryRow, ...]:
        """Return up to `limit` that are due, and put them off `until` then: whoever claims sends."""
        due = deliveries.c.next_try_at <= now
        first = select(deliveries.c.id).where(due, _first()).order_by(deliveries.c.next_try_at).limit(limit)
        once = first.with_for_update(skip_locked=True).cte("first")  # as in `Due.claim`
        mine = (
            update(deliveries)
            .where(deliveries.c.id.in_(select(once.c.id)), due)
            .values(next_try_at=until)
            .returning(*deliveries.columns)
        )
        async with self._database.write() as connection:
            rows = [DeliveryRow(**row) for row in (await connection.execute(mine)).mappings()]
        return tuple(sorted(rows, key=lambda row: row.id))

    async def done(self, delivery_id: int, alongside: Sequence[Alongside] = ()) -> None:
        """Remove a message that has arrived, or was given up."""
        async with self._database.write() as connection:
            await connection.execute(delete(deliveries).where(deliveries.c.id == delivery_id))
            await write_alongside(connection, alongside)

    async def failed(self, delivery_id: int, *, attempts: int, next_try_at: float, last_error: str) -> None:
        """Note a failed try and when the next one is."""
        change = update(deliveries).where(deliveries.c.id == delivery_id)
        async with self._database.write() as connection:
            await connection.execute(change.values(attempts=attempts, next_try_at=next_try_at, last_error=last_error))


def _first() -> ColumnElement[bool]:
    """Hold for the oldest message of its connection: what is behind it waits, so that nobody hears them in disorder."""
    before = and_(_earlier.c.connection == deliveries.c.connection, _earlier.c.id < deliveries.c.id)
    return ~exists(select(_earlier.c.id).where(before).correlate(deliveries))
