"""Every grant, from the link to the row in the store and the words on the page, against a provider on loopback."""

import base64
import hashlib

import pytest

from gateway.app import chores
from gateway.store.rows import Status
from tests.web.browser import House, house
from tests.web.provider import CLIENT_SECRET, CODE, TOKENS

BASIC = "Basic " + base64.b64encode(f"gateway:{CLIENT_SECRET}".encode()).decode()
PASSWORD = "the-password-of-ann"
OTP = "271828"


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
async def ann(home: House):
    async with home.browser() as browser:
        yield browser


async def the_row(home: House):
    (row,) = (await home.store.connections.list()).items
    return row


# Authorization code.


@pytest.mark.parametrize(("app", "method"), [("code", "S256"), ("plain", "plain"), ("off", None)])
async def test_a_code_is_exchanged_and_the_account_connected(home, ann, app, method):
    path = await home.link(app, id="crm-ann")
    asked = await ann.leave(path, region="eu")
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "gateway"
    assert asked["scope"] == "read write"
    assert asked["redirect_uri"] == f"{home.web.server.url}/oauth/callback/{app}"
    assert len(asked["state"]) == 43
    assert asked.get("code_challenge_method") == method
    page = await ann.come_back(app, code=CODE, state=asked["state"])
    assert "<h1>Connected as Ann Ash</h1>" in page.text
    assert "<code>crm-ann</code>" in page.text
    (call,) = home.provider.calls
    assert (call["code"], call["redirect_uri"], call["region"]) == (CODE, asked["redirect_uri"], "eu")
    assert call["Authorization"] == BASIC
    assert ("code_verifier" in call) == (method is not None)
    row = await the_row(home)
    assert (row.id, row.label, row.unique_id, row.status) == ("crm-ann", "Ann Ash", "u-ann", Status.ACTIVE)
    assert home.provider.tested == ["Bearer at-of-ann-secret"]


async def test_the_client_authenticates_in_a_json_body_where_the_policy_says_so(home, ann):
    await ann.login("body", await home.link("body"))
    (call,) = home.provider.calls
    assert (call["client_id"], call["client_secret"], call["Authorization"]) == ("gateway", CLIENT_SECRET, "")


async def test_a_public_client_only_names_itself(home, ann):
    assert "Connected as" in (await ann.login("public", await home.link("public"))).text
    (call,) = home.provider.calls
    assert (call["client_id"], call["Authorization"], "client_secret" in call) == ("gateway", "", False)


async def test_the_page_says_what_the_person_is_asked_to_allow(home, ann):
    text = (await ann.get(await home.link("code"))).text
    assert "<li>Read your &lt;contacts&gt;</li>" in text
    assert "<li><code>write</code></li>" in text
    assert "Go on to Example CRM" in text


async def test_the_same_account_again_is_updated_and_keeps_its_id(home, ann):
    await ann.login("code", await home.link("code", id="crm-ann"))
    before = await the_row(home)
    page = await ann.login("code", await home.link("code"))
    assert "was connected already. Its connection <code>crm-ann</code> is updated." in page.text
    row = await the_row(home)
    assert (row.id, row.created_at, row.token_version > before.token_version) == ("crm-ann", before.created_at, True)


async def test_a_connection_that_needs_a_person_is_authorised_again_under_its_id(home, ann):
    await ann.login("code", await home.link("code", id="crm-ann"), region="eu")
    await home.store.connections.update("crm-ann", status=Status.NEEDS_REAUTHORIZATION, reason="invalid_grant")
    path = await home.link("code", id="crm-ann")
    text = (await ann.get(path)).text
    assert "Reconnect Example CRM" in text
    assert '<option value="eu" selected>' in text
    assert "Connected as Ann Ash" in (await ann.login("code", path, region="eu")).text
    row = await the_row(home)
    assert (row.id, row.status, row.reason) == ("crm-ann", Status.ACTIVE, None)


async def test_another_account_doesnt_take_over_a_connection_that_is_to_be_authorised_again(home, ann):
    await ann.login("code", await home.link("code", id="crm-ann"))
    home.provider.me = (200, {"id": "u-eve", "name": "Eve Elm"})
    path = await home.link("code", id="crm-ann")
    page = await ann.login("code", path)
    assert "This is another account, Eve Elm, than that of crm-ann: Ann Ash." in page.text
    assert "or disconnect it first" in page.text
    assert await home.connections() == {"crm-ann": "Ann Ash"}
    await home.gateway.vault.disconnect("crm-ann", actor="admin-api")
    assert "Connected as Eve Elm" in (await ann.login("code", path)).text


@pytest.mark.parametrize("when", ["before it is opened", "while its login is under way"])
async def test_a_link_does_not_bring_back_what_was_ended_after_it_was_made(home, ann, when):
    """It may be in anybody's hands by then, and whoever may use the connection would go on with it."""
    await ann.login("code", await home.link("code", id="crm-ann"), region="eu")
    home.gateway.now -= 1  # the vault's clock stands still
    path = await home.link("code", id="crm-ann")
    home.gateway.now += 1
    asked = await ann.leave(path, region="eu") if when == "while its login is under way" else None
    await home.gateway.vault.disconnect("crm-ann", actor="admin")
    page = await (ann.get(path) if asked is None else ann.come_back("code", code=CODE, state=asked["state"]))
    assert page.status == 410
    assert "was ended after the link was made" in page.text
    assert (await the_row(home)).status is Status.DISCONNECTED
    assert "Connected as Ann Ash" in (await ann.login("code", await home.link("code", id="crm-ann"), region="eu")).text


async def test_a_link_shows_nothing_of_another_apps_connection_that_took_its_id(home, ann):
    path = await home.link("code", id="crm-ann")
    await ann.login("plain", await home.link("plain", id="crm-ann"), region="eu")
    page = await ann.get(path)
    assert (page.status, "belongs to another app by now" in page.text) == (410, True)


async def test_the_providers_words_are_shown_with_a_way_to_try_again_and_what_was_typed(home, ann):
    path = await home.link("code")
    asked = await ann.leave(path, region="eu")
    words = "You <b>said</b>\r\n no"
    page = await ann.come_back("code", error="access_denied", error_description=words, state=asked["state"])
    assert "Example CRM said: You &lt;b&gt;said&lt;/b&gt; no (access_denied)" in page.text
    assert "Try again at Example CRM" in page.text
    assert '<option value="eu" selected>' in page.text
    assert "Connected as Ann Ash" in (await ann.login("code", path)).text


async def test_another_browser_is_not_shown_how_a_try_ended(home, ann):
    path = await home.link("code")
    asked = await ann.leave(path)
    await ann.come_back("code", error="access_denied", state=asked["state"])
    async with home.browser() as other:
        assert "access_denied" not in (await other.get(path)).text


async def test_a_test_call_that_fails_shows_its_status_and_words_and_connects_nothing(home, ann):
    home.provider.me = (403, {"message": "Your plan has no API"})
    page = await ann.login("code", await home.link("code"))
    assert "The test call answered 403 (expected 200): Your plan has no API" in page.text
    assert await home.connections() == {}


async def test_who_went_to_the_login_in_time_isnt_too_late_on_coming_back(home, ann):
    path = await home.link("code", expires_in="5m")
    home.gateway.now += 299
    asked = await ann.leave(path)
    home.gateway.now += 500
    assert "Connected as Ann Ash" in (await ann.come_back("code", code=CODE, state=asked["state"])).text


async def test_a_client_secret_that_nobody_has_set_is_said_before_anybody_is_sent_away(home, ann):
    home.gateway.catalog.write(
        "unset", home.gateway.catalog.path("code").read_text().replace('"gateway"', '{ secret = "client_id" }')
    )
    answer = await ann.send(await home.link("unset"))
    assert answer.status == 422
    assert "The secret client_id of the app unset is not set." in answer.text


async def test_what_was_typed_before_a_login_that_nobody_came_back_from_doesnt_stay(home, ann):
    asked = await ann.leave(await home.link("code"))
    hashed = hashlib.sha256(asked["state"].encode()).digest()
    home.gateway.now += 601
    await chores._prune(home.gateway)
    assert await home.store.logins.take(hashed) is None


# Implicit.


async def test_an_implicit_token_is_taken_out_of_the_fragment(home, ann):
    path = await home.link("implicit", id="crm-ann")
    asked = await ann.leave(path)
    assert (asked["response_type"], "code_challenge" in asked) == ("token", False)
    fragment = f"access_token=at-implicit-secret&token_type=Bearer&expires_in=600&state={asked['state']}"
    page = await ann.come_back_with_fragment("implicit", fragment)
    assert "Connected as Ann Ash" in page.text
    assert home.provider.tested == ["Bearer at-implicit-secret"]
    row = await the_row(home)
    assert (row.id, row.expires_at) == ("crm-ann", home.gateway.now + 600)


async def test_the_page_that_reads_the_fragment_runs_one_script_of_ours_first(ann):
    page = await ann.get("/oauth/callback/implicit")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "connect-src" not in policy
    assert "unsafe" not in policy
    assert page.text.index("<script src=") < page.text.index("<link")
    assert page.text.count("<script") == 1
    script = (await ann.get("/static/fragment.js")).text
    assert script.index("location.hash") < script.index("replaceState") < script.index("addEventListener")


async def test_an_implicit_error_is_shown_from_the_fragment_and_from_the_query(home, ann):
    path = await home.link("implicit")
    asked = await ann.leave(path)
    page = await ann.come_back_with_fragment("implicit", f"error=access_denied&state={asked['state']}")
    assert "Example CRM said: access_denied" in page.text
    asked = await ann.leave(path)
    page = await ann.come_back("implicit", error="server_error", error_description="Not today", state=asked["state"])
    assert "Example CRM said: Not today (server_error)" in page.text


# The grants without a login.


async def test_a_password_and_a_one_time_code_are_sent_and_only_what_is_needed_is_kept(home, ann):
    path = await home.link("password", id="crm-ann")
    form = (await ann.get(path)).text
    assert 'name="field.otp" type="text" value=""\n           autocomplete="one-time-code"' in form
    answer = await ann.send(path, username="ann", password=PASSWORD, otp=OTP, region="eu")
    assert (answer.status, answer.headers["Location"]) == (303, path)
    assert "Connected as Ann Ash" in (await ann.get(path)).text
    (call,) = home.provider.calls
    assert (call["grant_type"], call["username"], call["password"], call["otp"]) == ("password", "ann", PASSWORD, OTP)
    kept = home.gateway.keyring.open(
        (await the_row(home)).credentials, table="connections", column="credentials", row="crm-ann"
    )
    assert PASSWORD.encode() not in kept
    assert OTP.encode() not in kept
    assert b"rt-of-ann-secret" in kept


async def test_a_password_is_kept_sealed_where_there_is_no_refresh_token(home, ann):
    home.provider.tokens = {"access_token": "at-of-ann-secret"}
    await ann.send(await home.link("password", id="crm-ann"), username="ann", password=PASSWORD, otp=OTP)
    kept = home.gateway.keyring.open(
        (await the_row(home)).credentials, table="connections", column="credentials", row="crm-ann"
    )
    assert PASSWORD.encode() in kept
    assert OTP.encode() not in kept


async def test_a_wrong_one_time_code_is_told_and_neither_it_nor_the_password_is_shown_again(home, ann):
    async def no(_request):
        from aiohttp import web  # noqa: PLC0415 - only here

        return web.json_response({"error": "mfa_required", "error_description": f"{OTP} is wrong"}, status=403)

    home.provider.answer = no
    answer = await ann.send(await home.link("password"), username="ann", password=PASSWORD, otp=OTP)
    assert answer.status == 502
    assert "Example CRM gave no token. The provider answered 403: mfa_required" in answer.text
    assert 'value="ann"' in answer.text
    assert PASSWORD not in answer.text
    assert OTP not in answer.text


@pytest.mark.parametrize(
    ("app", "fields", "sent"),
    [
        ("machine", {"client_id": "ann", "client_secret": "her-s3cret"}, "Bearer at-of-ann-secret"),
        ("key", {"api_key": "sk-of-ann"}, "Bearer sk-of-ann"),
        ("basic", {"username": "ann", "password": PASSWORD}, "Basic YW5uOnRoZS1wYXNzd29yZC1vZi1hbm4="),
        ("none", {}, ""),
    ],
)
async def test_the_other_grants_connect_at_once(home, ann, app, fields, sent):
    path = await home.link(app)
    assert (await ann.send(path, **fields)).status == 303
    assert "Connected as Ann Ash" in (await ann.get(path)).text
    assert home.provider.tested == [sent]
    row = await the_row(home)
    assert (row.app, row.status, row.created_by) == (app, Status.ACTIVE, "connect-link")


# Secrets.


async def test_no_secret_of_a_login_is_on_a_page_or_readable_in_the_database(home, ann):
    asked = await ann.leave(await home.link("code"))
    (directory,) = [home.gateway.settings.data_dir]
    during = b"".join(file.read_bytes() for file in directory.iterdir())
    await ann.come_back("code", code=CODE, state=asked["state"])
    after = b"".join(file.read_bytes() for file in directory.iterdir())
    (call,) = home.provider.calls
    for secret in (CLIENT_SECRET, call["code_verifier"], CODE, TOKENS["access_token"], TOKENS["refresh_token"]):
        assert secret.encode() not in during + after
        assert not [text for text in home.web.seen if secret in text]
    assert asked["state"].encode() not in during + after
