"""A provider on loopback that rotates as strictly as it can be done: a refresh token used twice ends the whole family.

It has a token endpoint, a revocation endpoint, an API that wants the newest access token, and a place for a webhook.
Whatever happens is counted, and can be waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class StrictProvider:
    """One account. `expires_in` is what its tokens are said to live; `revocation_status` what /revoke answers."""

    def __init__(self, *, expires_in: int | None = 3600) -> None:
        self.expires_in = expires_in
        self.revocation_status = 200
        self.number = 0
        self.in_force = 0
        self.reused = 0
        self.spent: list[str] = []
        self.revoked: list[str] = []
        self.hooked: list[tuple[dict[str, str], bytes]] = []
        self.gate: asyncio.Event | None = None
        self.url = ""
        self._changed = asyncio.Condition()

    def expire(self) -> None:
        """Make the access token one that nobody takes, without a word to anybody."""
        self.in_force = 0

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens here."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def token(self, request: web.Request) -> web.Response:
        """The token endpoint."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        given = form.get("refresh_token")
        if given is not None:
            self.spent.append(given)
            if given != f"rt-{self.number}-secret" or self.reused:
                self.reused += 1
                self.in_force = 0
                return web.json_response({"error": "invalid_grant", "error_description": "reused"}, status=400)
        self.number += 1
        await self._tell()
        if self.gate is not None:
            await self.gate.wait()
        self.in_force = self.number
        tokens = {"access_token": f"at-{self.number}-secret", "refresh_token": f"rt-{self.number}-secret"}
        return web.json_response(tokens | {"expires_in": self.expires_in})

    async def me(self, request: web.Request) -> web.Response:
        """The API: answers with the number of the token that it was given."""
        if not self.in_force or request.headers.get("Authorization") != f"Bearer at-{self.in_force}-secret":
            return web.json_response({"message": "expired"}, status=401)
        return web.json_response({"id": "u1", "name": "John Doe", "number": self.in_force})

    async def revoke(self, request: web.Request) -> web.Response:
        """The revocation endpoint."""
        self.revoked.append(str((await request.post())["token"]))
        await self._tell()
        return web.Response(status=self.revocation_status)

    async def hook(self, request: web.Request) -> web.Response:
        """Where the webhook goes."""
        self.hooked.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        await self._tell()
        return web.Response(status=204)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["StrictProvider"]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        paths: dict[str, Any] = {"/token": self.token, "/revoke": self.revoke, "/hook": self.hook}
        app.add_routes([web.get("/v1/me", self.me), *(web.post(path, handler) for path, handler in paths.items())])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
