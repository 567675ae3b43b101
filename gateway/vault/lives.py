"""The Lives of this process: found without waiting, loaded once however many ask, forgotten at every change."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.store.rows import ConnectionRow, Status
from gateway.vault.live import Live

KEPT = 20_000  # Lives; some 5 KB each
UNKNOWN_KEPT = 10_000  # ids that are no connection; a caller can make these up

Load = Callable[[str], Awaitable[ConnectionRow | None]]
Compile = Callable[[ConnectionRow], Awaitable[Live]]


class Lives:
    """A bounded cache. The oldest entry goes first; a token's renewal makes an entry young again."""

    def __init__(self, *, load: Load, compile_row: Compile) -> None:
        self._load = load
        self._compile = compile_row
        self._lives: dict[str, Live] = {}
        self._unknown: set[str] = set()
        self._loading: dict[str, asyncio.Task[Live | None]] = {}
        self.peek = self._lives.get
        """Return the Live of an id if it is loaded: a plain dictionary's `get`, for the hot path."""

    async def find(self, connection_id: str) -> Live | None:
        """Return the Live, loaded from the store if need be; None: unknown or disconnected."""
        live = self._lives.get(connection_id)
        if live is not None or connection_id in self._unknown:
            return live
        loading = self._loading.get(connection_id)
        if loading is None:
            loading = asyncio.create_task(self._read(connection_id), name=f"load {connection_id}")
            self._loading[connection_id] = loading
            loading.add_done_callback(lambda done: self._loaded(connection_id, done))
        return await asyncio.shield(loading)

    async def put(self, row: ConnectionRow, *, changed: asyncio.Event, used: bool = True) -> Live:
        """Compile a row that was just read, and keep it unless a newer one is there.

        `changed` is set where a change was heard of since it was read: then it is good for who asked, not for keeping.
        One that isn't `used` replaces what is kept and pushes nobody out: sweeping many must not empty the cache.
        """
        live = await self._compile(row)
        if changed.is_set():
            return live
        self._loading.pop(row.id, None)  # a load that is under way may have read what was there before
        if not used and row.id not in self._lives:
            return live
        self._keep(live)
        return live

    def forget(self, connection_id: str) -> None:
        """Let go of one connection, and of a load that is under way: it may have read what was there before."""
        self._lives.pop(connection_id, None)
        self._unknown.discard(connection_id)
        self._loading.pop(connection_id, None)

    def forget_app(self, app: str) -> None:
        """Let go of every connection of an app."""
        for connection_id in [key for key, live in self._lives.items() if live.app == app]:
            self.forget(connection_id)
        self._loading.clear()

    def forget_all(self) -> None:
        """Let go of everything."""
        self._lives.clear()
        self._unknown.clear()
        self._loading.clear()

    async def _read(self, connection_id: str) -> Live | None:
        me = asyncio.current_task()
        row = await self._load(connection_id)
        live = None if row is None or row.status is Status.DISCONNECTED else await self._compile(row)
        if self._loading.get(connection_id) is me:  # else a change came in between: good for who asked, not for keeping
            self._keep(live) if live is not None else self._keep_unknown(connection_id)
        return live

    def _loaded(self, connection_id: str, done: asyncio.Task[Live | None]) -> None:
        if self._loading.get(connection_id) is done:
            del self._loading[connection_id]
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may be left to

    def _keep(self, live: Live) -> None:
        standing = self._lives.pop(live.connection_id, None)
        if standing is not None and standing.token_version > live.token_version:
            live = standing
        self._unknown.discard(live.connection_id)
        if len(self._lives) >= KEPT:
            del self._lives[next(iter(self._lives))]
        self._lives[live.connection_id] = live

    def _keep_unknown(self, connection_id: str) -> None:
        if len(self._unknown) >= UNKNOWN_KEPT:
            self._unknown.clear()
        self._unknown.add(connection_id)
