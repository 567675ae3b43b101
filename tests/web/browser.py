"""A person with a browser: opens links, fills in forms, is sent to the provider and comes back."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp

from gateway.egress import Egress
from tests.web.harness import Answer, Web, form_token, running
from tests.web.provider import APPS, CLIENT_SECRET, CODE, Provider


class Browser:
    """One browser: its own cookies, and the provider's side of a login."""

    def __init__(self, web: Web, provider: Provider, session: aiohttp.ClientSession) -> None:
        self.provider = provider
        self._web = Web(web.server, session, web.gateway)
        self._web.seen = web.seen

    async def get(self, path: str, **how: Any) -> Answer:
        return await self._web.get(path, **how)

    async def post(self, path: str, values: Mapping[str, str]) -> Answer:
        return await self._web.request("POST", path, data=values)

    async def send(self, path: str, **fields: str) -> Answer:
        """Open a link, fill it in and send it."""
        token = form_token(await self.get(path))
        return await self.post(path, {"form_token": token} | {f"field.{name}": text for name, text in fields.items()})

    async def leave(self, path: str, **fields: str) -> dict[str, str]:
        """Send the form; return what the login URL asks the provider for."""
        answer = await self.send(path, **fields)
        assert answer.status == 200, answer.text
        url = answer.headers["Refresh"].removeprefix("0; url=")
        assert url == unescape(re.search(r'id="continue" href="([^"]+)"', answer.text)[1])  # type: ignore[index]
        assert url.startswith(f"{self.provider.url}/authorize?")
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        method = asked.get("code_challenge_method")
        self.provider.challenge = (method, asked["code_challenge"]) if method else None
        return asked

    async def come_back(self, app: str, **params: str) -> Answer:
        """Follow the provider's redirect; return our answer to it, which always leads to a clean URL."""
        answer = await self.get(f"/oauth/callback/{app}?{urlencode(params)}")
        assert answer.status == 303, answer.text
        assert "?" not in answer.headers["Location"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        return await self.get(answer.headers["Location"])

    async def login(self, app: str, path: str, **fields: str) -> Answer:
        """Connect with a code; return the page that it ends with."""
        asked = await self.leave(path, **fields)
        return await self.come_back(app, code=CODE, state=asked["state"])

    async def come_back_with_fragment(self, app: str, fragment: str) -> Answer:
        """Do what our script does with a fragment."""
        token = form_token(await self.get(f"/oauth/callback/{app}"))
        answer = await self.post(f"/oauth/callback/{app}", {"form_token": token, "fragment": fragment})
        assert answer.status == 303, answer.text
        return await self.get(answer.headers["Location"])


class House:
    """A listener with the real vault beside a provider, and as many browsers as a test wants."""

    def __init__(self, web: Web, provider: Provider) -> None:
        self.web = web
        self.provider = provider
        self.store = web.gateway.store
        self.gateway = web.gateway

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            yield Browser(self.web, self.provider, session)

    async def link(self, app: str, **how: Any) -> str:
        return await self.web.link(app, **how)

    async def connections(self) -> dict[str, str]:
        """Return the connections' labels by their ids."""
        return {row.id: row.label for row in (await self.store.connections.list()).items}


@asynccontextmanager
async def house(
    directory: Path, *, provider: Provider | None = None, apps: Iterable[str] = APPS, **how: Any
) -> AsyncIterator[House]:
    """Start a provider, unless there is one, and a listener that may reach it, with these of the apps."""
    if provider is None:
        provider = Provider()
        async with provider.serving(), house(directory, provider=provider, apps=apps, **how) as made:
            yield made
        return
    egress = Egress(allow_networks=["127.0.0.0/8"])
    try:
        async with running(directory, real_vault=True, egress=egress, **how) as web:
            for app in apps:
                text = APPS[app]
                findings = web.gateway.catalog.write(app, text.format(url=provider.url))
                assert findings == (), [str(finding) for finding in findings]
                if 'secret = "client_secret"' in text:
                    await web.api("PUT", f"/apps/{app}/secrets/client_secret", json={"value": CLIENT_SECRET})
            yield House(web, provider)
    finally:
        await egress.close()
