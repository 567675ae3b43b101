"""Being told by PostgreSQL that something was changed: LISTEN, on a connection of its own that has to prove itself.

A notification says "look", and nothing else: what was changed is read from the feed by its numbers, so that one that
came twice, or never, or while nobody listened, makes no difference but time. That it does arrive is proved every few
seconds, by one that is sent through the pool to this listener alone. PgBouncer in transaction mode takes a LISTEN and
delivers nothing; a dead connection can look alive. Until the next proof the feed is polled then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from sqlalchemy import func, select

from gateway.errors import GatewayError
from gateway.store.changes import CHANNEL
from gateway.store.database import Database
from gateway.store.postgresql import DRIVER_ERRORS, WAIT_SECONDS, connect, uncut

PROVE_SECONDS = 10.0
"""Between two proofs, and so between two looks at the feed while nobody says anything."""
HEAR_SECONDS = 1.0
"""For a proof to arrive."""
AGAIN_FIRST, AGAIN_MOST = 0.5, 60.0
"""Seconds until a listener that was lost is tried again: the pause doubles each time. One that is deaf can wait."""

_FAULTS = (*DRIVER_ERRORS, OSError, GatewayError)


class Bell:
    """Rings when the feed is to be looked at. `hears`: it would."""

    def __init__(self, database: Database, random: Random) -> None:
        self.hears = False
        self._database = database
        self._random = random
        self._own = f"gateway_{random.getrandbits(64):016x}"  # the channel of our proofs
        self._rung, self._proved, self._closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until it rings; for so many seconds at most while it wouldn't."""
        if self.hears:
            await self._rung.wait()
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._rung.wait()
        self._rung.clear()

    async def listen(self) -> None:
        """Listen until cancelled; after a loss, again."""
        pause = AGAIN_FIRST
        while True:
            with suppress(*_FAULTS):
                async with self._connected():
                    while not self._closed.is_set():
                        if not await self._is_proved():
                            pause = AGAIN_MOST
                            break
                        self.hears, pause = True, AGAIN_FIRST
                        self._rung.set()  # whatever was changed before it listened
                        with suppress(TimeoutError):
                            async with asyncio.timeout(PROVE_SECONDS):
                                await self._closed.wait()
            self.hears = False
            self._rung.set()
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(pause * 2, AGAIN_MOST)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        connection = await connect(self._database.url.reveal())
        late = asyncio.get_running_loop().call_later(WAIT_SECONDS, connection.terminate)
        try:
            await uncut(connection, self._begin(connection))
            late.cancel()
            connection.add_termination_listener(self._lost)
            self._closed.clear()
            yield
        finally:
            late.cancel()
            connection.terminate()

    async def _begin(self, connection: Any) -> None:
        async with connection.transaction():  # like everything: see `postgresql`
            await connection.add_listener(CHANNEL, self._heard)
            await connection.add_listener(self._own, self._heard_own)

    async def _is_proved(self) -> bool:
        """Whether what is said on our own channel, over the pool, arrives."""
        self._proved.clear()
        async with self._database.write() as other:
            await other.execute(select(func.pg_notify(self._own, "")))
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAR_SECONDS):
                await self._proved.wait()
        return self._proved.is_set()

    def _heard(self, *_: object) -> None:
        self._rung.set()

    def _heard_own(self, *_: object) -> None:
        self._proved.set()

    def _lost(self, _connection: object) -> None:
        self.hears = False
        self._closed.set()
        self._rung.set()
