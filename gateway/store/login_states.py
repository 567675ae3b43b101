"""Logins under way at providers: each `state` comes back once, or never."""

from sqlalchemy import delete, select

from gateway.store.database import Database
from gateway.store.rows import LoginStateRow
from gateway.store.tables import login_states


class LoginStates:
    """The queries on logins under way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, row: LoginStateRow) -> None:
        """Add a login. Raises `ConflictError` if its state is there already."""
        values = {column.name: getattr(row, column.name) for column in login_states.columns}
        async with self._database.write() as connection:
            await connection.execute(login_states.insert().values(values))

    async def take(self, state_hash: bytes) -> LoginStateRow | None:
        """Take a login out, expired or not; None: unknown, or taken. Of several at once, one gets it."""
        known = select(login_states.c.state_hash).where(login_states.c.state_hash == state_hash)
        async with self._database.read() as connection:  # anybody may ask: who made one up doesn't wait for the writers
            if (await connection.execute(known)).one_or_none() is None:
                return None
        mine = delete(login_states).where(login_states.c.state_hash == state_hash).returning(*login_states.columns)
        async with self._database.write() as connection:
            row = (await connection.execute(mine)).mappings().one_or_none()
        return None if row is None else LoginStateRow(**row)

    async def prune(self, *, before: float) -> int:
        """Remove the logins that expired before a time; return how many."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(login_states).where(login_states.c.expires_at < before))).rowcount
