"""A device code on the connect page, from "Get a code" to "Connected as …", against a provider on loopback."""

import asyncio

import pytest
from aiohttp import web

from gateway.app import chores
from tests.web.browser import Browser, House, house
from tests.web.harness import Answer, form_token
from tests.web.provider import CLIENT_SECRET, CODES, DEVICE_GRANT
from tests.web.test_routes import page_faults

SECRETS = [CODES["device_code"], CLIENT_SECRET, "at-of-ann-secret"]


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path, apps=["device"]) as made:
        yield made
        for secret in SECRETS:
            assert not [one for one in made.web.seen if secret in one]


@pytest.fixture
async def ann(home: House):
    async with home.browser() as browser:
        yield browser


async def get_code(browser: Browser, path: str, **fields: str) -> Answer:
    """Fill the form in, and return the page with the code."""
    answer = await browser.send(path, **fields)
    assert (answer.status, answer.headers["Location"]) == (303, path), answer.text
    return await browser.get(path)


async def later(home: House, browser: Browser, path: str, seconds: float = 5) -> Answer:
    """Let the page load itself again, and follow it where it leads."""
    home.gateway.now += seconds
    answer = await browser.get(path)
    return await browser.get(path) if answer.status == 303 else answer


async def kept(home: House) -> int:
    async with home.store.database.read() as connection:
        return int((await connection.exec_driver_sql("SELECT count(*) FROM login_states")).scalar_one())


async def test_the_code_is_shown_and_polled_as_the_provider_wants_until_the_account_is_connected(home, ann):
    path = await home.link("device", id="crm-ann")
    form = (await ann.get(path)).text
    assert "<li><code>read</code></li>" in form
    assert "Get a code" in form
    home.provider.said = ["authorization_pending", "slow_down", "authorization_pending"]

    page = await get_code(ann, path, region="eu")

    (asked,) = home.provider.asked
    assert asked == {"client_id": "gateway", "scope": "read write", "region": "eu"}
    assert "<code>WDJB-MJHT</code>" in page.text
    assert 'href="https://crm.example.com/device?user_code=WDJB-MJHT" target="_blank" rel="noopener' in page.text
    assert "Sign in there only if <strong>crm.example.com</strong> is Example CRM&#39;s own" in page.text
    assert "<code>https://crm.example.com/device</code>" in page.text
    assert "The code ends in 15 minutes" in page.text
    assert page.headers["Refresh"] == "5"
    assert page_faults(page.text) == []
    assert home.provider.calls == [], "no sooner than the interval"
    for seconds, refresh in ((4, "1"), (1, "5"), (5, "10"), (9, "1"), (1, "10")):
        assert (await later(home, ann, path, seconds)).headers["Refresh"] == refresh
    assert len(home.provider.calls) == 3
    page = await later(home, ann, path, 10)

    assert "<h1>Connected as Ann Ash</h1>" in page.text
    assert "<code>crm-ann</code>" in page.text
    assert {call["grant_type"] for call in home.provider.calls} == {DEVICE_GRANT}
    assert home.provider.calls[-1]["device_code"] == CODES["device_code"]
    assert home.provider.tested == ["Bearer at-of-ann-secret"]
    live = await home.gateway.vault.live("crm-ann")
    assert (live.refreshable, live.expires_at is not None) == (True, True)
    assert await kept(home) == 0


@pytest.mark.parametrize(
    ("said", "seconds", "words"),
    [
        (["access_denied"], 5, "Whoever looked at the code at Example CRM refused it."),
        (["expired_token"], 5, "The code has expired before anybody allowed it at Example CRM."),
        (["authorization_pending"] * 9, 901, "The code has expired before anybody allowed it at Example CRM."),
        (["invalid_client"], 5, "Example CRM gave no token. The provider answered 400: invalid_client"),
    ],
)
async def test_how_it_ended_is_said_once_and_the_same_link_begins_again(home, ann, said, seconds, words):
    path = await home.link("device")
    await get_code(ann, path, region="eu")
    home.provider.said = list(said)

    page = await later(home, ann, path, seconds)

    assert words in page.text
    assert "Refresh" not in page.headers
    assert '<option value="eu" selected>' in page.text
    assert "Get a new code" in page.text
    home.provider.said = []
    await get_code(ann, path)
    assert "Connected as Ann Ash" in (await later(home, ann, path)).text


async def test_a_code_that_the_provider_doesnt_give_is_said_with_what_was_typed(home, ann):
    home.provider.codes = {"error": "invalid_scope", "error_description": "No <such> scope"}
    page = await ann.send(await home.link("device"), region="eu")
    assert page.status == 502
    assert "Example CRM gave no code. The provider answered 400: invalid_scope: No &lt;such&gt; scope" in page.text
    assert '<option value="eu" selected>' in page.text


async def test_of_many_pages_at_once_one_polls_and_one_connects(home, ann):
    path = await home.link("device")
    await get_code(ann, path)
    home.gateway.now += 5
    await asyncio.gather(*(ann.get(path) for _ in range(8)))
    assert "Connected as Ann Ash" in (await ann.get(path)).text
    assert (len(home.provider.calls), len(home.provider.tested)) == (1, 1)


async def test_whoever_began_finishes_and_another_browser_with_the_link_sees_only_the_form(home, ann):
    path = await home.link("device")
    await get_code(ann, path)
    async with home.browser() as eve:
        assert "WDJB" not in (await eve.get(path)).text
        assert "Get a code" in (await later(home, eve, path)).text
        assert home.provider.calls == []
        home.provider.codes = CODES | {"device_code": "the-other-code", "user_code": "OTHER"}
        assert "OTHER" in (await get_code(eve, path)).text
    page = await later(home, ann, path, 1)
    assert "Connected as Ann Ash" in page.text
    assert [call["device_code"] for call in home.provider.calls] == [CODES["device_code"]]


async def test_beginning_again_gives_the_old_code_up(home, ann):
    path = await home.link("device")
    page = await get_code(ann, path, region="eu")
    form = await ann.post(path, {"form_token": form_token(page), "again": "1"})
    assert '<option value="eu" selected>' in form.text
    assert "WDJB" not in (await later(home, ann, path)).text
    home.provider.codes = CODES | {"device_code": "the-newer-code", "user_code": "NEWER"}
    assert "NEWER" in (await get_code(ann, path)).text
    await later(home, ann, path)
    assert [call["device_code"] for call in home.provider.calls] == ["the-newer-code"]


@pytest.mark.parametrize(
    ("is_cut", "words"),
    [(False, "The provider answered 503 with an HTML page."), (True, "gave no valid HTTP answer")],
)
async def test_a_provider_that_is_away_is_said_and_asked_half_as_often(home, ann, is_cut, words):
    async def broken(request: web.Request) -> web.Response:
        if is_cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=503, text="<html>")

    path = await home.link("device")
    await get_code(ann, path)
    home.provider.answer = broken
    page = await later(home, ann, path)
    assert "Example CRM gave no answer just now, and is asked again." in page.text
    assert words in page.text
    assert page.headers["Refresh"] == "10"
    home.provider.answer = None
    assert "Connected as Ann Ash" in (await later(home, ann, path, 10)).text


async def test_a_page_may_be_told_not_to_load_itself(home, ann):
    """Who listens to it isn't thrown back to its beginning every few seconds (WCAG 2.2.1)."""
    path = await home.link("device")
    page = await get_code(ann, path)
    assert f'href="{path}?still=1">Don&#39;t load it by itself' in page.text
    still = await ann.get(f"{path}?still=1")
    assert "Refresh" not in still.headers
    assert f'href="{path}?still=1">Look now' in still.text


async def test_what_the_provider_says_is_text_and_no_link_of_its_choice(home, ann):
    home.provider.codes = CODES | {"user_code": '"><b>X', "verification_uri": "javascript:alert(1)//<i>"}
    page = await get_code(ann, await home.link("device"))
    assert "<code>&#34;&gt;&lt;b&gt;X</code>" in page.text
    assert "<code>javascript:alert(1)//&lt;i&gt;</code>" in page.text
    assert 'href="javascript' not in page.text
    assert "The page to type it into:" in page.text


async def test_who_got_the_code_in_time_isnt_too_late_but_no_code_outlives_its_link_for_long(home, ann):
    path = await home.link("device", expires_in="1m")
    await get_code(ann, path)
    home.provider.said = ["authorization_pending"]
    assert "Waiting for you" in (await later(home, ann, path, 300)).text
    assert "Connected as Ann Ash" in (await later(home, ann, path)).text
    path = await home.link("device", expires_in="1m")
    assert "The code ends in 11 minutes" in (await get_code(ann, path)).text


async def test_a_code_that_nobody_came_back_to_doesnt_stay(home, ann):
    await get_code(ann, await home.link("device"))
    home.gateway.now += 901
    await chores._prune(home.gateway)
    assert await kept(home) == 0


async def test_a_program_is_told_to_make_a_link(home):
    answer = await home.web.api("POST", "/connections", json={"app": "device", "fields": {"region": "eu"}})
    assert (answer.status, answer.json["hint"]) == (422, "Make a connect link.")
    app = (await home.web.api("GET", "/apps/device")).json
    assert (app["grant"], app["redirect_url"]) == ("device_code", None)
