"""Every page, each brought up as a person would see it: for pictures, and for what must hold of all of them.

A new page gets a method here; `make screenshots` and `test_every_page.py` then know it.
"""

import contextlib
import itertools
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme

from tests.e2e.harness.a_day import add_a_day
from tests.e2e.harness.chromium import Watched, fill_in, sign_in
from tests.e2e.harness.grants import App, House
from tests.e2e.harness.provider import Provider
from tests.e2e.harness.running import RunningGateway
from tests.e2e.harness.upstream import Upstream

SHARES = {
    ("app", "crm"): 0.5,
    ("app", "legacy-books"): 0.3,
    ("app", "warehouse"): 0.2,
    ("connection", "crm-john"): 0.5,
    ("connection", "books-mary"): 0.3,
    ("connection", "warehouse-main"): 0.2,
    ("client", "runner"): 1.0,
}
KINDS = """
[[fields]]
name = "site"
label = "Your site"
help = "As in your browser's address."
pattern = "[a-z0-9-]+"
example = "acme"
prefix = "https://"
suffix = ".service-desk.example.com"
docs = "https://example.com/where-to-find-it"
[[fields]]
name = "owner"
label = "Owner"
kind = "email"
example = "ann@example.com"
group = "For large organisations"
[[fields]]
name = "server"
label = "Server of your own"
kind = "url"
required = false
group = "For large organisations"
"""
_numbers = itertools.count(1)


@contextlib.contextmanager
def furnished(directory: Path) -> Iterator[House]:
    """Run a gateway with its provider and upstream."""
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


class Gallery:
    """A few apps and connections to look at; each method brings one page up in a fresh browser window."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._session: list = []
        self.crm = house.app("authorization_code", title="Example CRM", name="crm")
        self.board = house.app("implicit", title="Pinboard", name="pinboard")
        self.legacy = house.app("password", title="Legacy Books", name="legacy-books")
        self.machine = house.app("client_credentials", title="Warehouse", name="warehouse")
        self.device = house.app("device_code", title="Projector", name="projector")
        self.desk = house.app("password", title="Service Desk", name="desk", replacing={"[auth]\n": KINDS + "[auth]\n"})
        self.john = house.person("John Doe")
        house.connect(self.crm, self.john, id="crm-john")
        house.connect(self.machine, id="warehouse-main")
        house.connect(self.legacy, house.person("Mary Major"), id="books-mary")
        house.connect(self.board, self.john, id="pinboard-john")
        house.provider.ask("forget_refresh_tokens", client_id=self.legacy.application.client_id)
        house.provider.revoke(self.legacy.application)
        house.call("books-mary")
        house.call("crm-john")
        house.call("crm-john", path="/admin/keys")
        house.connect(self.crm, house.person("Gone Smith"), id="crm-gone")
        house.gateway.api("DELETE", "/connections/crm-gone")
        house.call("crm-john", "POST", "/v2/orders")
        add_a_day(f"sqlite:///{house.gateway.directory}/data/gateway.db", SHARES)

    @property
    def all(self) -> dict[str, Callable[[Watched], None]]:
        """Every page by its name."""
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
        """Sign in by the page the first time; later windows get that session's cookie."""
        if self._session:
            browser.context.add_cookies(self._session)
            return
        browser.page.goto(self.url("/sign-in"))
        browser.page.fill("#token", self.house.gateway.admin_token)
        browser.page.click("main button")
        browser.page.wait_for_selector("h1:has-text('Dashboard')")
        self._session = browser.context.cookies()

    def _at(self, browser: Watched, path: str) -> None:
        self._sign_in(browser)
        browser.page.goto(self.url(path))

    def _do(self, browser: Watched, connection: str, what: str) -> None:
        self._at(browser, f"/connections/{connection}")
        browser.page.click(f"form:has(input[value={what}]) button")

    def connect_login(self, browser: Watched) -> None:
        self._open(browser, self.crm)

    def connect_form(self, browser: Watched) -> None:
        self._open(browser, self.machine, fields={"environment": "sandbox"})

    def connect_kinds(self, browser: Watched) -> None:
        self._open(browser, self.desk)

    def connect_code(self, browser: Watched) -> None:
        self._open(browser, self.device)
        fill_in(browser.page, {})
        browser.page.wait_for_selector("h1:has-text('Your code for')")
        browser.page.goto(browser.page.url + "?still=1")

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

    def dashboard(self, browser: Watched) -> None:
        self._at(browser, "/")

    def connections(self, browser: Watched) -> None:
        self._at(browser, "/connections")

    def connections_none_fits(self, browser: Watched) -> None:
        self._at(browser, "/connections?search=nobody&app=crm")

    def connection(self, browser: Watched) -> None:
        self._at(browser, "/connections/crm-john")

    def connection_ended(self, browser: Watched) -> None:
        self._at(browser, "/connections/crm-gone")

    def connection_refused(self, browser: Watched) -> None:
        self._do(browser, "books-mary", "refresh")
        browser.page.wait_for_selector("[role=alert]")

    def connection_link(self, browser: Watched) -> None:
        self._do(browser, "books-mary", "link")
        browser.page.wait_for_selector("pre.copy")

    def connection_explained(self, browser: Watched) -> None:
        self._at(browser, "/connections/crm-john")
        browser.page.fill("#url", "/users?page=2")
        browser.page.click("form.ask button")
        browser.page.wait_for_selector("text=Sent to")

    def disconnecting(self, browser: Watched) -> None:
        self._at(browser, "/connections/crm-john/disconnect")
        browser.page.fill("#confirm", "crm-jon")
        browser.page.click("main button")
        browser.page.wait_for_selector("#confirm-error")

    def _clients(self, browser: Watched, path: str = "") -> None:
        self._sign_in(browser)
        browser.page.goto(self.url(f"/clients{path}"))

    def clients(self, browser: Watched) -> None:
        self._clients(browser)

    def clients_revoked(self, browser: Watched) -> None:
        self._clients(browser, "?revoked=1")

    def client_new(self, browser: Watched) -> None:
        self._clients(browser, "/_new")

    def client_new_errors(self, browser: Watched) -> None:
        self._clients(browser, "/_new")
        browser.page.fill("#name", "runner")
        browser.page.fill("#patterns", "crm-*\nwarehouse-*\nnothing-*")
        browser.page.click("button[value=make]")
        browser.page.wait_for_selector("[role=alert]")

    def client_made(self, browser: Watched) -> None:
        self._clients(browser, "/_new")
        browser.page.fill("#name", f"nightly-report-{next(_numbers)}")
        browser.page.check("input[name='use.crm-john']")
        browser.page.fill("#patterns", "warehouse-*")
        browser.page.click("button[value=make]")
        browser.page.wait_for_selector("h1:has-text('may call now')")

    def client(self, browser: Watched) -> None:
        self._clients(browser, "/runner")

    def client_revoke(self, browser: Watched) -> None:
        self._clients(browser, "/runner/revoke")

    def apps(self, browser: Watched) -> None:
        self._at(browser, "/apps")

    def apps_link(self, browser: Watched) -> None:
        self._at(browser, "/apps")
        browser.page.click("#app-crm form[action$='/link'] button")

    def apps_delete(self, browser: Watched) -> None:
        self._at(browser, "/apps/crm/delete")

    def setup_new(self, browser: Watched) -> None:
        self._at(browser, "/apps/new")

    def setup_shipped(self, browser: Watched) -> None:
        self._at(browser, "/apps/new")
        browser.page.select_option("#shipped-shipped", "github")
        browser.page.click("form[aria-labelledby=way-shipped] button")

    def setup_scratch(self, browser: Watched) -> None:
        self._at(browser, "/apps/new")
        browser.page.fill("#scratch-name", "My CRM")
        browser.page.click("form[aria-labelledby=way-scratch] button")

    def setup_faults(self, browser: Watched) -> None:
        self.setup_scratch(browser)
        browser.page.click("button[value='add:fields']")
        browser.page.fill("#auth-token-url", "http://crm.example.com/token")
        browser.page.click(".saving button[value=check]")

    def setup_done(self, browser: Watched) -> None:
        self._at(browser, f"/apps/{self.crm.name}")

    def setup_tried(self, browser: Watched) -> None:
        self._at(browser, f"/apps/{self.crm.name}")
        browser.page.click("button[value=try]")
        browser.page.wait_for_selector("#tried [role=status]")

    def setup_text(self, browser: Watched) -> None:
        self._at(browser, f"/apps/{self.crm.name}/text")

    def not_found(self, browser: Watched) -> None:
        browser.page.goto(self.url("/nothing-here"))

    def _activity(self, browser: Watched, query: str = "") -> None:
        self._sign_in(browser)
        browser.page.goto(self.url(f"/activity{query}"))
        browser.page.wait_for_selector("#tail-state.live")

    def _entry(self, browser: Watched, words: str) -> None:
        self._activity(browser, "?connection=crm-john")
        browser.page.click(f".entry:has-text('{words}') a")
        browser.page.wait_for_selector("h1:not(:has-text('Activity'))")

    def activity(self, browser: Watched) -> None:
        self._activity(browser)

    def activity_paused(self, browser: Watched) -> None:
        self._activity(browser, "?connection=crm-john")
        browser.page.click("#tail-pause")
        self.house.call("crm-john")
        browser.page.wait_for_selector("#tail-waiting")

    def activity_nothing_fits(self, browser: Watched) -> None:
        self._activity(browser, "?client=nobody")

    def activity_request(self, browser: Watched) -> None:
        self._entry(browser, "/v1/json")

    def activity_refused(self, browser: Watched) -> None:
        self._entry(browser, "/v2/orders")

    def activity_event(self, browser: Watched) -> None:
        self._entry(browser, "An account was connected")
