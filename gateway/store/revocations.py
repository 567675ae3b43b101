"""Revocations that are still to be done at the provider: kept over restarts, until they are done or given up."""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select, update

from gateway.store.alongside import Alongside, write_alongside
from gateway.store.database import Database
from gateway.store.rows import RevocationRow
from gateway.store.tables import revocations

AT_ONCE = 500  # ids in one statement, as for `connections.touch`


class Revocations:
    """The queries on revocations. They are added with `alongside`, as a rule."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: RevocationRow) -> None:
        """Add one that goes with no change of its connection."""
        async with self._database.write() as connection:
            await write_alongside(connection, (row,))

    async def next_at(self) -> float | None:
        """Return when the next try is due, None: there is nothing to revoke."""
        query = (
            select(revocations.c.next_try_at)
            .where(revocations.c.next_try_at.is_not(None))
            .order_by(revocations.c.next_try_at)
            .limit(1)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def claim(self, limit: int, *, now: float, until: float) -> tuple[RevocationRow, ...]:
        """Return up to `limit` that are due, and put them off `until` then."""
        due = revocations.c.next_try_at <= now
        first = select(revocations.c.id).where(due).order_by(revocations.c.next_try_at).limit(limit)
        once = first.with_for_update(skip_locked=True).cte("first")  # as in `Due.claim`
        mine = (
            update(revocations)
            .where(revocations.c.id.in_(select(once.c.id)), due)
            .values(next_try_at=until)
            .returning(*revocations.columns)
        )
        async with self._database.write() as connection:
            return tuple(RevocationRow(**row) for row in (await connection.execute(mine)).mappings())

    async def done(self, revocation_id: str, alongside: Sequence[Alongside]) -> bool:
        """Remove one that is done; False: it was gone already, and nothing was written alongside."""
        async with self._database.write() as connection:
            gone = (await connection.execute(delete(revocations).where(revocations.c.id == revocation_id))).rowcount > 0
            if gone:
                await write_alongside(connection, alongside)
        return gone

    async def failed(
        self,
        revocation_id: str,
        *,
        attempts: int,
        next_try_at: float | None,
        last_error: str,
        alongside: Sequence[Alongside] = (),
    ) -> bool:
        """Note a failed try; `next_try_at` None gives it up, and what was sealed goes. False: it is not there."""
        change = update(revocations).where(revocations.c.id == revocation_id)
        change = change.values(attempts=attempts, next_try_at=next_try_at, last_error=last_error)
        if next_try_at is None:
            change = change.values(sealed=None)
        async with self._database.write() as connection:
            noted = (await connection.execute(change)).rowcount > 0
            if noted:
                await write_alongside(connection, alongside)
        return noted

    async def of(self, connection_ids: Iterable[str]) -> dict[str, RevocationRow]:
        """Return each connection's newest revocation that isn't done; connections without one are left out."""
        ids = tuple(connection_ids)
        found: dict[str, RevocationRow] = {}
        async with self._database.read() as connection:
            for start in range(0, len(ids), AT_ONCE):
                query = (
                    select(revocations)
                    .where(revocations.c.connection.in_(ids[start : start + AT_ONCE]))
                    .order_by(revocations.c.connection, revocations.c.created_at)
                )
                for row in (await connection.execute(query)).mappings():
                    found[row["connection"]] = RevocationRow(**row)
        return found
