"""The web listener: the control plane, for people, operators' programs and monitoring."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from typing import cast

from aiohttp import web

from gateway.admin.services import Services
from gateway.admin.token import load_admin_token
from gateway.errors import Refusal, StartError
from gateway.secret import Secret
from gateway.web.readiness import Readiness
from gateway.web.session import load_seed
from gateway.web.site import site
from gateway.web.tail import TAIL, Tail
from gateway.web.wire import Bounds, Connection, Room

BACKLOG = 128
PARTING = 1.0
"""Seconds that a new connection has for its first word, when all is over."""


class WebServer:
    """The listener of one gateway. `token` is the admin token; left out, it is loaded as settings say.

    `why_not_ready` says what else keeps the gateway from serving, empty: nothing.
    """

    def __init__(
        self,
        gateway: Services,
        *,
        token: Secret | None = None,
        bounds: Bounds | None = None,
        why_not_ready: Callable[[], str] = str,
    ) -> None:
        self._gateway = gateway
        self._bounds = bounds or Bounds()
        self._servers: list[asyncio.Server] = []
        self._token = token
        self._readiness = Readiness(why_not_ready)
        self._tail: Tail | None = None
        self._runner: web.AppRunner | None = None
        self._origin = [gateway.settings.web.public_url]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, each a host and a port; empty while it doesn't."""
        return tuple(one.getsockname()[:2] for server in self._servers for one in server.sockets)

    @property
    def url(self) -> str:
        """Where browsers reach it: `web.public_url`, or the real address where that one has no real port."""
        return self._origin[0]

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Listen on these, which are bound; they are closed with us. Raises `StartError`: an address can't be had."""
        token = self._token or load_admin_token(self._gateway.settings)
        listen = self._gateway.settings.web.listen
        seed = await load_seed(self._gateway.store, self._gateway.keyring)
        app = site(self._gateway, token, seed, self._origin, self._bounds, readiness=self._readiness)
        runner = web.AppRunner(app)
        await runner.setup()
        manager, room = cast(web.Server, runner.server), Room(self._bounds.connections)
        secure = self._origin[0].startswith("https://")

        def connection() -> Connection:
            return Connection(manager, room, self._bounds, readiness=self._readiness, secure=secure)

        loop = asyncio.get_running_loop()
        try:
            for one in sockets:
                self._servers.append(await loop.create_server(connection, sock=one, backlog=BACKLOG))
        except OSError as error:
            self._close()
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            detail = f"The web listener can't have {listen}: {reason}."
            hint = "Stop what listens there, or change web.listen."
            raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from error
        self._runner, self._tail = runner, app[TAIL]
        self._origin[0] = self._public_url()

    async def drain(self, *, accepting: bool) -> None:
        """Begin to stop: not ready any more, every answer the last one on its connection, and streams end.

        `accepting`: whether new connections are taken still, so that whoever asks hears that it is over.
        """
        self._readiness.draining = True
        if not accepting:
            self._close()
        if self._tail is not None:
            await self._tail.close()

    async def stop(self, grace: float) -> None:
        """Take no more connections, let requests under way end within `grace` seconds, then close what is left."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._readiness.draining = True
        self._close()
        await self._readiness.hear_out(min(grace, PARTING))
        runner._shutdown_timeout = grace  # noqa: SLF001 - aiohttp takes it only at construction, when nobody knows it
        await runner.cleanup()

    def _close(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    def _public_url(self) -> str:
        url = self._gateway.settings.web.public_url
        if not url.endswith(":0"):
            return url
        return f"{url.removesuffix(':0')}:{self.addresses[0][1]}"
