"""Takes a picture of each page: `make screenshots`. Phone and desktop width, light and dark, into `screenshots/`.

It runs a gateway, the tests' provider and their upstream of its own, and goes through the pages as a person does.
"""

import argparse
import contextlib
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import trustme

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e.harness.chromium import Watched, chromium, fill_in, sign_in  # noqa: E402 - found only now
from tests.e2e.harness.grants import App, House  # noqa: E402 - as above
from tests.e2e.harness.provider import Provider  # noqa: E402 - as above
from tests.e2e.harness.running import RunningGateway  # noqa: E402 - as above
from tests.e2e.harness.upstream import Upstream  # noqa: E402 - as above

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")


@contextlib.contextmanager
def running(directory: Path):
    """A gateway with its provider and upstream, and a few apps and connections to look at."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(tls)
    with contextlib.ExitStack() as stack:
        provider = Provider(directory)
        stack.callback(provider.close)
        upstream = Upstream(tls, provider.in_force)
        stack.callback(upstream.close)
        gateway = RunningGateway(directory / "gateway", trust=directory / "ca.pem", policies={})
        gateway.start()
        stack.callback(gateway.stop)
        client = gateway.client("runner", "*")
        house = House(gateway=gateway, provider=provider, upstream=upstream, ca=directory / "ca.pem", client=client)
        stack.callback(house.close)
        yield house


class Pictures:
    """Each method brings one page up in a fresh browser window."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.crm = house.app("authorization_code", title="Example CRM", name="crm")
        self.board = house.app("implicit", title="Pinboard", name="pinboard")
        self.legacy = house.app("password", title="Legacy Books", name="legacy-books")
        self.machine = house.app("client_credentials", title="Warehouse", name="warehouse")
        self.john = house.person("John Doe")
        house.connect(self.crm, self.john, id="crm-john")
        house.connect(self.machine, id="warehouse-main")
        house.connect(self.legacy, house.person("Mary Major"), id="books-mary")
        house.connect(self.board, self.john, id="pinboard-john")
        house.provider.ask("forget_refresh_tokens", client_id=self.legacy.application.client_id)
        house.provider.revoke(self.legacy.application)
        house.call("books-mary")
        house.call("crm-john")

    @property
    def all(self) -> dict[str, Callable[[Watched], None]]:
        """Every page by the name of its picture."""
        names = [name for name in vars(type(self)) if name not in ("all", "url") and not name.startswith("_")]
        return {name: getattr(self, name) for name in names}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.house.gateway.web_port}{path}"

    def _open(self, browser: Watched, app: App, **wanted) -> None:
        browser.page.goto(self.house.link(app, **wanted))

    def _allow(self, browser: Watched, name: str) -> None:
        browser.page.click("input[name=allow]")
        browser.page.wait_for_selector(f"h1:has-text('{name}')")

    def _sign_in(self, browser: Watched) -> None:
        browser.page.goto(self.url("/sign-in"))
        browser.page.fill("#token", self.house.gateway.admin_token)
        browser.page.click("main button")
        browser.page.wait_for_selector("h1:has-text('Overview')")

    def connect_login(self, browser: Watched) -> None:
        self._open(browser, self.crm)

    def connect_form(self, browser: Watched) -> None:
        self._open(browser, self.machine, fields={"environment": "sandbox"})

    def connect_errors(self, browser: Watched) -> None:
        self._open(browser, self.legacy)
        browser.page.evaluate("document.querySelectorAll('[required]').forEach(one => one.required = false)")
        fill_in(browser.page, {"username": "", "password": ""})
        browser.page.wait_for_selector("[role=alert]")

    def connect_refused(self, browser: Watched) -> None:
        self._open(browser, self.legacy)
        fill_in(browser.page, {"username": "mary", "password": "wrong"})
        browser.page.wait_for_selector("[role=alert]")

    def reconnect(self, browser: Watched) -> None:
        self._open(browser, self.crm, id="crm-john")

    def connected(self, browser: Watched) -> None:
        self._open(browser, self.crm)
        fill_in(browser.page, {})
        sign_in(browser.page, self.house.person("Jane Roe"))
        self._allow(browser, "Connected as Jane Roe")

    def connected_again(self, browser: Watched) -> None:
        self._open(browser, self.crm)
        fill_in(browser.page, {})
        sign_in(browser.page, self.john)
        self._allow(browser, "Connected as John Doe")

    def provider_refused(self, browser: Watched) -> None:
        self._open(browser, self.crm)
        fill_in(browser.page, {})
        sign_in(browser.page, self.john)
        browser.page.click("input[type=submit]:not([name])")
        browser.page.wait_for_selector("[role=alert]")

    def leaving(self, browser: Watched) -> None:
        def stay(route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, headers={k: v for k, v in answer.headers.items() if k != "refresh"})

        browser.context.route("**/connect/*", stay)
        self._open(browser, self.crm)
        fill_in(browser.page, {})
        browser.page.wait_for_selector("h1:has-text('Going to')")

    def link_used(self, browser: Watched) -> None:
        where = self.house.link(self.machine)
        visitor = self.house.visitor()
        visitor.submit(visitor.get(where), **self.house.what_to_fill_in(self.machine, self.john))
        browser.page.goto(where)

    def link_expired(self, browser: Watched) -> None:
        self._open(browser, self.crm, expires_in=1)
        browser.page.wait_for_timeout(1100)
        browser.page.reload()

    def link_unknown(self, browser: Watched) -> None:
        browser.page.goto(self.url("/connect/gwl_" + "A" * 43))

    def login_refused(self, browser: Watched) -> None:
        browser.page.goto(self.url("/oauth/refused/other-browser"))

    def implicit_callback(self, browser: Watched) -> None:
        browser.context.route("**/fragment.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
        browser.page.goto(self.board.callback)

    def implicit_nothing(self, browser: Watched) -> None:
        browser.page.goto(self.board.callback)

    def signing_in(self, browser: Watched) -> None:
        browser.page.goto(self.url("/sign-in"))

    def signing_in_refused(self, browser: Watched) -> None:
        browser.page.goto(self.url("/sign-in"))
        browser.page.fill("#token", "not the token")
        browser.page.click("main button")

    def overview(self, browser: Watched) -> None:
        self._sign_in(browser)

    def not_found(self, browser: Watched) -> None:
        browser.page.goto(self.url("/nothing-here"))


def main() -> None:
    """Take the pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the pictures to take; left out: all")
    parser.add_argument("--into", type=Path, default=ROOT / "screenshots")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as house, chromium() as browser:
        pictures = Pictures(house).all
        for name in given.names or pictures:
            for size, (width, height) in SIZES.items():
                for scheme in SCHEMES:
                    watched = Watched(browser, viewport={"width": width, "height": height}, color_scheme=scheme)
                    pictures[name](watched)
                    file = given.into / f"{name}-{size}-{scheme}.png"
                    watched.page.screenshot(path=file, full_page=True)
                    wide = watched.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    print(file, f"is {wide} px too wide" if wide > 0 else "")  # noqa: T201 - says what it made
                    watched.close()


if __name__ == "__main__":
    main()
