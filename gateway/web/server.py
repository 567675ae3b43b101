"""The web listener: the control plane, for people, operators' programs and monitoring."""

import asyncio
import os
from typing import cast

from aiohttp import web

from gateway.admin.services import Services
from gateway.admin.token import load_admin_token
from gateway.errors import Refusal, StartError
from gateway.secret import Secret
from gateway.web.session import load_seed
from gateway.web.site import site
from gateway.web.wire import Bounds, Connection, Room

BACKLOG = 128


class WebServer:
    """The listener of one gateway. `token` is the admin token; left out, it is loaded as settings say."""

    def __init__(self, gateway: Services, *, token: Secret | None = None, bounds: Bounds | None = None) -> None:
        self._gateway = gateway
        self._bounds = bounds or Bounds()
        self._server: asyncio.Server | None = None
        self._token = token
        self._runner: web.AppRunner | None = None
        self._origin = [gateway.settings.web.public_url]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, each a host and a port; empty while it doesn't."""
        if self._server is None:
            return ()
        return tuple(one.getsockname()[:2] for one in self._server.sockets)

    @property
    def url(self) -> str:
        """Where browsers reach it: `web.public_url`, or the real address where that one has no real port."""
        return self._origin[0]

    async def start(self) -> None:
        """Listen. Raises `StartError` where the address can't be had."""
        token = self._token or load_admin_token(self._gateway.settings)
        listen = self._gateway.settings.web.listen
        seed = await load_seed(self._gateway.store, self._gateway.keyring)
        runner = web.AppRunner(site(self._gateway, token, seed, self._origin, self._bounds))
        await runner.setup()
        manager, room = cast(web.Server, runner.server), Room(self._bounds.connections)
        secure = self._origin[0].startswith("https://")

        def connection() -> Connection:
            return Connection(manager, room, self._bounds, secure=secure)

        try:
            self._server = await asyncio.get_running_loop().create_server(
                connection, listen.host, listen.port, backlog=BACKLOG
            )
        except OSError as error:
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            detail = f"The web listener can't have {listen}: {reason}."
            hint = "Stop what listens there, or change web.listen."
            raise StartError(Refusal(code="internal", detail=detail, hint=hint)) from error
        self._runner = runner
        self._origin[0] = self._public_url()

    async def stop(self, grace: float) -> None:
        """Take no more connections, let requests under way end within `grace` seconds, then close what is left."""
        (runner, self._runner), (server, self._server) = (self._runner, None), (self._server, None)
        if runner is None or server is None:
            return
        server.close()
        runner._shutdown_timeout = grace  # noqa: SLF001 - aiohttp takes it only at construction, when nobody knows it
        await runner.cleanup()

    def _public_url(self) -> str:
        url = self._gateway.settings.web.public_url
        if not url.endswith(":0"):
            return url
        return f"{url.removesuffix(':0')}:{self.addresses[0][1]}"
