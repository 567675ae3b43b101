"""A line that can be cut: bytes are passed on between a port of ours and a server, until they aren't.

open      everything passes
refused   nothing is accepted, and what was open is reset
silent    everything is accepted, and nothing passes: packets are lost somewhere
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class State(Enum):
    """What a line does."""

    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"


class Link:
    """One line. `dial` opens the far end."""

    def __init__(self, dial: Callable[[], Awaitable[Ends]]) -> None:
        self._dial = dial
        self._state = State.OPEN
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def be(self, state: State) -> None:
        """Change what it does."""
        self._state = state
        if state is State.REFUSED:
            for writer in self._writers:
                writer.transport.abort()
        if state is State.SILENT:
            self._passing.clear()
        else:
            self._passing.set()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            await self._passing.wait()
            if self._state is State.REFUSED or reader._eof:
                return
            far_reader, far = await self._dial()
            self._writers.add(far)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far))
                group.create_task(self._pump(far_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # either end is gone, or we are to end
        finally:
            for one in (writer, far):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self._passing.is_set():
                await self._passing.wait()
                if reader._eof:  # who sent this has gone meanwhile: a system that gave up sends nothing more
                    raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
