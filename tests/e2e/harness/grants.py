"""Apps of each grant at the real provider, and everything that happens around connecting to one."""

import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.harness.clients import CLIENTS, Route
from tests.e2e.harness.provider import Application, Person, Provider
from tests.e2e.harness.running import Answer, RunningGateway, until
from tests.e2e.harness.upstream import Upstream
from tests.e2e.harness.visitor import Page, Visitor

_numbers = itertools.count(1)

# What every grant has: a choice of fields, the test call, who it is, and parameters in each place.
COMMON = """
name = "{name}"
base_url = "{upstream}/v1"
[allow]
urls = ["{upstream}/v1", "{me}"]
[[fields]]
name = "environment"
label = "Environment"
help = "Leave it as it is unless you were told otherwise."
choices = ["sandbox", "production"]
default = "production"
required = false
{fields}
[auth]
grant = "{grant}"
client_id = {client_id}
client_secret = {client_secret}
{auth}
[auth.revoke]
url = "{revoke}"
token = "{revoked}"
[test]
url = "{me}"
expect = {{ status = [200], path = "id" }}
[connection]
label = "{{{{ authData.testcode.profile.real_name }}}}"
unique_id = "{{{{ authData.testcode.id }}}}"
[inject.headers]
X-Environment = "{{{{ environment }}}}"
[inject.headers.Authorization]
js = '''
function returnApiKey() {{ return `Bearer ${{context.authData?.access_token}}`; }}
return returnApiKey();
'''
[inject.query]
api_version = "2"
[inject.body]
version = "v2"
"""
AUTHORIZE = """
[auth.authorize]
url = "{login}"
scopes = ["read", "write"]
scope_words = {{ read = "Read your orders", write = "Change your orders" }}
pkce = "{pkce}"
"""
DEVICE = """
[auth.device]
url = "{device}"
scopes = ["read", "write"]
"""
TOKEN = """
[auth.token]
url = "{token}"
client_auth = "{client_auth}"
"""
OWN_CLIENT = """
[[fields]]
name = "client_id"
label = "Client ID"
help = "In the developer portal, under Applications."
[[fields]]
name = "client_secret"
label = "Client secret"
secret = true
"""
PASSWORD = """
[[fields]]
name = "username"
label = "User name"
[[fields]]
name = "password"
label = "Password"
secret = true
"""
GRANT_TYPES = {"device_code": "urn:ietf:params:oauth:grant-type:device_code"}
"""What the provider calls a grant, where that isn't its name with hyphens."""
BY_LOGIN = ("authorization_code", "implicit")


@dataclass(frozen=True, kw_only=True)
class App:
    """An app that people can connect to: its name in the gateway, and the application at the provider."""

    name: str
    title: str
    grant: str
    application: Application
    callback: str

    @property
    def by_login(self) -> bool:
        return self.grant in BY_LOGIN


@dataclass(frozen=True, kw_only=True)
class House:
    """A gateway with its provider and its upstream, and the browsers of the people who connect."""

    gateway: RunningGateway
    provider: Provider
    upstream: Upstream
    ca: Path
    client: str
    visitors: list[Visitor] = field(default_factory=list)

    def close(self) -> None:
        """Close the browsers."""
        for one in self.visitors:
            one.close()

    def app(
        self,
        grant: str,
        *,
        lifetime: int | None = None,
        pkce: str = "S256",
        client_auth: str = "basic",
        revoked: str = "access_token",
        title: str = "Orders",
        name: str = "",
        replacing: Mapping[str, str] | None = None,
    ) -> App:
        """Register an application of this grant, write its policy (with some of it replaced), and set its secret."""
        name = name or f"{grant.replace('_', '-')}-{next(_numbers)}"
        callback = f"http://127.0.0.1:{self.gateway.web_port}/oauth/callback/{name}"
        own = grant == "client_credentials"
        application = self.provider.create_application(
            title,
            grant=GRANT_TYPES.get(grant, grant.replace("_", "-")),
            redirect_uris=callback if grant in BY_LOGIN else "",
            lifetime=lifetime,
        )
        text = COMMON.format(
            name=title,
            upstream=self.upstream.http,
            me=self.provider.me_url,
            fields=OWN_CLIENT if own else PASSWORD if grant == "password" else "",
            grant=grant,
            client_id='{ field = "client_id" }' if own else f'"{application.client_id}"',
            client_secret='{ field = "client_secret" }' if own else '{ secret = "client_secret" }',
            auth=(AUTHORIZE.format(login=self.provider.login_url, pkce=pkce) if grant in BY_LOGIN else "")
            + (DEVICE.format(device=self.provider.device_url) if grant == "device_code" else "")
            + (TOKEN.format(token=self.provider.token_url, client_auth=client_auth) if grant != "implicit" else ""),
            revoke=self.provider.revoke_url,
            revoked=revoked,
        )
        for old, new in (replacing or {}).items():
            assert old in text
            text = text.replace(old, new)
        written = self.gateway.api("PUT", f"/apps/{name}", {"policy": text})
        assert written.status == 201, written.body
        if not own:
            put = self.gateway.api("PUT", f"/apps/{name}/secrets/client_secret", {"value": application.client_secret})
            assert put.status == 204, put.body
        return App(name=name, title=title, grant=grant, application=application, callback=callback)

    def person(self, name: str = "John Doe") -> Person:
        return self.provider.create_person(name)

    def link(self, app: App, **given) -> str:
        """Make a connect link and return its URL."""
        made = self.gateway.api("POST", "/connect-links", {"app": app.name, **given})
        assert made.status == 201, made.body
        return made.json()["url"]

    def connections(self, app: App) -> list[dict]:
        return self.gateway.api("GET", f"/connections?app={app.name}").json()["items"]

    def connection(self, app: App) -> dict:
        """Return the app's one connection."""
        (only,) = self.connections(app)
        return only

    def call(self, connection: str, method: str = "GET", path: str = "/v1/json", **given) -> Answer:
        """Call the upstream through the proxy, as a client that may use every connection."""
        proxy = f"http://{connection}:{self.client}@127.0.0.1:{self.gateway.port}"
        way = Route(entrance="absolute", base=self.upstream.http, ca=self.ca, proxy=proxy)
        return CLIENTS[0].send(way, method, path, **given)

    def visitor(self) -> Visitor:
        """Open a browser without scripts that nobody knows yet."""
        self.visitors.append(Visitor())
        return self.visitors[-1]

    def what_to_fill_in(self, app: App, person: Person) -> dict[str, str]:
        """Return what the app's form asks of this person."""
        if app.grant == "password":
            return {"username": person.username, "password": person.password}
        if app.grant == "client_credentials":
            return {"client_id": app.application.client_id, "client_secret": app.application.client_secret}
        return {}

    def type_in(self, browser: Visitor, page: Page, person: Person, *, action: str = "accept") -> Page:
        """Type the code of a page in at the provider's, in another browser; returns the page that it becomes then."""
        code, where, *_ = page.copied
        self.visitor().type_in(code, where, person, action=action)
        until(lambda: not browser.get(page.url).copied, within=15, what="the page with the code looks again")
        return browser.get(page.url)

    def connect(self, app: App, person: Person | None = None, *, by: Visitor | None = None, **wanted) -> Page:
        """Go through everything that a person sees, by plain HTTP; returns the last page."""
        browser, person = by or self.visitor(), person or self.person()
        page = browser.submit(browser.get(self.link(app, **wanted)), **self.what_to_fill_in(app, person))
        if app.grant == "device_code":
            return self.type_in(browser, page, person)
        if not app.by_login:
            return page
        return come_back(browser, browser.allow(browser.sign_in(page.links["continue"], person), follow=False))


def come_back(browser: Visitor, answered: Page) -> Page:
    """Follow the provider's answer; a fragment is posted from the page that stands there, as its script does."""
    address, _, fragment = answered.headers["Location"].partition("#")
    page = browser.get(address)
    return browser.submit(page, fragment=fragment) if fragment else page


@contextmanager
def waiting_for_a_link(gateway: RunningGateway, app: App) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `gateway connect APP`, which waits for a person; gives the process and the link that it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "connect", app.name],
        cwd=gateway.directory,
        env=gateway.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        try:
            yield waiting, waiting.stdout.readline().strip()
        finally:
            waiting.kill()
