"""Words that come from elsewhere, on every page that shows them: a provider's, an account's, a policy's, a person's."""

import json
from html import escape
from urllib.parse import urlencode

import pytest
from aiohttp import web as http

from gateway.store.rows import Status
from tests.web.browser import House, house
from tests.web.filling import sheet_of
from tests.web.harness import ADMIN, Answer, form_token
from tests.web.provider import CODE
from tests.web.test_routes import faults_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "</title></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 1337*1337 }}{% raw %}<b>{#",
    "a\r\nSet-Cookie: gateway=a.planted\r\n\r\n<script>alert(1)</script>",
    "\u202e<b>\u2028\u2029\ufeff",
    "</textarea></select><form action=//evil.test><input name=token>",
]


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
async def ann(home: House):
    async with home.browser() as browser:
        yield browser


def harmless(answer: Answer, words: str, path: str = "/") -> None:
    """The words may stand on the page as text; nothing of them is an element, a handler or a header."""
    assert answer.status < 500, answer.text
    assert faults_of(answer, path) == [], words
    assert words not in answer.text or escape(words) == words, words
    assert "planted" not in str(answer.cookies)
    assert "1787569" not in answer.text, "a template in it was run"


def refusing(words: str):
    """A token endpoint that says no in these words."""
    body = json.dumps({"error": words, "error_description": words})

    async def refuse(_request):
        return http.Response(body=body, status=400, content_type="application/json")

    return refuse


async def dashboard(ann) -> Answer:
    page = await ann.get("/sign-in")
    if page.status == 200:
        await ann.post("/sign-in", {"form_token": form_token(page), "token": ADMIN})
    return await ann.get("/")


async def test_an_accounts_label_and_why_it_ended(home, ann):
    for words in HOSTILE:
        home.provider.me = (200, {"id": "u-ann", "name": words})
        path = await home.link("code", id="crm-ann")
        harmless(await ann.login("code", path), words)
        await home.store.connections.update("crm-ann", status=Status.NEEDS_REAUTHORIZATION, reason=words)
        harmless(await dashboard(ann), words)
        harmless(await ann.get(await home.link("code", id="crm-ann")), words)


async def test_a_providers_error_at_the_login_at_the_token_and_at_the_test_call(home, ann):
    for words in HOSTILE:
        path = await home.link("code")
        for params in ({"error": words}, {"error": "access_denied", "error_description": words}, {"error_uri": words}):
            asked = await ann.leave(path)
            harmless(await ann.come_back("code", state=asked["state"], **params), words)

        home.provider.answer = refusing(words)
        harmless(await ann.login("code", path), words)
        home.provider.answer = None
        home.provider.me = (403, {"message": words, "error": {"message": words}})
        harmless(await ann.login("code", path), words)


async def test_a_policys_words(home, ann):
    for words in HOSTILE:
        text = home.gateway.catalog.path("code").read_text()
        said = json.dumps(words)  # which is a TOML string, too
        hostile = (
            text.replace('name = "Example CRM"', f"name = {said}")
            .replace('label = "Region"', f"label = {said}\nhelp = {said}")
            .replace('"Read your <contacts>"', said)
        )
        if findings := home.gateway.catalog.write("code", hostile):
            # What a policy may not have is said on the dashboard, which is then the page to look at.
            home.gateway.catalog.path("other").write_text(hostile)
            home.gateway.catalog.load()
            assert findings
        else:
            path = await home.link("code")
            harmless(await ann.get(path), words)
            token = form_token(await ann.get(path))
            harmless(await ann.post(path, {"form_token": token, "field.region": words}), words)
            asked = await ann.leave(path)
            harmless(await ann.come_back("code", error="no", state=asked["state"]), words)
        harmless(await dashboard(ann), words)


async def test_what_a_person_types_and_what_an_address_says(home, ann):
    for words in HOSTILE:
        path = await home.link("password")
        answer = await ann.send(path, username=words, password=words, otp=words, region=words)
        harmless(answer, words)
        page = await ann.get(path)
        sent = {"form_token": form_token(page), words: words, f"field.{words}": words, "field.username": words}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        harmless(await ann._web.request("POST", path, data=urlencode(sent), headers=kind), words)
        for address in ("/sign-in", "/oauth/callback/code", "/oauth/refused/missing", path, "/nothing"):
            harmless(
                await ann.get(address, params={"next": words, "state": words, "error": words, words: words}), words
            )


async def test_a_code_and_an_issuer(home, ann):
    for words in HOSTILE:
        path = await home.link("code")
        for params in ({"code": words}, {"code": CODE, "iss": words}):
            asked = await ann.leave(path)
            harmless(await ann.come_back("code", state=asked["state"], **params), words)
        harmless(await ann.come_back("code", state=words, code=CODE), words)


async def test_an_answer_that_is_tried_whatever_json_it_is(home, ann):
    await dashboard(ann)
    await ann.login("code", await home.link("code", id="crm-ann"))
    odd = {"half": "\ud800", "\udfff": "of a pair", "number": 10**4_000, "endless": float("inf"), "none": float("nan")}
    home.provider.me = (200, {"id": "u-ann"} | odd | {words: [{words: words}] for words in HOSTILE})
    sheet = sheet_of(await ann.get("/apps/code"))
    for number in range(2):  # the second time with what the page carries of the first
        page = await ann.post("/apps/code", sheet.filled({"try.connection": "crm-ann", "action": "try"}))
        assert (page.status, number, "of a pair" in page.text) == (200, number, True), page.text
        for words in HOSTILE:
            harmless(page, words, "/apps/code")
        assert 'value="pick:test.half"' in page.text
        assert 'value="pick:test[&#34;\ufffd&#34;]"' not in page.text, "it leads nowhere"
        sheet = sheet_of(page)
