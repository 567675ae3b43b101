"""Whether the gateway is to be sent anything, and how the web listener takes its leave."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web


class Readiness:
    """What `/readyz` goes by. `why_not` says what else keeps the gateway from serving, empty: nothing.

    While it drains, every answer is the last one on its connection, and the gateway isn't ready.
    """

    def __init__(self, why_not: Callable[[], str] = str) -> None:
        self.draining = False
        self._why_not = why_not
        self._silent: set[object] = set()
        self._all_spoke: asyncio.Event | None = None

    @property
    def why_not_ready(self) -> str:
        """Why this gateway should be sent nothing, empty: it may be."""
        return "The gateway is stopping." if self.draining else self._why_not()

    def came(self, connection: object) -> None:
        """Take note of a connection that has said nothing yet."""
        self._silent.add(connection)

    def spoke(self, connection: object) -> None:
        """Take note that it has, or is gone."""
        self._silent.discard(connection)
        if not self._silent and self._all_spoke is not None:
            self._all_spoke.set()

    async def hear_out(self, seconds: float) -> None:
        """Wait until every connection has said something: what is new has a request on its way."""
        if self._silent:
            self._all_spoke = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_spoke.wait()


READINESS = web.AppKey("readiness", Readiness)
