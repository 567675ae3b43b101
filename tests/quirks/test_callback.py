"""A login whose page stands behind a route, and whose callback has names of its own: the whole way of a browser."""

from html import unescape
from pathlib import Path

from tests.quirks.provider import query_of
from tests.web.browser import house
from tests.web.provider import CLIENT_SECRET, CODE, CODE_APP

LOGIN = """
[auth.authorize]
url = "{url}/authorize"
fragment = "/oauth/allow"
pkce = "off"
scopes = ["read", "write"]
scope_separator = "|"
names = {{ state = "csrf", redirect_uri = "back_to" }}
response = {{ code = "auth_code", state = "csrf", error = "problem", error_description = "why" }}
"""
POLICY = CODE_APP[: CODE_APP.index("[auth.authorize]")] + LOGIN.lstrip() + CODE_APP[CODE_APP.index("[auth.token]") :]


async def test_a_code_comes_back_by_the_providers_own_names_and_by_no_other(tmp_path: Path) -> None:
    async with house(tmp_path, apps=()) as made, made.browser() as ann:
        assert made.gateway.catalog.write("quirk", POLICY.format(url=made.provider.url)) == ()
        await made.web.api("PUT", "/apps/quirk/secrets/client_secret", json={"value": CLIENT_SECRET})

        async def leave() -> tuple[str, dict[str, str]]:
            path = await made.link("quirk")
            url = (await ann.send(path, region="eu")).headers["Refresh"].removeprefix("0; url=")
            return unescape(url), query_of(url)

        url, asked = await leave()
        assert url.startswith(f"{made.provider.url}/authorize#/oauth/allow?")
        assert asked.pop("back_to").endswith("/oauth/callback/quirk")
        state = asked.pop("csrf")
        assert asked == {"response_type": "code", "client_id": "gateway", "scope": "read|write"}

        said = await ann.come_back("quirk", state=state, code=CODE)
        assert said.status == 400, "neither of these is what the provider says"
        said = await ann.come_back("quirk", csrf=state, code=CODE)
        assert "neither a code nor an error" in said.text
        _, asked = await leave()
        said = await ann.come_back("quirk", csrf=asked["csrf"], problem="denied", why="Not today.")
        assert "Not today." in said.text
        _, asked = await leave()
        said = await ann.come_back("quirk", csrf=asked["csrf"], auth_code=CODE, iss=made.provider.url)
        assert "Ann Ash" in said.text
        assert await made.connections() != {}
