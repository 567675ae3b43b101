"""Every route of the application, enumerated: a new one is held to all of this without being named here.

What a route is given to work on is named in `PLACES`; a route with a parameter that has no place there fails.
"""

import asyncio
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from gateway.settings import Settings
from gateway.web.callback import FRAGMENT_POLICY
from gateway.web.headers import POLICY
from gateway.web.render import SCRIPT_POLICY
from tests.web.harness import ADMIN, Answer, Web, form_token, running

DEPLOY = Path(__file__).parents[2] / "deploy"

# What can be looked at, and what can't, for each route with a parameter.
PLACES = {
    "/clients/{name}": ["/clients/runner", "/clients/nothing"],
    "/clients/{name}/recipes": ["/clients/runner/recipes", "/clients/nothing/recipes"],
    "/clients/{name}/revoke": ["/clients/runner/revoke", "/clients/nothing/revoke"],
    "/connect/{token}": ["/connect/nothing"],
    "/connections/{id}": ["/connections/crm-ann", "/connections/nothing"],
    "/connections/{id}/disconnect": ["/connections/crm-ann/disconnect", "/connections/nothing/disconnect"],
    "/oauth/callback/{app}": [
        "/oauth/callback/login",
        "/oauth/callback/nothing",
        "/oauth/callback/login?code=x&state=y",
    ],
    "/oauth/refused/{why}": ["/oauth/refused/missing", "/oauth/refused/nothing"],
    "/static/{name}": [
        "/static/style.css",
        "/static/icon.svg",
        "/static/fragment.js",
        "/static/tail.js",
        "/static/tester.js",
        "/static/nothing",
    ],
    "/activity/requests/{id}": ["/activity/requests/1", "/activity/requests/nothing"],
    "/activity/events/{id}": ["/activity/events/1", "/activity/events/nothing"],
    "/apps/{app}": ["/apps/crm", "/apps/login", "/apps/nothing"],
    "/apps/{app}/text": ["/apps/crm/text", "/apps/nothing/text"],
    "/apps/{app}/allowed": ["/apps/crm/allowed"],
    "/apps/{app}/link": ["/apps/crm/link", "/apps/nothing/link"],
    "/apps/{app}/delete": ["/apps/crm/delete", "/apps/nothing/delete"],
    "/api/v1/apps/{app}": ["/api/v1/apps/crm", "/api/v1/apps/nothing"],
    "/api/v1/apps/{app}/secrets/{name}": ["/api/v1/apps/crm/secrets/x"],
    "/api/v1/connections/{id}": ["/api/v1/connections/crm-ann", "/api/v1/connections/nothing"],
    "/api/v1/connections/{id}/test": ["/api/v1/connections/crm-ann/test"],
    "/api/v1/connections/{id}/refresh": ["/api/v1/connections/crm-ann/refresh"],
    "/api/v1/clients/{name}": ["/api/v1/clients/runner", "/api/v1/clients/nothing"],
}
# Who needs no token: whoever watches over the gateway, is to trust its CA, has a link, signs in, or reads the document.
OPEN = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/ca.pem",
    "/sign-in",
    "/connect/{token}",
    "/oauth/callback/{app}",
    "/oauth/refused/{why}",
    "/static/{name}",
    "/api/v1/openapi.json",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"]
ELEMENTS = frozenset(
    {
        *(
            "html",
            "head",
            "meta",
            "title",
            "link",
            "script",
            "body",
            "header",
            "main",
            "section",
            "div",
            "a",
            "p",
            "span",
        ),
        *("h1", "h2", "h3", "strong", "code", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "noscript"),
        *("form", "label", "input", "select", "optgroup", "option", "button", "textarea", "fieldset", "legend"),
        *("nav", "ol", "dl", "dt", "dd", "pre", "time", "details", "summary", "caption", "small", "hr", "kbd"),
        *("figure", "figcaption", "svg", "desc", "path", "rect", "text", "template"),
    }
)
SCRIPTS = frozenset({"fragment.js", "tail.js", "tester.js"})
"""The scripts that there may be, each in a file of its own; what else a page does, it does without."""
OURS = re.compile(r"#.*|/(?![/\\]).*")
OUTSIDE = {"target": "_blank", "rel": "noopener noreferrer"}
"""Of a link that leaves a half-filled form or a code where they are: the page there learns nothing of ours."""


@dataclass(frozen=True)
class Route:
    method: str
    canonical: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes(web: Web) -> list[Route]:
    """Every route that the application's router knows, at each of its places."""
    found = []
    for route in web.server._runner.app.router.routes():
        canonical = route.resource.canonical
        assert "{" not in canonical or canonical in PLACES, f"{canonical} has no place in this test"
        found += [Route(route.method, canonical, path) for path in PLACES.get(canonical, [canonical])]
    return found


def is_passed_on(path: str, rule: dict[str, str]) -> bool:
    """By the Ingress's `pathType`; Prefix goes by whole segments."""
    return path == rule["path"] if rule["pathType"] == "Exact" else f"{path}/".startswith(f"{rule['path']}/")


async def test_the_ingress_passes_on_every_route_but_those_of_whoever_runs_it(web: Web):
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "replicas.yaml").read_text())
    (rule,) = next(one["spec"]["rules"] for one in documents if one["kind"] == "Ingress")
    rules = rule["http"]["paths"]
    kept = {route.canonical for route in routes(web) if not any(is_passed_on(route.canonical, one) for one in rules)}
    assert kept == {"/healthz", "/readyz", "/metrics"}


async def furnish(web: Web) -> str:
    """Make what the places name, and a link; return its path."""
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann", "fields": {}, "secrets": {}})
    await web.api("POST", "/clients", json={"name": "runner", "connections": ["*"]})
    return await web.link(id="crm-ann")


async def sign_in(web: Web) -> None:
    page = await web.get("/sign-in")
    await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})


async def state_of(web: Web) -> tuple[object, ...]:
    """Return what an attack could have changed: connections, clients, links, policies, the trail."""
    store = web.gateway.store
    return (
        await store.connections.list(),
        await store.clients.all(),
        (await store.events.list(limit=1)).items,
        dict(web.gateway.catalog.policies),
        [call for call in web.gateway.vault.calls if call[0] not in {"test", "explain"}],
    )


def faults_of(answer: Answer, path: str, *, secure: bool = False) -> list[str]:
    """Say what is wrong with the headers of an answer, and with its content where that is a page."""
    headers, faults = answer.headers, []
    policy = headers.get("Content-Security-Policy", "")
    if policy not in {POLICY, FRAGMENT_POLICY, SCRIPT_POLICY} or "unsafe" in policy:
        faults.append(f"policy {policy!r}")
    if policy != POLICY and answer.text and "<script" not in answer.text:
        faults.append("a script is allowed where there is none")
    expected = {
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache" if path.startswith("/static/") and answer.status == 200 else "no-store",
        "Server": "gateway",
    } | ({"Strict-Transport-Security": "max-age=31536000"} if secure else {})
    faults += [f"{name}: {headers.get(name)}" for name, value in expected.items() if headers.get(name) != value]
    faults += [name for name in headers if name.lower().startswith("access-control-")]
    if headers.get("Content-Type", "").startswith("text/html"):
        faults += page_faults(answer.text)
    return faults


class Page(HTMLParser):
    """Reads a page as a browser does, and notes what on it would run, be loaded, or lead elsewhere, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ELEMENTS:
            self.faults.append(f"<{tag}>")
        if tag == "script" and (given.pop("defer", None), given) not in [
            (None, {"src": f"/static/{name}"}) for name in SCRIPTS
        ]:
            self.faults.append(f"<script {given}>")
        if tag == "a" and OUTSIDE.items() <= given.items() and (given.get("href") or "").startswith("https://"):
            attrs = [pair for pair in attrs if pair[0] not in {"href", "target"}]
        for name, value in attrs:
            if name.startswith("on") or name in {"style", "srcdoc", "http-equiv", "target", "ping"}:
                self.faults.append(f"{name}={value}")
            elif (
                name in {"src", "href", "action", "formaction"}
                and not OURS.fullmatch(value or "")
                and given.get("id") != "continue"
            ):
                self.faults.append(f"{name} leads elsewhere: {value}")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and data.strip() and self.cdata_elem:
            self.faults.append(f"a script inside: {data}")


def page_faults(text: str) -> list[str]:
    """Say what is wrong with a page."""
    page = Page()
    page.feed(text)
    page.close()
    return page.faults


def test_the_search_for_what_a_page_must_not_have_finds_it():
    for bad in (
        "<script>alert(1)</script>",
        '<script src="/static/fragment.js">x</script>',
        '<script src="/static/other.js"></script>',
        "<p onclick=alert(1)>",
        '<p class="a"\nSTYLE="color: red">',
        "<style>p {}</style>",
        '<iframe srcdoc="x">',
        '<a href="javascript:alert(1)">',
        '<img src="https://evil.test/x">',
        '<form action="//evil.test">',
        '<form action="/\\evil.test">',
        '<button formaction="https://evil.test/x">',
        '<meta http-equiv="refresh" content="0; url=//evil.test">',
        '<a href="https://docs.test/">',
        '<a href="https://docs.test/" target="_blank">',
        '<a href="javascript:x" target="_blank" rel="noopener noreferrer">',
        '<form action="https://evil.test" target="_blank" rel="noopener noreferrer">',
    ):
        assert page_faults(bad), bad
    assert page_faults('<a href="https://docs.test/" target="_blank" rel="noopener noreferrer">x</a>') == []
    assert (
        page_faults('<a class="skip" href="#main">x</a><a href="/">x</a><script src="/static/fragment.js"></script>')
        == []
    )


@pytest.mark.parametrize("public_url", ["http://127.0.0.1:0", "https://gateway.example.com"])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_every_answer_of_every_route_keeps_to_itself(tmp_path, public_url, signed_in):
    secure = public_url.startswith("https")
    async with running(tmp_path, web={"listen": "127.0.0.1:0", "public_url": public_url}) as web:
        host, port = web.server.addresses[0]
        link = await _at(web, f"http://{host}:{port}")
        headers = {"Cookie": await _admins_cookie(web)} if signed_in else {}
        wrong = {}
        for route in [*routes(web), *(Route(method, "", link) for method in ("GET", "HEAD", "POST"))]:
            if route.path == "/sign-out":
                continue
            for given in ({}, {"Authorization": f"Bearer {ADMIN}"}):
                answer = await web.request(route.method, route.path, headers=headers | given)
                assert answer.status < 500, route
                if faults := faults_of(answer, route.path, secure=secure):
                    wrong[str(route), bool(given)] = faults
        assert wrong == {}


async def _at(web: Web, origin: str) -> str:
    """Ask the listener where it is rather than where browsers reach it; return a link's path."""
    public, web.server._origin[0] = web.server._origin[0], origin
    link = (await furnish(web)).removeprefix(public)
    return "/" + link.split("/", 3)[-1] if "://" in link else link


async def _admins_cookie(web: Web) -> str:
    sessions = next(value for key, value in web.server._runner.app.items() if key._name.endswith("sessions"))
    session = sessions.begin(admin=True)
    mac = sessions._mac(session, b"cookie")
    return f"{sessions.cookie}=a.{session.id}.{session.expires_at}.{mac}"


async def test_every_form_without_its_token_or_with_another_sessions_is_refused_and_changes_nothing(web):
    link = await furnish(web)
    foreign = form_token(await web.get("/sign-in"))
    web.forget_cookies()
    await sign_in(web)
    before = await state_of(web)
    forms = {route.path for route in routes(web) if route.method == "POST" and not route.path.startswith("/api/")}
    assert {"/sign-in", "/sign-out", "/connect"} < forms
    sent = {"app": "crm", "token": ADMIN, "field.account": "eve", "field.api_key": "x", "fragment": "access_token=x"}
    for path in [*forms, link]:
        for token in (None, "", "0" * 64, foreign, "\u0660" * 64, "é", foreign.upper(), foreign + "\x00"):
            given = sent | ({} if token is None else {"form_token": token})
            answer = await web.request("POST", path, data=given)
            assert answer.status == 403, (path, token)
            assert "Set-Cookie" not in answer.headers, (path, token)
        for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/xml", ""):
            answer = await web.request("POST", path, data=b'{"form_token": "x"}', headers={"Content-Type": kind})
            assert answer.status == 415, (path, kind)
    assert await state_of(web) == before
    assert (await web.get("/")).status == 200, "nobody was signed out"


async def test_every_form_that_another_site_sent_is_refused_with_its_token_too(web):
    link = await furnish(web)
    await sign_in(web)
    token = form_token(await web.get("/"))
    before = await state_of(web)
    forms = {route.path for route in routes(web) if route.method == "POST" and not route.path.startswith("/api/")}
    for path in [*forms, link]:
        for site in ("cross-site", "same-site", "nonsense", ""):
            sent = {"form_token": token, "app": "crm", "token": ADMIN}
            answer = await web.request("POST", path, data=sent, headers={"Sec-Fetch-Site": site})
            assert answer.status == 403, (path, site)
    assert await state_of(web) == before


async def test_every_route_but_the_open_ones_needs_the_token_or_a_session(web):
    await furnish(web)
    await web.get("/sign-in")  # a visitor's session
    before = await state_of(web)
    for route in routes(web):
        if route.canonical in OPEN:
            continue
        answer = await web.request(route.method, route.path, headers={"Content-Type": "application/json"}, data=b"{}")
        if route.path.startswith("/api/"):
            assert answer.status == 401, route
        elif route.method == "POST":
            assert answer.status in {403, 415}, route
        else:
            back = "" if route.path == "/" else f"?next={route.path}"
            assert (answer.status, answer.headers["Location"]) == (303, f"/sign-in{back}"), route
        assert "crm" not in answer.text, route
    assert await state_of(web) == before


async def test_no_byte_of_an_address_ends_a_header_of_its_answer(web):
    host, port = web.server.addresses[0]
    for path in ("/clients/%0d%0aSet-Cookie:%20gateway=planted", "/apps/a%0Ab/delete", "/connections/%0D", "/apps/%00"):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, _ = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        assert head.startswith("HTTP/1.1 303 "), path
        assert "Location: /sign-in?next=/" in head
        assert "\nSet-Cookie" not in head


async def test_a_session_opens_no_operation_of_the_api_and_the_token_no_page(web):
    await furnish(web)
    for route in routes(web):
        if route.canonical in OPEN or route.path.startswith("/api/") or route.method == "POST":
            continue
        answer = await web.request(route.method, route.path, headers={"Authorization": f"Bearer {ADMIN}"})
        assert answer.headers["Location"].partition("?")[0] == "/sign-in", route
    await sign_in(web)
    before = await state_of(web)
    for route in routes(web):
        if route.path.startswith("/api/") and route.canonical not in OPEN:
            assert (await web.request(route.method, route.path)).status == 401, route
    assert await state_of(web) == before


async def test_a_visitors_session_does_nothing_that_an_admins_does(web):
    """The form token of a connect page, which everybody with a link has, is one of this session's on every page."""
    link = await furnish(web)
    token = form_token(await web.get(link))
    before = await state_of(web)
    answer = await web.request("POST", "/connect", data={"form_token": token, "app": "crm"})
    assert (answer.status, await state_of(web)) == (401, before)


async def test_every_method_that_a_route_doesnt_have_is_refused_and_changes_nothing(web):
    await furnish(web)
    await sign_in(web)
    before = await state_of(web)
    known = {(route.method, route.path) for route in routes(web)}
    for path in {route.path for route in routes(web)} - {"/api/v1/apps/check"}:  # which is also an app's address
        for method in METHODS:
            if (method, path) in known or method == "CONNECT":
                continue
            answer = await web.request(method, path, headers={"Authorization": f"Bearer {ADMIN}"})
            assert answer.status in ({405, 404} if path.startswith("/api/") else {405}), (method, path)
            assert "Cookie" not in answer.text, "TRACE shows nothing that was sent"
            assert faults_of(answer, path) == [], (method, path)
    assert await state_of(web) == before


async def test_no_preflight_is_answered_with_leave(web):
    asked = {
        "Origin": "https://evil.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    for path in {route.path for route in routes(web)}:
        answer = await web.request("OPTIONS", path, headers=asked)
        assert answer.status in {401, 405}, path
        assert not [name for name in answer.headers if name.lower().startswith("access-control")], path


# Cookies.


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [("http://127.0.0.1:0", "gateway", False), ("https://gateway.example.com", "__Host-gateway", True)],
)
async def test_every_cookie_is_ours_alone_hidden_lax_and_secure_where_it_can_be(tmp_path, public_url, name, secure):
    async with running(tmp_path, web={"listen": "127.0.0.1:0", "public_url": public_url}) as web:
        host, port = web.server.addresses[0]
        web.server._origin[0] = f"http://{host}:{port}"
        given = [
            answer.cookies
            for route in routes(web)
            if route.method == "GET" and not route.path.startswith("/api/")
            for answer in [await web.get(route.path)]
            if answer.cookies
        ]
        assert given
        for cookies in given:
            assert list(cookies) == [name]
            (cookie,) = cookies.values()
            said = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"httponly", "samesite=lax", "path=/"} <= said
            assert ("secure" in said) is secure
            assert not [part for part in said if part.startswith(("domain", "max-age", "expires"))]


async def test_a_planted_session_is_not_the_one_that_signs_in(web):
    """Fixation: Eve gives Ann a cookie and a form of her session; Ann signs in; Eve's is a visitor's still."""
    page = await web.get("/sign-in")
    planted = page.cookies["gateway"].partition(";")[0]
    answer = await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})
    assert answer.status == 303
    fresh = answer.cookies["gateway"].partition(";")[0]
    assert planted.split(".")[1] != fresh.split(".")[1]
    web.forget_cookies()
    assert (await web.get("/", headers={"Cookie": planted})).headers["Location"] == "/sign-in"
    assert (await web.get("/", headers={"Cookie": fresh})).status == 200


async def test_signing_out_ends_the_session_for_whoever_copied_its_cookie(web):
    await sign_in(web)
    page = await web.get("/")
    copied = next(f"{one.key}={one.value}" for one in web._session.cookie_jar)
    answer = await web.request("POST", "/sign-out", data={"form_token": form_token(page)})
    assert 'gateway=""' in answer.cookies["gateway"]
    web.forget_cookies()
    assert (await web.get("/", headers={"Cookie": copied})).headers["Location"] == "/sign-in"
    sent = {"form_token": form_token(page), "app": "crm"}
    assert (await web.request("POST", "/connect", data=sent, headers={"Cookie": copied})).status == 403


async def test_a_cookie_tossed_from_elsewhere_doesnt_make_a_session(web):
    """Two of one name, names that differ by a letter, nonsense, and a cookie as large as a field may be."""
    await sign_in(web)
    good = next(f"{one.key}={one.value}" for one in web._session.cookie_jar)
    web.forget_cookies()
    bad = "gateway=a.AAAAAAAAAAAAAAAAAAAAAA.99999999999." + "0" * 64
    for cookie in (
        bad,
        f"{good}; {bad}",
        f"Gateway={good[8:]}",
        f"__Host-{good}",
        "gateway=" + "a" * 15_000,
        ";;=;,",
    ):
        assert (await web.get("/", headers={"Cookie": cookie})).headers["Location"] == "/sign-in", cookie
    assert (await web.get("/", headers={"Cookie": f"{bad}; {good}"})).status == 200, "the last one counts"


def test_the_policy_allows_nothing_unsafe():
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none';")
    assert "script-src" not in POLICY
    assert Settings().web.public_url.startswith("http://127.0.0.1")
