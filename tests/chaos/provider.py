"""A provider for many accounts: a refresh token is spent by its first use, and ends its family at the second.

It listens on a port for each replica, so that it knows who asks. Access tokens live for `life` seconds by its own
clock. The accounts whose number is odd aren't told so (`expires_in`): theirs are refreshed after a 401.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

POLICY = """
name = "Chaos"
base_url = "{url}/v1"
[allow]
urls = ["{url}/v1"]
[[fields]]
name = "username"
[[fields]]
name = "password"
secret = true
[auth]
grant = "password"
client_id = "chaos"
[auth.token]
url = "{url}/token"
client_auth = "none"
[auth.refresh]
margin = "{margin}s"
[test]
url = "/me"
expect = {{ status = [200], path = "owner" }}
[connection]
label = "{{{{ test.owner }}}}"
unique_id = "{{{{ test.owner }}}}"
[inject.headers]
Authorization = "Bearer {{{{ access_token }}}}"
"""


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A refresh token that was spent: the `number`-th of its account, by a replica, at a time.

    `took`: seconds that its request had been here by then, and that its answer was here from then on.
    """

    at: float
    took: float = 0.0
    owner: str
    number: int
    replica: int


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """A spent token that came again, and who had spent it."""

    at: float
    owner: str
    number: int
    replica: int
    spent: Rotation


@dataclass(kw_only=True)
class Account:
    """`newest`: the number of the newest token; `first`: that of the first of its family."""

    newest: int = 0
    first: int = 1
    revoked_at: float | None = None
    expires: dict[int, float] = field(default_factory=dict)
    spent: dict[int, Rotation] = field(default_factory=dict)


class Provider:
    """`delay`: seconds that a token takes; `failing`: every call gets a 503. `clock` gives monotonic seconds."""

    def __init__(self, *, life: int, replicas: int) -> None:
        self.life = life
        self.delay = 0.0
        self.failing = False
        self.accounts: dict[str, Account] = {}
        self.rotations: list[Rotation] = []
        self.reuses: list[Reuse] = []
        self.ports: list[int] = []
        self._replicas = replicas

    async def token(self, request: web.Request) -> web.Response:
        """The token endpoint."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self.failing:
            return web.json_response({"error": "temporarily_unavailable"}, status=503)
        replica, half = self._who_asks(request), self.delay / 2
        await asyncio.sleep(half)
        now = time.monotonic()
        if form["grant_type"] == "password":
            owner = form["username"]
            account = self.accounts.setdefault(owner, Account())
            account.first, account.revoked_at = account.newest + 1, None
            account.expires.clear()
        else:
            _, owner, number = form["refresh_token"].split("-")
            account = self.accounts[owner]
            if int(number) != account.newest or account.revoked_at:
                return self._refused(account, owner, int(number), replica)
            spent = Rotation(at=now, took=half, owner=owner, number=int(number), replica=replica)
            account.spent[int(number)] = spent
            self.rotations.append(spent)
        account.newest += 1
        account.expires[account.newest] = now + self.life
        account.expires.pop(account.newest - 3, None)
        await asyncio.sleep(half)
        tokens = {
            "access_token": f"at-{owner}-{account.newest}",
            "refresh_token": f"rt-{owner}-{account.newest}",
            "token_type": "bearer",
        }
        told = {} if int(owner.removeprefix("u")) % 2 else {"expires_in": self.life}
        return web.json_response(tokens | told)

    def _refused(self, account: Account, owner: str, number: int, replica: int) -> web.Response:
        if number >= account.first and not account.revoked_at:
            account.revoked_at = time.monotonic()
            spent = account.spent[number]
            self.reuses.append(Reuse(at=account.revoked_at, owner=owner, number=number, replica=replica, spent=spent))
        return web.json_response({"error": "invalid_grant", "error_description": "used before"}, status=400)

    async def me(self, request: web.Request) -> web.Response:
        """The API: says whose token it saw."""
        if self.failing:
            return web.json_response({"message": "unavailable"}, status=503)
        _, owner, number = request.headers.get("Authorization", "Bearer --").removeprefix("Bearer ").split("-")
        account = self.accounts.get(owner)
        if account is None or account.revoked_at or account.expires.get(int(number), 0.0) < time.monotonic():
            return web.json_response({"message": "expired"}, status=401)
        return web.json_response({"owner": owner, "number": int(number)})

    def _who_asks(self, request: web.Request) -> int:
        assert request.transport is not None
        return self.ports.index(request.transport.get_extra_info("sockname")[1])

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Sequence[int]]:
        """Listen on a free port for each replica."""
        app = web.Application()
        app.add_routes([web.post("/token", self.token), web.get("/v1/me", self.me)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for _ in range(self._replicas):
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.ports = [address[1] for address in runner.addresses]
        try:
            yield self.ports
        finally:
            await runner.cleanup()
