"""The whole story of each grant, on the pages alone, in real Chromium at a real provider.

An operator sets the app up, connects an account, makes a client, calls through the proxy with it, watches it in the
tail, sees what a revocation behind the gateway's back comes to, and ends it. No test here is a coroutine, see
`chromium`.
"""

import pytest

from tests.e2e.harness.chromium import Watched, chromium, fill_in, sign_in
from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.grants import BY_LOGIN, House
from tests.e2e.harness.provider import Application, Person
from tests.e2e.harness.running import Answer

GRANTS = ("authorization_code", "implicit", "password", "client_credentials")


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


class Story:
    """One grant's. Each method is a chapter; `page` is the operator's, `tail` the window in which she watches."""

    def __init__(self, browser, house: House, grant: str) -> None:
        self.house, self.grant = house, grant
        self.name = f"story-{grant.replace('_', '-')}"
        self.site = f"http://127.0.0.1:{house.gateway.web_port}"
        self.operator = Watched(browser)
        self.page, self.tail = self.operator.page, self.operator.context.new_page()
        self.person: Person = house.person("Stella Story")
        self.application: Application = house.provider.create_application(
            self.name,
            grant=grant.replace("_", "-"),
            redirect_uris=f"{self.site}/oauth/callback/{self.name}" if grant in BY_LOGIN else "",
        )
        self.connection = self.token = ""

    def go(self, path: str) -> None:
        self.page.goto(self.site + path)

    def signs_in(self) -> None:
        self.go("/sign-in")
        self.page.fill("#token", self.house.gateway.admin_token)
        self.page.click("main button")
        self.page.wait_for_selector("h1:has-text('Dashboard')")

    def sets_the_app_up(self) -> None:
        page, house = self.page, self.house
        self.go("/apps/new")
        page.fill("#scratch-name", self.name)
        page.fill("#scratch-base_url", f"{house.upstream.http}/v1")
        page.check(f"#grant-{self.grant}")
        page.click("form[aria-labelledby=way-scratch] button")
        assert page.inner_text("h1") == f"Set up {self.name}"
        if self.grant in BY_LOGIN:
            assert f"{self.site}/oauth/callback/{self.name}" in page.inner_text("#step-redirect")
            page.fill("#auth-authorize-url", house.provider.login_url)
            page.fill("#auth-authorize-scopes", "read\nwrite")
        if self.grant != "client_credentials":
            page.fill("#auth-client_id-secret", self.application.client_id)
        if self.grant not in {"client_credentials", "implicit"}:
            page.fill("#auth-client_secret-secret", self.application.client_secret)
        if self.grant != "implicit":
            page.fill("#auth-token-url", house.provider.token_url)
        page.fill("#auth-revoke-url", house.provider.revoke_url)
        page.fill("#test-url", house.provider.me_url)
        page.click("#step-allow > .actions button")
        page.fill("#allow-urls-1", house.provider.me_url)
        page.fill("#connection-label", "{{ test.profile.real_name }}")
        page.fill("#connection-unique_id", "{{ test.id }}")

    def connects(self, heading: str) -> None:
        """Go through what a person sees, from the connect page on."""
        page = self.page
        page.wait_for_selector(f"h1:has-text('{heading}')")
        if self.grant == "client_credentials":
            own = {"client_id": self.application.client_id, "client_secret": self.application.client_secret}
            fill_in(page, own)
        elif self.grant == "password":
            fill_in(page, {"username": self.person.username, "password": self.person.password})
        else:
            fill_in(page, {})
            page.wait_for_selector("input[name=username], input[name=allow]")
            if page.locator("input[name=username]").count():  # the provider knows her the second time
                sign_in(page, self.person)
            page.click("input[name=allow]")
        page.wait_for_selector("h1:has-text('Connected as')")
        self.connection = page.inner_text("main code")

    def makes_a_client(self) -> None:
        page = self.page
        self.go("/clients/_new")
        page.fill("#name", f"{self.name}-runner")
        page.fill("#patterns", self.connection)
        page.click("button[value=make]")
        page.wait_for_selector("h1:has-text('may call now')")
        self.token = page.inner_text(".token .copy").strip()

    def watches(self) -> None:
        self.tail.goto(f"{self.site}/activity?connection={self.connection}")
        self.tail.wait_for_selector("#tail-state.live")

    def calls(self, path: str) -> Answer:
        proxy = f"http://{self.connection}:{self.token}@127.0.0.1:{self.house.gateway.port}"
        way = Route(entrance="absolute", base=self.house.upstream.http, ca=self.house.ca, proxy=proxy)
        answer = CLIENTS[0].send(way, "GET", path)
        self.tail.wait_for_selector(f".entry:has-text('{path}')")
        return answer

    def sees(self, path: str) -> str:
        return self.tail.inner_text(f".entry:has-text('{path}')")

    def ends_it(self) -> None:
        page = self.page
        self.go(f"/connections/{self.connection}/disconnect")
        page.fill("#confirm", self.connection)
        page.click("main button")
        page.wait_for_selector(".status.disconnected")


@pytest.mark.parametrize("grant", GRANTS)
def test_the_whole_story_of_a_grant(house, browser, grant):
    story = Story(browser, house, grant)
    page = story.page
    story.signs_in()
    story.sets_the_app_up()
    page.click("#step-connect button")
    story.connects(f"Connect {story.name}")
    story.makes_a_client()
    story.watches()
    assert story.calls("/v1/first").status == 200
    assert "200" in story.sees("/v1/first")
    credential = house.upstream.only().values("Authorization")[0].decode().removeprefix("Bearer ")
    assert credential in house.provider.tokens(story.application)

    house.provider.revoke(story.application)
    answer = story.calls("/v1/after")
    if grant == "implicit":
        assert answer.status == 401, "the service's own: there is nothing to renew the token with"
        story.go(f"/connections/{story.connection}")
        page.click("form:has(input[value=link]) button")
        page.goto(page.inner_text("pre.copy").strip())
        story.connects(f"Reconnect {story.name}")
        answer = story.calls("/v1/mended")
    else:
        assert "refreshed" in story.sees("/v1/after").lower()
    assert answer.status == 200
    story.go(f"/connections/{story.connection}")
    assert page.locator(".status.active").count() == 1

    story.ends_it()
    assert story.calls("/v1/ended").status == 403
    assert not {credential, story.token} & {word for url in story.operator.asked for word in url.split("/")}
    story.operator.close()
