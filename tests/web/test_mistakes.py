"""Mistakes that newcomers make: each shows what is wrong, and how to mend it."""

import re
from collections.abc import AsyncIterator
from html import unescape

import pytest
from aiohttp import web as aiohttp_web

from gateway.errors import Refusal, UpstreamError
from tests.web.browser import House, house
from tests.web.filling import press, press_with, sheet_of, sign_in
from tests.web.harness import ADMIN, Answer, form_token
from tests.web.provider import APPS, CODE

KEY = "key-of-ann-1234567"


@pytest.fixture
async def at(tmp_path) -> AsyncIterator[House]:
    async with house(tmp_path, apps=("key", "code", "machine")) as at:
        await sign_in(at.web)
        yield at


def said(answer: Answer) -> str:
    """Return the page's text as it is read."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])).split())


async def page(at: House, app: str) -> Answer:
    return await at.web.get(f"/apps/{app}")


async def tried(at: House, app: str = "key", **typed: str) -> str:
    """Fill in, try, and return what is said of it."""
    values = {"secret.try.api_key": KEY, "try.connection": ""}
    values |= {name.replace("__", "."): value for name, value in typed.items()}
    answer = await press_with(at.web, await page(at, app), "try", values)
    assert KEY not in answer.text
    return said(answer)


def refusing(status: int, **body: object):
    async def answer(_request: aiohttp_web.Request) -> aiohttp_web.Response:
        return aiohttp_web.json_response(body, status=status)

    return answer


# What the service says.


async def test_another_redirect_url_is_registered_than_the_gateways(at):
    at.provider.answer = refusing(400, error="invalid_grant", error_description="redirect_uri mismatch")
    link = await at.link("code")
    async with at.browser() as browser:
        asked = await browser.leave(link)
        answer = await browser.come_back("code", code=CODE, state=asked["state"])
    assert "Example CRM gave no token." in said(answer)
    assert "redirect_uri mismatch" in said(answer)
    assert f"must be this one, to the letter: {at.web.server.url}/oauth/callback/code" in said(answer)
    assert f"{at.web.server.url}/oauth/callback/code" in (await page(at, "code")).text, "as the set-up page says it"


async def test_the_client_secret_is_a_wrong_one(at):
    at.provider.answer = refusing(401, error="invalid_client", error_description="Client authentication failed.")
    typed = {"try__field__client_id": "c", "secret__try__client_secret": "wrong-secret-7"}
    words = await tried(at, "machine", **typed)
    assert "It didn't work Example CRM gave no token." in words
    assert "Client authentication failed." in words
    assert "doesn't know the client ID, or its secret is another one. Type both again" in words
    assert not [one for one in at.web.seen if "wrong-secret-7" in one]


async def test_a_wrong_client_secret_is_met_by_a_visitor_who_cant_mend_it_and_by_whoever_can(at):
    at.provider.answer = refusing(401, error="invalid_client", error_description="Client authentication failed.")
    async with at.browser() as browser:
        link = await at.link("code")
        asked = await browser.leave(link)
        words = said(await browser.come_back("code", code=CODE, state=asked["state"]))
        assert "Tell this to whoever sent you the link: the app's set-up has to be mended" in words
        assert "Type both again" not in words
        signing_in = form_token(await browser.get("/sign-in"))
        await browser.post("/sign-in", {"form_token": signing_in, "token": ADMIN})
        asked = await browser.leave(link)
        words = said(await browser.come_back("code", code=CODE, state=asked["state"]))
    assert "doesn't know the client ID, or its secret is another one. Type both again" in words
    assert "Back to the set-up of Example CRM" in words


async def test_a_wrong_test_url_is_not_the_fault_of_what_was_filled_in_where_nothing_is(at):
    at.provider.me = (404, {})
    policy = APPS["code"].format(url=at.provider.url)
    bare = policy.replace('params = { region = "{{ region }}" }\n', "")
    bare = bare[: bare.index("[[fields]]")] + bare[bare.index("[auth]") :]
    nobodys = "Whoever set the app up should compare its test API with the service's documentation."
    for given, words in ((policy, "Check what was filled in."), (bare, nobodys)):
        at.gateway.catalog.write("code", given)
        async with at.browser() as browser:
            asked = await browser.leave(await at.link("code"))
            answer = await browser.come_back("code", code=CODE, state=asked["state"])
        assert f"The test call answered 404 (expected 200). Nothing was connected. {words}" in said(answer)


async def test_the_connection_has_no_refresh_token_for_want_of_a_scope(at):
    at.provider.tokens = {"access_token": "at-of-ann-secret", "expires_in": 3600}
    async with at.browser() as browser:
        await browser.login("code", await at.link("code", id="code-ann"))
    words = await tried(at, "code", try__connection="code-ann")
    assert "It works" in words
    assert "the service gave no refresh token" in words
    assert "`" not in words
    assert "offline_access" in words
    assert "connect again." in words


async def test_the_service_answers_200_with_an_error(at):
    app = at.gateway.catalog.path("key")
    app.write_text(app.read_text().replace(', path = "id"', ""))
    at.provider.me = (200, {"ok": False, "error": "not_authed"})
    assert "the answer speaks of an error: this service says 200 to everything." in await tried(at)
    at.provider.me = (200, {"id": "u-ann"})
    assert "speaks of an error" not in await tried(at)


STATUSES = [
    (401, {"message": f"Bad key {KEY}"}, "The test call answered 401 (expected 200): Bad key ***"),
    (401, {}, "The service doesn't take these credentials."),
    (403, {}, "Often a scope or a permission is missing"),
    (404, {}, "There is nothing at this path. Compare the test URL, and the base URL before it"),
    (405, {}, "This path doesn't take this method."),
    (429, {}, "Wait a little and try again."),
    (302, {}, "The service sends requests elsewhere"),
    (500, {}, "The service has a fault of its own"),
    (418, {}, "The service doesn't take the request like this."),
]


async def test_the_service_refuses_the_test_call(at):
    for status, body, words in STATUSES:
        at.provider.me = (status, body)
        text = await tried(at)
        assert "It didn't work" in text, status
        assert words in text, status


async def test_the_answer_is_no_json(at):
    app = at.gateway.catalog.path("key")
    app.write_text(app.read_text().replace('expect = { status = [200], path = "id" }', ""))
    at.provider.me = (200, "just a text")
    assert "The answer is no JSON (application/json), so no value of it can be used." in await tried(at)


UNREACHED = [
    ("upstream_dns", "api.exmaple.test has no address.", "No such host is known. Look for a slip"),
    ("upstream_connect", "x could not be connected to.", "Nothing answers there. Is the host right"),
    ("upstream_tls", "TLS with x failed.", "The certificate isn't one that this gateway trusts."),
    ("upstream_timeout", "x did not answer.", "The service took too long."),
    ("address_not_allowed", "10.0.0.1 is private.", "inside a private network, which this gateway reaches only"),
    ("loop_detected", "That is this gateway.", "That is this gateway itself."),
    ("upstream_protocol", "x gave no valid HTTP answer.", "What answers there is no web service."),
]


class Broken:
    """A way out on which everything fails with one refusal."""

    def __init__(self, code: str, detail: str) -> None:
        self.refusal = Refusal(code=code, detail=detail)

    async def send(self, *_given, **_how):
        raise UpstreamError(self.refusal)


async def test_the_service_is_not_reached(at):
    for code, detail, words in UNREACHED:
        at.gateway.vault._trying._egress = Broken(code, detail)
        text = await tried(at)
        assert f"It didn't work {detail}" in text, code
        assert words in text, code


# What the page says by itself.


FAULTS = [
    (
        "code",
        "auth.token.url",
        "http://crm.example.com/token",
        "Token URL is http, and credentials would go in the clear; write https://",
    ),
    (
        "key",
        "allow.urls.0",
        "{url}/api/v1",
        "Test URL is not allowed by the policy itself",
    ),
    ("key", "allow.urls.0", "{url}/api/v1", "Allowed on this host: {url}/api/v1."),
    ("key", "test.url", "https://elsewhere.example/me", "Closest allowed URLs: {url}/api."),
    ("key", "connection.label", "{{{{ tset.name }}}}", "did you mean test?"),
    ("code", "inject.headers.0.value", "Bearer {{{{ acess_token }}}}", "did you mean access_token?"),
    ("key", "inject.headers.0.value", "Bearer {{{{ api_key }}", "Value is not a valid template"),
    (
        "key",
        "inject.headers.0.value",
        "key-1234567890",
        "is a secret written as a text, and a policy never holds one",
    ),
    ("key", "base_url", "https://{{{{ api_key }}}}.example.com", "has the secret field api_key in its host"),
    ("key", "allow.urls.0", "com", "'com' is a public suffix, under which anyone can have a host"),
    ("code", "auth.authorize.scopes", "read write", "must be one scope, without blanks or quotes"),
    ("code", "auth.client_id.value", "", "Client ID is required for the grant authorization_code; add it."),
    ("key", "allow.urls.0", "", "is empty, so nothing would be allowed; list the app's hosts or URLs"),
    ("key", "fields.1.name", "api key", "must be letters, digits and _"),
    ("key", "test.body", "not json", "Body must be a table"),
]


async def test_the_page_says_what_is_wrong_beside_the_field_and_keeps_it(at):
    pages = {app: await page(at, app) for app in ("code", "key")}
    for app, name, given, right in FAULTS:
        typed, words = given.format(url=at.provider.url), right.format(url=at.provider.url)
        answer = await press_with(at.web, pages[app], "save", {name: typed})
        assert answer.status == 422, name
        assert words in said(answer), (name, typed)
        assert sheet_of(answer).values.get(name) == typed
        assert at.gateway.catalog.path(app).read_text() == APPS[app].format(url=at.provider.url)


async def test_a_secret_is_asked_for_in_a_plain_field(at):
    text = await page(at, "key")
    assert "sounds like a secret" not in text.text
    answer = await press(at.web, text, "check", fields__1__secret="")
    assert "api_key sounds like a secret, and isn't marked as one" in said(answer)
    assert "Tick “Secret”." in said(answer)


async def test_a_try_before_everything_is_right_says_where_to_look(at):
    answer = await press(at.web, await page(at, "key"), "try", test__url="https://elsewhere.example/me")
    assert (answer.status, "This can't be tried yet" in said(answer)) == (422, True)
    assert at.provider.tested == []


async def test_whoever_set_the_app_up_comes_back_to_it_and_goes_on_from_there(at):
    at.provider.me = (401, {"error": "who are you"})
    link = await at.link("key", id="key-ann")
    typed = {"form_token": form_token(await at.web.get(link)), "field.api_key": KEY}
    refused = await at.web.request("POST", link, data=typed)
    assert 'href="/apps/key">Back to the set-up of Example CRM</a>' in refused.text
    at.provider.me = (200, {"id": "u-ann"})
    assert (await at.web.request("POST", link, data=typed)).status == 303
    connected = await at.web.get(link)
    assert 'href="/connections/key-ann"' in connected.text
    assert 'href="/clients/_new?connection=key-ann"' in connected.text
    async with at.browser() as visitor:
        other = await visitor.send(await at.link("key"), api_key=KEY)
        page = await visitor.get(other.headers["Location"])
    assert "You can close this page." in page.text
    assert 'href="/connections' not in page.text


async def test_a_try_with_nothing_filled_in_names_the_field_as_the_page_does(at):
    words = await tried(at, secret__try__api_key="")
    assert "What is filled in above isn't right: Api key is required." in words


# Trying.


async def test_a_try_with_what_is_filled_in_shows_the_answer_and_stores_nothing(at):
    at.provider.me = (
        200,
        {"id": "u-ann", "profile": {"first-name": "<b>Ann</b>", "key": f"k {KEY}"}, "list": [1, None]},
    )
    answer = await press_with(at.web, await page(at, "key"), "try", {"secret.try.api_key": KEY})
    words = said(answer)
    assert f"{at.provider.url}/api/me answered 200 in " in words
    assert at.provider.tested == [f"Bearer {KEY}"]
    assert await at.connections() == {}
    assert [one for one in sheet_of(answer).buttons if one.startswith("pick:")] == [
        "pick:test.id",
        'pick:test.profile["first-name"]',
        "pick:test.list[0]",
    ], "what is masked or nothing can't be picked"
    assert "<b>Ann</b>" not in answer.text
    assert not [one for one in at.web.seen if KEY in one]
    (event,) = [one for one in (await at.store.events.list()).items if one.kind == "app.tried"]
    assert (event.actor, event.app, event.connection) == ("admin-page", "key", None)
    assert event.detail == {"target": f"{at.provider.url}/api/me", "ok": True, "status": 200}


async def test_a_value_of_the_answer_becomes_the_label_or_the_identifier(at):
    at.provider.me = (200, {"id": "u-ann", "profile": {"first-name": "Ann"}})
    answer = await press_with(at.web, await page(at, "key"), "try", {"secret.try.api_key": KEY})
    picked = await press(at.web, answer, 'pick:test.profile["first-name"]')
    assert sheet_of(picked).values["connection.label"] == '{{ test.profile["first-name"] }}'
    assert "answered 200" in said(picked), "the answer stays"
    picked = await press(at.web, picked, "pick:test.profile", pick__into="unique_id")
    assert sheet_of(picked).values["connection.unique_id"] == "{{ test.profile }}"
    answer = await press(at.web, picked, "save", connection__unique_id="{{ test.id }}")
    assert answer.status == 303
    connected = await at.gateway.vault.connect("key", fields={}, secrets={"api_key": KEY}, actor="x")
    assert (connected.row.label, connected.row.unique_id) == ("Ann", "u-ann")


async def test_a_try_says_what_its_answer_makes_of_a_connection_and_what_it_has_not(at):
    at.provider.me = (200, {"id": "u-ann", "profile": {"name": "Ann Ash"}, "list": list(range(300))})
    for label, mask, words in (
        ("{{ test.profile.name }}", "", "The connection would be called Ann Ash ."),
        ("{{ test.profile.name }}", "on", "The connection would be called A•• A•• ."),
        ("{{ test.profile.name }} ({{ connection.id }})", "", "The connection would be called Ann Ash (…) ."),
        ("{{ test.profile.nme | default('you') }}", "", "The connection would be called you ."),
    ):
        words_of_page = await tried(at, connection__label=label, connection__mask=mask, connection__unique_id="")
        assert words in words_of_page, label
    at.provider.me = (200, {"id": "u-ann", "profile": {"name": "Ann Ash"}})
    words = await tried(at, connection__label="{{ test.nme }}", connection__unique_id="{{ test.profile }}")
    assert "The connection name asks for test.nme , and this answer has none" in words
    assert "The unique identifier asks for test.profile , and this answer has none" in words
    words = await tried(at, connection__label="Key of {{ connection.id }}", connection__unique_id="{{ test.id }}")
    assert "would be called" not in words
    assert "Its account would be known again by u-ann ." in words
    at.provider.me = (200, {"list": list(range(300))})
    assert "asks for" not in await tried(at, connection__label="{{ test.nme }}"), "a part of an answer says nothing"


async def test_a_long_answer_is_cut_and_a_tampered_one_is_let_go(at):
    at.provider.me = (200, {"id": "x", "items": [{"name": "n" * 1_000, "n": number} for number in range(500)]})
    answer = await press_with(at.web, await page(at, "key"), "try", {"secret.try.api_key": KEY})
    assert "this is its beginning" in said(answer)
    assert len(answer.text) < 400_000
    for wrong in ("", "{", "[]", '{"ok": true}', "[" * 5_000, '{"ok":true,"message":"x","seconds":"y"}'):
        shown = await press_with(at.web, answer, "check", {"try.answer": wrong})
        assert (shown.status, "answered 200" in said(shown)) == (200, False), wrong


async def test_a_try_uses_what_is_on_the_page_and_not_the_file(at):
    typed = {"inject.headers.0.value": "Token {{ api_key }}", "secret.try.api_key": KEY}
    await press_with(at.web, await page(at, "key"), "try", typed)
    assert at.provider.tested == [f"Token {KEY}"]


async def test_a_try_with_a_connection_uses_that_connections_credentials(at):
    done = await at.gateway.vault.connect("key", fields={}, secrets={"api_key": KEY}, actor="x")
    at.provider.tested.clear()
    words = await tried(at, try__connection=done.row.id, secret__try__api_key="")
    assert "It works" in words
    assert at.provider.tested == [f"Bearer {KEY}"]
    secrets = {"client_secret": "x"}
    other = await at.gateway.vault.connect("machine", fields={"client_id": "c"}, secrets=secrets, actor="x")
    assert f"There is no connection {other.row.id}." in await tried(at, try__connection=other.row.id)


async def test_a_client_secret_that_isnt_saved_yet_is_tried_before_the_stored_one(at):
    policy = at.gateway.catalog.path("machine")
    text = policy.read_text().replace('client_id = { field = "client_id" }', 'client_id = "c"')
    at.gateway.catalog.write("machine", text.replace('{ field = "client_secret" }', '{ secret = "client_secret" }'))
    typed = {"secret.auth.client_secret": "typed-secret-1", "secret.try.client_secret": "x"}
    answer = await press_with(at.web, await page(at, "machine"), "try", typed | {"try.field.client_id": "c"})
    assert "It works" in said(answer)
    assert at.provider.calls[0]["Authorization"].startswith("Basic ")
    assert await at.store.secrets.names("machine") == ()
    assert not [one for one in at.web.seen if "typed-secret-1" in one or "at-of-ann-secret" in one]


async def test_what_is_signed_in_to_in_a_browser_is_tried_once_somebody_is_connected(at):
    assert "There is no connection to try it with yet: save, connect once" in said(await page(at, "code"))
    assert "is connected by a person in a browser" in await tried(at, "code")


async def test_a_preview_with_a_connection_shows_its_request_with_the_secrets_masked(at):
    done = await at.gateway.vault.connect("key", fields={}, secrets={"api_key": KEY}, actor="x")
    shown = await press(at.web, await page(at, "key"), "example:key-query")
    typed = {"preview.connection": done.row.id, "preview.url": "/users?page=2", "preview.method": "POST"}
    answer = await press_with(at.web, shown, "preview", typed | {"preview.body": '{"a": 1}'})
    words = said(answer)
    assert f"POST {at.provider.url}/api/users?page=2&api_key=*** Authorization: Bearer ***" in words
    assert 'Content-Type: application/json { "a": 1 }' in words
    typed["preview.url"] = "https://elsewhere.example/"
    assert "This would not leave. https://elsewhere.example/ is not in the allowed URLs." in said(
        await press_with(at.web, shown, "preview", typed)
    )
    typed["preview.connection"] = "nothing"
    assert "isn't one of this app's" in said(await press_with(at.web, shown, "preview", typed))
    assert KEY not in answer.text
