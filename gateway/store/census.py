"""How much there is: what monitoring asks for now and then. Each count goes along an index, and reads no row."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.store.database import Database
from gateway.store.rows import Status
from gateway.store.tables import connections, data_keys, deliveries, revocations

_CONNECTIONS = select(connections.c.app, connections.c.status, func.count().label("number")).group_by(
    connections.c.app, connections.c.status
)
_RETRYING = select(func.count()).where(connections.c.status == Status.ACTIVE, connections.c.failures > 0)
_REVOCATIONS = select(func.count(revocations.c.next_try_at).label("waiting"), func.count().label("number")).select_from(
    revocations
)
_DELIVERIES = select(func.count()).select_from(deliveries)
_DATA_KEY = select(func.max(data_keys.c.created_at)).where(data_keys.c.retired_at.is_(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How much there is.

    `connections` by app and status; `retrying` are active ones with a refresh behind them that failed; of revocations
    those that are to be made, and those `given_up`; `data_key_made_at` is of the newest key that seals.
    """

    connections: Mapping[tuple[str, str], int]
    retrying: int
    revocations: int
    given_up: int
    deliveries: int
    data_key_made_at: float | None


class Census:
    """The queries that count."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self) -> Counted:
        """Count everything."""
        async with self._database.read() as connection:
            kept = (await connection.execute(_REVOCATIONS)).one()
            return Counted(
                connections={(row.app, row.status): row.number for row in await connection.execute(_CONNECTIONS)},
                retrying=(await connection.execute(_RETRYING)).scalar_one(),
                revocations=kept.waiting,
                given_up=kept.number - kept.waiting,
                deliveries=(await connection.execute(_DELIVERIES)).scalar_one(),
                data_key_made_at=(await connection.execute(_DATA_KEY)).scalar_one(),
            )
