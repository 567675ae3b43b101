"""A real authorization server on loopback, and a gateway process that can be killed at a chosen moment.

As a program: `python -m tests.vault.real STORE_PATH TOKEN_URL NOW MOMENT` refreshes the connection `c`; at MOMENT
(`answered`: the provider has answered and nothing is written yet) it says so on its standard output and stands still.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.egress import Egress
from gateway.errors import AuthorizationServerError
from tests.vault.harness import PASSWORD, Clock, House, authorization


class RealProvider:
    """Tokens over HTTP. `strict`: a refresh token works once; else every one that was given works (a grace period)."""

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.calls: list[dict[str, str]] = []
        self.number = 0
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        """The token endpoint."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.calls.append(form)
        given = form.get("refresh_token")
        good = {f"rt-{self.number}-secret"} if self.strict else {f"rt-{n}-secret" for n in range(self.number + 1)}
        if given is not None and given not in good:
            return web.json_response({"error": "invalid_grant", "error_description": "It was used before"}, status=400)
        self.number += 1
        tokens = {"access_token": f"at-{self.number}-secret", "refresh_token": f"rt-{self.number}-secret"}
        return web.json_response(tokens | {"expires_in": 3600})

    async def me(self, _request: web.Request) -> web.Response:
        """The test API."""
        return web.json_response({"id": "u1", "name": "John Doe"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.add_routes([web.post("/token", self.token), web.get("/v1/me", self.me)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


def policy_for(url: str) -> str:
    """The password policy, at the real provider's address."""
    at_home = PASSWORD.replace("https://id.test", url).replace("https://api.test", url)
    return at_home.replace(f'\n[auth.revoke]\nurl = "{url}/revoke"', "")


@asynccontextmanager
async def loopback() -> AsyncIterator[Egress]:
    """The real way out, allowed to reach this machine."""
    egress = Egress(allow_networks=["127.0.0.0/8"])
    try:
        yield egress
    finally:
        await egress.close()


async def main(path: str, url: str, now: str, moment: str) -> None:
    """Refresh, and stand still where we are told to."""
    house = House(path=Path(path), clock=Clock(float(now)))
    house.policies.put("legacy", policy_for(url))
    async with loopback() as egress, house.vault(egress=egress) as vault:
        if moment == "answered":

            async def standstill(*_: Any, **__: Any) -> bool:
                print("answered", flush=True)  # noqa: T201 -- what the parent waits for
                await asyncio.Event().wait()
                return False

            vault._store.connections.write_tokens = standstill  # type: ignore[method-assign]
        live = await vault.live("c")
        assert live is not None
        try:
            got = await vault.after_401(live)
        except AuthorizationServerError as error:
            print(error.refusal.code, error.refusal.detail, flush=True)  # noqa: T201 -- as above
        else:
            print("ok", authorization(got), flush=True)  # noqa: T201 -- as above


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
