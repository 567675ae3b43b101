"""Connecting in real Chromium: what only a browser can show. No test here is a coroutine, see `chromium`."""

from urllib.parse import urlsplit

import pytest

from tests.e2e.harness.chromium import Watched, chromium, fill_in, sign_in
from tests.e2e.harness.running import until
from tests.e2e.harness.visitor import query_of

BY_LOGIN = ["authorization_code", "implicit"]
EVIL = "http://localhost:9"  # another site; its pages come from the test itself


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def people(browser):
    """Open browser contexts, one for each person."""
    opened = []

    def make(**options) -> Watched:
        opened.append(Watched(browser, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def ann(people) -> Watched:
    return people()


@pytest.fixture
def eve(people) -> Watched:
    """Somebody else, with a browser of her own."""
    return people()


def heading(page) -> str:
    return page.inner_text("h1")


def to_consent(watched: Watched, where: str, person) -> None:
    """Open a connect link and sign in at the provider."""
    watched.page.goto(where)
    fill_in(watched.page, {})
    sign_in(watched.page, person)


def caught(watched: Watched) -> str:
    """Allow at the consent page, and keep the provider's answer from the gateway: return the URL that it names."""
    kept = []

    def keep(route) -> None:
        kept.append(route.fetch(max_redirects=0).headers["location"])
        route.abort()

    watched.context.route("**/o/authorize/**", keep)
    with watched.page.expect_event("requestfailed"):
        watched.page.click("input[name=allow]")
    watched.context.unroute("**/o/authorize/**")
    return kept[0]


def history(watched: Watched) -> list[str]:
    """Return the addresses that Back could lead to, the present one too, as the browser itself keeps them."""
    entries = watched.context.new_cdp_session(watched.page).send("Page.getNavigationHistory")["entries"]
    return [entry["url"] for entry in entries]


def without_fragments(urls) -> list[str]:
    """Return URLs as they go over the wire: a browser sends no fragment (RFC 9110 §7.1)."""
    return [url.partition("#")[0] for url in urls]


@pytest.mark.parametrize("grant", BY_LOGIN)
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no_scripts"])
def test_a_person_connects_by_the_providers_own_pages(house, people, grant, scripts):
    """Connect link, the provider's login page, its consent page, "Connected as …" at a clean address.

    A code needs no script; an implicit grant can't do without, and says so.
    """
    app = house.app(grant)
    where = house.link(app)
    ann = people(java_script_enabled=scripts)
    ann.page.goto(where)
    assert heading(ann.page) == "Connect Orders"
    assert "Read your orders" in ann.page.inner_text("main")
    fill_in(ann.page, {})
    sign_in(ann.page, house.person())
    assert "Authorize Orders?" in ann.page.inner_text("form")

    ann.page.click("input[name=allow]")

    if grant == "implicit" and not scripts:
        ann.page.wait_for_selector("#arriving")
        assert "This step needs JavaScript" in ann.page.content()
        assert house.connections(app) == []
        return
    ann.page.wait_for_selector("h1:has-text('Connected as John Doe')")
    assert ann.page.url == where
    assert house.connection(app)["status"] == "active"
    assert house.call(house.connection(app)["id"]).status == 200
    assert [fault for fault in ann.faults if "Content Security Policy" in fault] == []


@pytest.mark.parametrize("grant", ["password", "client_credentials"])
def test_a_person_connects_by_keyboard_alone(house, ann, grant):
    """Tab leads from field to field in their order, and Enter sends the form."""
    app = house.app(grant)
    ann.page.goto(house.link(app))
    ann.page.focus("select")
    for value in house.what_to_fill_in(app, house.person()).values():
        ann.page.keyboard.press("Tab")
        ann.page.keyboard.type(value)
    ann.page.keyboard.press("Enter")
    ann.page.wait_for_selector("h1:has-text('Connected as')")
    assert house.connection(app)["status"] == "active"
    assert ann.faults == []


def test_a_person_types_a_code_into_the_providers_page_in_another_tab(house, people):
    """The code stays on the page, which loads itself until it is done, without any script."""
    app = house.app("device_code")
    where = house.link(app)
    ann = people(java_script_enabled=False)
    ann.page.goto(where)
    assert "You get a short code" in ann.page.inner_text("main")
    fill_in(ann.page, {})
    code = ann.page.inner_text("pre.copy >> nth=0").strip()
    with ann.context.expect_page() as opened:
        ann.page.click(".device a.button")
    tab = opened.value
    person = house.person()
    tab.fill("input[name=username]", person.username)
    tab.fill("input[name=password]", person.password)
    tab.click("button")
    tab.fill("input[name=user_code]", code)
    tab.click("button")
    tab.click("button[value=accept]")
    tab.wait_for_selector("text=Device Authorized")

    ann.page.wait_for_selector("h1:has-text('Connected as John Doe')")
    assert ann.page.url == where
    assert house.call(house.connection(app)["id"]).status == 200
    assert [fault for fault in ann.faults if "Content Security Policy" in fault] == []


def test_an_implicit_token_leaves_the_address_before_anything_else_happens(house, ann):
    """While the style sheet and the form are kept on their way, the address and the history are clean already."""
    app = house.app("implicit")
    to_consent(ann, house.link(app), house.person())
    styles, posts = [], []
    ann.context.route("**/static/style.css?*", lambda route: styles.append(route))  # noqa: PLW0108 - a list's method takes no attribute
    ann.context.route(
        app.callback, lambda route: posts.append(route) if route.request.method == "POST" else route.continue_()
    )
    ann.page.click("input[name=allow]", no_wait_after=True)
    until(lambda: posts or ann.page.wait_for_timeout(10), within=15, what="the form is on its way")

    assert len(styles) == len(posts) == 1  # neither is answered
    assert ann.page.url == app.callback
    assert [url for url in history(ann) if "#" in url] == []
    assert "access_token" in posts[0].request.post_data
    for route in (*styles, *posts):
        route.continue_()
    ann.page.wait_for_selector("h1:has-text('Connected as')")


def test_an_implicit_token_is_in_no_history_no_request_and_no_log(house, ann):
    """The whole way, then back through the history: the token is only ever in the body of one form."""
    app = house.app("implicit")
    to_consent(ann, house.link(app), house.person())
    ann.page.click("input[name=allow]")
    ann.page.wait_for_selector("h1:has-text('Connected as')")
    (token,) = house.provider.tokens(app.application)

    assert len([body for body in ann.posted if token in body]) == 1
    assert [url for url in without_fragments(ann.asked) if token in url] == []
    assert ann.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert [url for url in history(ann) if token in url or "#" in url] == []
    seen = []
    for _ in range(ann.page.evaluate("history.length") - 1):
        ann.page.go_back()
        seen.append((ann.page.url, ann.page.content()))
    assert [url for url, text in seen if token in url + text] == []
    assert token not in house.gateway.log()
    assert len(house.connections(app)) == 1


def test_a_code_leaves_the_address_and_the_history(house, ann):
    """The callback is answered with a redirect: no page is ever shown at an address that has a code or a state."""
    app = house.app("authorization_code")
    to_consent(ann, house.link(app), house.person())
    ann.page.click("input[name=allow]")
    ann.page.wait_for_selector("h1:has-text('Connected as')")
    (arrived,) = [url for url in ann.asked if url.startswith(app.callback)]
    code, state = query_of(arrived)["code"], query_of(arrived)["state"]
    urls = history(ann)
    assert [url for url in urls if code in url] == []
    ours = [url for url in urls if urlsplit(url).port == house.gateway.web_port]
    assert [url for url in ours if state in url] == []
    assert code not in house.gateway.log()
    assert state not in house.gateway.log()


def test_reconnecting_keeps_the_id_and_says_so(house, ann):
    """A link for a connection that needs its person: the same login, the same id, its callers go on."""
    app = house.app("authorization_code")
    person = house.person()
    house.connect(app, person)
    connection = house.connection(app)["id"]
    house.provider.ask("forget_refresh_tokens", client_id=app.application.client_id)
    house.provider.revoke(app.application)
    assert house.call(connection).code == "reauthorization_required"

    where = house.link(app, id=connection)
    ann.page.goto(where)
    assert heading(ann.page) == "Reconnect Orders"
    assert connection in ann.page.inner_text("main")
    fill_in(ann.page, {})
    sign_in(ann.page, person)
    ann.page.click("input[name=allow]")

    ann.page.wait_for_selector("h1:has-text('Connected as John Doe')")
    assert house.connection(app)["id"] == connection
    assert house.call(connection).status == 200


# Attacks. Each creates nothing.


def test_a_login_begun_in_one_browser_and_finished_in_another(house, ann, eve):
    """Eve signs in as herself and has Ann's browser finish: else what Ann does would be in Eve's account."""
    app = house.app("authorization_code")
    where = house.link(app)
    to_consent(eve, where, house.person("Eve Adams"))
    answer = caught(eve)

    ann.page.goto(where)
    ann.page.goto(answer)

    assert heading(ann.page) == "Nothing was connected"
    assert "begun in another browser" in ann.page.inner_text("main")
    assert ann.page.url.endswith("/oauth/refused/other-browser")
    eve.page.goto(answer)
    assert "finished already" in eve.page.inner_text("main"), "a state that has strayed is worth nothing any more"
    assert house.connections(app) == []
    assert house.provider.calls(app.application) == 0


def test_an_implicit_login_begun_in_one_browser_and_finished_in_another(house, ann, eve):
    """The fragment of Eve's login, opened in Ann's browser."""
    app = house.app("implicit")
    to_consent(eve, house.link(app), house.person("Eve Adams"))
    answer = caught(eve)
    assert "#access_token=" in answer

    ann.page.goto(answer)

    ann.page.wait_for_selector("h1:has-text('Nothing was connected')")
    assert "begun in another browser" in ann.page.inner_text("main")
    assert "#" not in ann.page.url
    assert house.connections(app) == []


def test_a_state_that_is_replayed(house, ann):
    """The address of the callback, opened again in the browser that has just been through."""
    app = house.app("authorization_code")
    to_consent(ann, house.link(app), house.person())
    ann.page.click("input[name=allow]")
    ann.page.wait_for_selector("h1:has-text('Connected as')")
    (arrived,) = [url for url in ann.asked if url.startswith(app.callback)]
    before = house.connection(app)

    ann.page.goto(arrived)

    assert "finished already" in ann.page.inner_text("main")
    assert house.connection(app) == before
    assert house.provider.calls(app.application) == 1


def test_a_code_sent_to_another_apps_callback(house, ann):
    """Two apps, one browser: the answer of one is brought to the other's redirect URL, and is then spent at both."""
    app, other = house.app("authorization_code"), house.app("authorization_code")
    to_consent(ann, house.link(app), house.person())
    answer = caught(ann)

    ann.page.goto(answer.replace(app.callback, other.callback))

    assert "the address of another app" in ann.page.inner_text("main")
    ann.page.goto(answer)
    assert heading(ann.page) == "Nothing was connected"
    assert house.connections(app) == house.connections(other) == []
    assert house.provider.calls(app.application) == house.provider.calls(other.application) == 0


@pytest.mark.parametrize("place", ["link", "callback"])
def test_another_sites_page_sends_a_form_of_ours(house, ann, place):
    """A page elsewhere posts into the connect page, or a token into the callback: the browser names that site."""
    app = house.app("password" if place == "link" else "implicit")
    where = house.link(app)
    ann.page.goto(where)
    form_name, form_token = ann.page.eval_on_selector("input[type=hidden]", "field => [field.name, field.value]")
    person = house.person("Eve Adams")
    values = {form_name: form_token, "fragment": "access_token=evil&state=evil"}
    if place == "link":
        values |= {f"field.{name}": value for name, value in house.what_to_fill_in(app, person).items()}
    inputs = "".join(f'<input name="{name}" value="{value.replace("&", "&amp;")}">' for name, value in values.items())
    action = where if place == "link" else app.callback
    page = f'<!doctype html><form method="post" action="{action}">{inputs}<button>Win a prize</button></form>'
    ann.context.route(f"{EVIL}/*", lambda route: route.fulfill(body=page, content_type="text/html"))
    ann.page.goto(f"{EVIL}/prize")

    with ann.page.expect_response(action) as answered:
        ann.page.click("button")

    assert answered.value.status == 403
    assert house.connections(app) == []


def test_no_other_site_can_frame_the_connect_page(house, ann):
    """Nobody is made to click on what they don't see."""
    app = house.app("password")
    where = house.link(app)
    page = f'<!doctype html><iframe src="{where}"></iframe>'
    ann.context.route(f"{EVIL}/*", lambda route: route.fulfill(body=page, content_type="text/html"))
    ann.page.goto(f"{EVIL}/prize")
    ann.page.wait_for_load_state("networkidle")
    (frame,) = ann.page.frames[1:]
    assert frame.url == "chrome-error://chromewebdata/"
    assert "Connect Orders" not in frame.content()


def test_a_used_and_an_unknown_link_say_so(house, ann, eve):
    """The one who has connected still reads so; anybody else only that the link is used."""
    app = house.app("client_credentials")
    where = house.link(app)
    ann.page.goto(where)
    fill_in(ann.page, house.what_to_fill_in(app, house.person()))
    ann.page.wait_for_selector("h1:has-text('Connected as Orders')")
    ann.page.reload()
    assert heading(ann.page) == "Connected as Orders"

    eve.page.goto(where)
    assert heading(eve.page) == "This link can't be used"
    assert "used already" in eve.page.inner_text("main")
    eve.page.goto(where[:-4] + "AAAA")
    assert "isn't one of ours" in eve.page.inner_text("main")
    assert len(house.connections(app)) == 1
