"""Logins under way at providers: each `state` comes back once, or never; a device code is polled until it is over."""

from sqlalchemy import ColumnElement, and_, delete, select, update

from gateway.store.database import Database
from gateway.store.rows import LoginStateRow
from gateway.store.tables import login_states
from gateway.store.upsert import upsert


class LoginStates:
    """The queries on logins under way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, row: LoginStateRow) -> None:
        """Add a login. Raises `ConflictError` if its state is there already."""
        values = {column.name: getattr(row, column.name) for column in login_states.columns}
        async with self._database.write() as connection:
            await connection.execute(login_states.insert().values(values))

    async def put(self, row: LoginStateRow) -> None:
        """Add a login, in place of one of this state."""
        values = {column.name: getattr(row, column.name) for column in login_states.columns}
        key = {"state_hash": values.pop("state_hash")}
        async with self._database.write() as connection:
            await upsert(connection, login_states, key, values)

    async def get(self, state_hash: bytes) -> LoginStateRow | None:
        """Return a login, expired or not, and leave it there."""
        query = select(login_states).where(login_states.c.state_hash == state_hash)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else LoginStateRow(**row)

    async def hold(self, row: LoginStateRow, *, now: float, until: float) -> bool:
        """Take a login for one poll. False: it isn't due yet, somebody else has it, or it is another by now.

        Of several at once, on however many servers, one gets it. Should its holder die, it is due again at `until`.
        """
        return await self._changed(row, login_states.c.poll_at <= now, poll_at=until)

    async def wait(self, row: LoginStateRow, *, until: float, interval: float) -> None:
        """Give a login back: it is due again at `until`."""
        await self._changed(row, poll_at=until, poll_interval=interval)

    async def _changed(self, row: LoginStateRow, *where: ColumnElement[bool], **values: float) -> bool:
        mine = update(login_states).where(_is(row), *where).values(**values)
        async with self._database.write() as connection:
            return (await connection.execute(mine)).rowcount == 1

    async def drop(self, row: LoginStateRow) -> None:
        """Remove a login; one that took its place stays."""
        async with self._database.write() as connection:
            await connection.execute(delete(login_states).where(_is(row)))

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


def _is(row: LoginStateRow) -> ColumnElement[bool]:
    """Whether it is this very login, and not one that was begun in its place."""
    return and_(login_states.c.state_hash == row.state_hash, login_states.c.created_at == row.created_at)
