"""The activity in real Chromium: what goes through the proxy is seen as it goes. No test here is a coroutine."""

import re

import pytest

from tests.e2e.harness.chromium import Watched, chromium


@pytest.fixture
def browser():
    with chromium() as running:
        yield running


def entries(watched: Watched) -> list[str]:
    """Return the rows of the list as they are in the page, but for the space between."""
    rows = watched.page.locator("#log > .entry").evaluate_all("rows => rows.map(row => row.outerHTML)")
    return [re.sub(r">\s+<", "><", re.sub(r"\s+", " ", row)) for row in rows]


def sign_in(watched: Watched, origin: str, token: str) -> None:
    watched.page.goto(f"{origin}/sign-in")
    watched.page.fill("#token", token)
    watched.page.click("main button")
    watched.page.wait_for_selector("header nav")


def open_tail(watched: Watched, url: str) -> None:
    watched.page.goto(url)
    watched.page.wait_for_selector("#tail-state.live")


def test_an_operator_watches_what_goes_through(house, browser):
    """Open the tail, call through the proxy, see it come, pause, resume, filter, look at one, lose the session."""
    app = house.app("client_credentials")
    connection = f"{app.name}-main"
    house.connect(app, id=connection)
    origin = f"http://127.0.0.1:{house.gateway.web_port}"
    ann = Watched(browser)
    sign_in(ann, origin, house.gateway.admin_token)
    open_tail(ann, f"{origin}/activity?connection={connection}&kind=requests")
    assert ann.page.inner_text("#tail-state") == "Live"
    assert "Nothing fits" in ann.page.inner_text("#log-empty")
    assert not ann.page.is_visible("#newer")

    it_comes_and_waits_while_paused(ann, house, connection)
    what_came_is_what_the_page_has_and_a_filter_holds_for_both(ann, house, connection)
    one_is_explained(ann, app.name)
    it_ends_with_the_session(ann, origin)
    assert [fault for fault in ann.faults if "Content Security Policy" in fault] == []
    ann.close()
    it_is_the_same_list_without_scripts(browser, house, connection, origin)


def it_comes_and_waits_while_paused(ann: Watched, house, connection: str) -> None:
    page, rows = ann.page, ann.page.locator("#log > .entry")
    assert house.call(connection, path="/v1/json?api_key=never-recorded").status == 200
    assert house.call(connection, "POST", "/v2/orders").code == "target_not_allowed"
    page.wait_for_selector(".entry:has-text('target_not_allowed')")
    assert not page.locator("#log-empty").count()
    first, second = rows.all_inner_texts()
    assert "/v2/orders" in first, "the newest is on top"
    assert "/v1/json" in second
    assert "never-recorded" not in page.content()

    page.click("#tail-pause")
    assert page.inner_text("#tail-state") == "Paused"
    for _ in range(2):
        house.call(connection)
    page.wait_for_selector("#tail-waiting:has-text('2 waiting')")
    assert rows.count() == 2
    page.click("button:has-text('Resume')")
    page.wait_for_selector("#tail-state.live")
    assert rows.count() == 4
    assert not page.is_visible("#tail-waiting")


def what_came_is_what_the_page_has_and_a_filter_holds_for_both(ann: Watched, house, connection: str) -> None:
    came = entries(ann)
    open_tail(ann, ann.page.url)
    assert entries(ann) == came
    page, rows = ann.page, ann.page.locator("#log > .entry")
    page.select_option("[name=status]", "4xx")
    page.click("form.filters button")
    page.wait_for_selector("#tail-state.live")
    assert rows.count() == 1
    house.call(connection)
    house.call(connection, "POST", "/v2/again")
    page.wait_for_selector(".entry:has-text('/v2/again')")
    assert rows.count() == 2


def one_is_explained(ann: Watched, app: str) -> None:
    ann.page.click(".entry:has-text('/v2/again') a")
    ann.page.wait_for_selector("h1:has-text('/v2/again')")
    said = ann.page.inner_text("main")
    assert "The connection's policy does not allow this target" in said
    assert "is not in the allowed URLs" in said
    assert ann.page.get_attribute("a:has-text('Allow this URL')", "href") == f"/apps/{app}#step-allow"


def it_ends_with_the_session(ann: Watched, origin: str) -> None:
    open_tail(ann, f"{origin}/activity")
    other = ann.context.new_page()
    other.goto(f"{origin}/activity")
    other.click("button:has-text('Sign out')")
    ann.page.wait_for_selector("#tail-state.signedOut")
    assert ann.page.inner_text("#tail-state") == "Signed out"
    assert ann.page.is_visible("#tail-sign-in")


def it_is_the_same_list_without_scripts(browser, house, connection: str, origin: str) -> None:
    plain = Watched(browser, java_script_enabled=False)
    sign_in(plain, origin, house.gateway.admin_token)
    plain.page.goto(f"{origin}/activity?connection={connection}&kind=requests")
    assert plain.page.locator(".entry:visible").count() == 6
    assert not plain.page.is_visible("#tail")
    plain.page.click("#newer")
    assert f"connection={connection}" in plain.page.url
    assert plain.page.locator(".entry:visible").count() == 6
    plain.close()


def test_a_tail_that_breaks_off_goes_on_where_it_was(house, browser):
    """Whatever the server says no with, and whatever is in a row: it is text."""
    origin = f"http://127.0.0.1:{house.gateway.web_port}"
    bob = Watched(browser)
    sign_in(bob, origin, house.gateway.admin_token)
    asked: list[str] = []
    evil = (
        '"what": "<img src=x onerror=alert(1)>", "connection": "<b>c</b>", "tone": "bad", "href": "/activity/events/1"'
    )
    parts = '"at": "", "moment": "", "clock": "1", "status": "event", "method": "", "took": "", "client": "", "app": ""'
    rest = '"entrance": "", "actor": "", "refreshed": "", "code": "", "meaning": ""'
    told = f'{{"entries": [{{{evil}, {parts}, {rest}}}], "left_out": "3 more"}}'

    def answer(route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(content_type="text/event-stream", body=f": here\nid: 7.7\n\nid: 8.8\ndata: {told}\n\n")
        elif len(asked) == 2:
            route.fulfill(status=429, content_type="text/html", body="")
        else:
            route.continue_()

    bob.context.route("**/activity/stream*", answer)
    bob.page.clock.install()
    bob.page.goto(f"{origin}/activity?client=nobody")
    bob.page.wait_for_selector("#tail-state.reconnecting:has-text('Reconnecting…')")
    bob.page.wait_for_selector("#log > .entry")
    assert bob.page.locator("#log > .entry .what").inner_text() == "<img src=x onerror=alert(1)>"
    assert bob.page.locator("#log img, #log b").count() == 0
    assert "3 more" in bob.page.inner_text("#log > .gap")
    for state, said in (("full", "Too many live pages are open: close one"), ("live", "Live")):
        with bob.page.expect_request("**/activity/stream*"):
            bob.page.clock.run_for(2_500)
        bob.page.wait_for_selector(f"#tail-state.{state}:has-text('{said}')")
    assert ["after=8.8" in url for url in asked] == [False, True, True]
    bob.close()
