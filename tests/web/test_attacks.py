"""Attacks on connecting. Each one ends with nothing created, and says what the person at the browser is told."""

import asyncio
import json
from urllib.parse import quote, urlencode

import pytest
from aiohttp import web as http

from tests.web.browser import House, house
from tests.web.harness import form_token
from tests.web.provider import CODE, TOKENS

AGAIN = "Open the connect link again and begin from there, in this browser."


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path, patience=0.5) as made:
        yield made
        assert await made.connections() == {}, "an attack has created something"
        kinds = [event.kind for event in (await made.store.events.list()).items]
        assert "connection.created" not in kinds


@pytest.fixture
async def ann(home: House):
    async with home.browser() as browser:
        yield browser


@pytest.fixture
async def eve(home: House):
    """Another browser."""
    async with home.browser() as browser:
        yield browser


# State.


async def test_a_state_that_is_missing(home, ann):
    await ann.leave(await home.link("code"))
    page = await ann.come_back("code", code=CODE)
    assert page.status == 400
    assert "The answer names no sign-in that was begun here." in page.text
    assert AGAIN in page.text
    assert home.provider.calls == []


async def test_a_state_that_is_wrong(home, ann):
    asked = await ann.leave(await home.link("code"))
    page = await ann.come_back("code", code=CODE, state=asked["state"][:-1] + "~")
    assert "finished already, or it was never begun here" in page.text
    assert home.provider.calls == []


async def test_a_state_that_is_replayed(home, ann):
    home.provider.me = (401, {})
    asked = await ann.leave(await home.link("code"))
    await ann.come_back("code", code=CODE, state=asked["state"])
    home.provider.me = (200, {"id": "u-eve", "name": "Eve"})
    page = await ann.come_back("code", code=CODE, state=asked["state"])
    assert "finished already, or it was never begun here" in page.text
    assert len(home.provider.calls) == 1


async def test_a_state_used_ten_times_at_once_is_taken_once(home, ann):
    home.provider.me = (401, {})
    asked = await ann.leave(await home.link("code"))
    await asyncio.gather(*(ann.come_back("code", code=CODE, state=asked["state"]) for _ in range(10)))
    assert len(home.provider.calls) == 1


async def test_a_state_older_than_ten_minutes(home, ann):
    asked = await ann.leave(await home.link("code"))
    home.gateway.now += 600
    page = await ann.come_back("code", code=CODE, state=asked["state"])
    assert "took more than ten minutes" in page.text
    assert home.provider.calls == []


async def test_a_link_begun_in_one_browser_and_finished_in_another(home, ann, eve):
    """Eve begins, signs in as herself, and lets Ann's browser finish: else Ann would work in Eve's account."""
    asked = await eve.leave(await home.link("code"))
    await ann.get(await home.link("code"))
    page = await ann.come_back("code", code=CODE, state=asked["state"])
    assert "begun in another browser" in page.text
    assert home.provider.calls == []
    again = await eve.come_back("code", code=CODE, state=asked["state"])
    assert "finished already" in again.text, "a state that has strayed is worth nothing any more"


async def test_a_state_brought_by_a_browser_that_has_no_session(home, ann, eve):
    asked = await ann.leave(await home.link("code"))
    page = await eve.come_back("code", code=CODE, state=asked["state"])
    assert "begun in another browser" in page.text
    assert home.provider.calls == []


async def test_a_form_filled_in_with_another_browsers_token(home, ann, eve):
    path = await home.link("code")
    token = form_token(await eve.get(path))
    await ann.get(path)
    assert (await ann.post(path, {"form_token": token})).status == 403


async def test_a_code_sent_to_another_apps_callback(home, ann):
    asked = await ann.leave(await home.link("code"))
    page = await ann.come_back("body", code=CODE, state=asked["state"])
    assert "came to the address of another app" in page.text
    assert home.provider.calls == []
    page = await ann.come_back("code", code=CODE, state=asked["state"])
    assert "finished already" in page.text
    assert home.provider.calls == []


async def test_an_app_that_there_isnt(home, ann):
    asked = await ann.leave(await home.link("code"))
    page = await ann.come_back("nothing", code=CODE, state=asked["state"])
    assert page.status == 400


@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
async def test_a_parameter_that_is_there_twice(home, ann, name):
    asked = await ann.leave(await home.link("code"))
    params = [("code", CODE), ("state", asked["state"]), (name, "a"), (name, "b")]
    answer = await ann.get(f"/oauth/callback/code?{urlencode(params)}")
    assert (answer.status, answer.headers["Location"]) == (303, "/oauth/refused/unreadable")
    assert home.provider.calls == []


async def test_a_head_request_takes_no_state(home, ann):
    asked = await ann.leave(await home.link("code"))
    path = f"/oauth/callback/code?{urlencode({'code': CODE, 'state': asked['state']})}"
    assert (await ann._web.request("HEAD", path)).status == 405


# The issuer.


async def test_an_answer_from_another_issuer_than_the_policys(home, ann):
    path = await home.link("issuer")
    for issuer in (home.provider.url, f"{home.provider.url}/realms/one/", "https://evil.test", ""):
        asked = await ann.leave(path)
        page = await ann.come_back("issuer", code=CODE, state=asked["state"], iss=issuer)
        assert f"and {home.provider.url}/realms/one was asked." in page.text
    assert home.provider.calls == []


async def test_an_answer_from_another_origin_where_the_policy_names_no_issuer(home, ann):
    path = await home.link("code")
    for issuer in ("https://evil.test", home.provider.url.replace("127.0.0.1", "localhost"), "nonsense", ""):
        asked = await ann.leave(path)
        page = await ann.come_back("code", code=CODE, state=asked["state"], iss=issuer)
        assert "was asked." in page.text
    assert home.provider.calls == []


async def test_an_error_from_another_issuer_is_not_the_providers_word(home, ann):
    asked = await ann.leave(await home.link("issuer"))
    page = await ann.come_back("issuer", error="please_call_555", state=asked["state"], iss="https://evil.test")
    assert "please_call_555" not in page.text


# Where people are sent.


@pytest.mark.parametrize(
    "where", ["https://evil.test", "//evil.test", "/\\evil.test", "/%09/evil.test", "/\t/evil.test"]
)
async def test_an_open_redirect(home, ann, where):
    """There is no `return_to`: whatever is asked for, people are sent to the link's own page."""
    path = await home.link("code")
    home.provider.me = (401, {})
    names = ("return_to", "redirect_uri", "next", "url", "continue")
    asked = await ann.leave(path)
    params = {"code": CODE, "state": asked["state"]} | dict.fromkeys(names, where)
    answer = await ann.get(f"/oauth/callback/code?{urlencode(params)}")
    assert (answer.status, answer.headers["Location"]) == (303, path)
    signing_in = await ann.get(f"/sign-in?next={quote(where)}")
    assert f'name="next" value="/"' in signing_in.text  # noqa: F541 - as its neighbours
    refused = await ann.get(f"/oauth/callback/{quote(where, safe='')}?state=x")
    assert refused.headers.get("Location", "/oauth/refused/unknown") == "/oauth/refused/unknown"


async def test_a_host_header_that_is_not_ours_changes_no_redirect_uri(home, ann):
    path = await home.link("code")
    token = form_token(await ann.get(path))
    answer = await ann._web.request("POST", path, data={"form_token": token}, headers={"Host": "evil.test"})
    assert answer.status == 421
    answer = await ann._web.request("POST", path, data={"form_token": token}, headers={"Host": "10.9.8.7"})
    assert answer.status == 200
    assert "10.9.8.7" not in answer.text + answer.headers["Refresh"]


# What the provider answers.


def answers(body, *, status=200, kind="application/json", **headers):
    async def answer(_request):
        return http.Response(body=body, status=status, content_type=kind, headers=headers)

    return answer


BAD = {
    "307": (answers(b"", status=307, Location="http://127.0.0.1:1/token"), "answered 307, a redirect, which is never"),
    "302": (answers(b"", status=302, Location="https://evil.test/"), "answered 302, a redirect"),
    "5 MiB": (answers(b'{"access_token":"' + b"a" * (5 << 20) + b'"}'), "is over 1048576 bytes."),
    "HTML": (answers(b"<!doctype html><script>alert(1)</script>", kind="text/html"), "answered 200 with an HTML page."),
    "HTML, 502": (answers(b"<h1>Bad gateway</h1>", status=502, kind="text/html"), "answered 502 with an HTML page."),
    "nothing": (answers(b""), "answered 200 with nothing."),
    "a list": (answers(b"[]"), "answered 200 with neither JSON nor a form."),
    "no token": (answers(b'{"token_type":"Bearer"}'), "has no text at &#39;access_token&#39;."),
    "an empty token": (answers(b'{"access_token":""}'), "has no text at &#39;access_token&#39;."),
    "a number": (answers(b'{"access_token":5}'), "has no text at &#39;access_token&#39;."),
    "CR LF": (
        answers(json.dumps({"access_token": "a\r\nX-Evil: 1"}).encode()),
        "holds control or non-ASCII characters",
    ),
    "NUL": (answers(json.dumps({"access_token": "a\0b"}).encode()), "holds control or non-ASCII characters"),
    "CR LF in the refresh token": (
        answers(json.dumps({"access_token": "a", "refresh_token": "b\r\nc"}).encode()),
        "The refresh_token of the answer holds control or non-ASCII characters",
    ),
    "an error with 200": (
        answers(b'{"error":"bad_code","error_description":"<i>Used</i>"}'),
        "&lt;i&gt;Used&lt;/i&gt;",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_token_endpoint_that_answers(home, ann, name):
    home.provider.answer, words = BAD[name]
    path = await home.link("code")
    page = await ann.login("code", path)
    assert "Example CRM was not connected." in page.text
    assert words in page.text
    assert "X-Evil" not in page.text
    assert "<script>" not in page.text
    assert "Try again at Example CRM" in page.text
    assert home.provider.tested == []
    assert len(home.provider.calls) == 1


async def test_a_token_endpoint_that_answers_too_late(home, ann):
    """Its patience is an argument: 20 seconds as a rule, half a one here."""

    async def late(_request):
        await home.provider.leave.wait()
        return http.json_response(TOKENS)

    home.provider.answer = late
    page = await ann.login("code", await home.link("code"))
    assert "did not answer within 0.5 s." in page.text
    home.provider.leave.set()
    assert home.provider.tested == []


async def test_a_token_endpoint_that_closes_the_connection(home, ann):
    async def gone(request):
        request.transport.abort()
        return http.Response()

    home.provider.answer = gone
    assert "Example CRM was not connected." in (await ann.login("code", await home.link("code"))).text


async def test_a_verifier_that_isnt_the_challenges(home, ann):
    """A code that was given for another login: the provider holds the challenge, and we send the verifier of ours."""
    first = await ann.leave(await home.link("code"))
    stolen = home.provider.challenge
    await ann.leave(await home.link("code"))
    assert home.provider.challenge != stolen
    page = await ann.come_back("code", code=CODE, state=first["state"])
    assert "invalid_grant: Wrong code" in page.text


# Implicit.


@pytest.mark.parametrize("beside", [{}, {"error": ""}])
async def test_a_token_in_the_query_is_never_taken(home, ann, beside):
    """Queries are in logs; an error that is none makes it no other kind of answer."""
    asked = await ann.leave(await home.link("implicit"))
    params = {"access_token": "at-stolen", "state": asked["state"], **beside}
    page = await ann.get(f"/oauth/callback/implicit?{urlencode(params)}")
    assert page.status == 200
    assert "at-stolen" not in page.text
    assert home.provider.tested == []


async def test_a_fragment_with_a_wrong_state_and_from_another_browser(home, ann, eve):
    asked = await ann.leave(await home.link("implicit"))
    fragment = f"access_token=at-stolen&state={asked['state']}"
    for page in (
        await ann.come_back_with_fragment("implicit", "access_token=at-stolen"),
        await ann.come_back_with_fragment("implicit", "access_token=at-stolen&state=x"),
        await ann.come_back_with_fragment("implicit", "%zz=&" * 300),
        await eve.come_back_with_fragment("implicit", fragment),
        await ann.come_back_with_fragment("implicit", fragment),
    ):
        assert "Nothing was connected" in page.text
    assert home.provider.tested == []


async def test_a_fragment_without_the_form_of_our_page(home, ann):
    asked = await ann.leave(await home.link("implicit"))
    values = {"fragment": f"access_token=at-stolen&state={asked['state']}"}
    assert (await ann.post("/oauth/callback/implicit", values)).status == 403
    assert (await ann.post("/oauth/callback/implicit", values | {"form_token": "0" * 64})).status == 403
    assert home.provider.tested == []


async def test_a_fragment_for_an_app_that_uses_codes(home, ann):
    path = await home.link("code")
    asked = await ann.leave(path)
    token = form_token(await ann.get(path))
    values = {"form_token": token, "fragment": f"access_token=at-stolen&state={asked['state']}"}
    answer = await ann.post("/oauth/callback/code", values)
    assert (answer.status, answer.headers["Location"]) == (303, "/oauth/refused/unreadable")
    assert home.provider.tested == []


@pytest.mark.parametrize(
    ("token", "words"),
    [("a%0D%0AX-Evil:1", "control or non-ASCII"), ("a%00b", "control or non-ASCII"), ("", "has no text at")],
)
async def test_a_fragment_whose_token_isnt_one(home, ann, token, words):
    asked = await ann.leave(await home.link("implicit"))
    page = await ann.come_back_with_fragment("implicit", f"access_token={token}&state={asked['state']}")
    assert words in page.text
    assert home.provider.tested == []


async def test_a_fragment_from_another_issuer(home, ann):
    asked = await ann.leave(await home.link("implicit"))
    page = await ann.come_back_with_fragment(
        "implicit", f"access_token=a&state={asked['state']}&iss={quote('https://evil.test')}"
    )
    assert "comes from https://evil.test" in page.text
    assert home.provider.tested == []


# The test call.


@pytest.mark.parametrize(
    ("me", "words"),
    [
        ((401, {"error": {"message": "Bad credentials"}}), "call answered 401 (expected 200): Bad credentials"),
        ((200, {"name": "no id"}), "The test call answered 200 without a value at &#39;id&#39;."),
        ((302, {}), "The test call answered 302 (expected 200)."),
    ],
)
async def test_a_test_call_that_fails(home, ann, me, words):
    home.provider.me = me
    page = await ann.login("code", await home.link("code"))
    assert words in page.text
    assert TOKENS["access_token"] not in page.text


# Links.


async def test_a_used_an_expired_and_a_foreign_link(home, ann):
    foreign = await ann.get("/connect/gwl_" + "x" * 43)
    assert foreign.status == 410
    assert "isn&#39;t one of ours" in foreign.text
    path = await home.link("code")
    token = form_token(await ann.get(path))
    home.gateway.now += 1800
    expired = await ann.get(path)
    assert (expired.status, "This link has expired." in expired.text) == (410, True)
    assert (await ann.post(path, {"form_token": token})).headers["Location"] == path
    for page in (foreign, expired):
        assert "Ask whoever sent it for a new one." in page.text


@pytest.mark.parametrize(("app", "fields"), [("code", {"region": "eu"}), ("machine", {"client_id": "a"})])
async def test_a_link_is_no_way_to_fill_the_store_or_to_guess_at_the_provider(home, app, fields):
    """Ten tries at once, then one each six seconds, for each link and not for each browser."""
    home.provider.me = (401, {})
    path = await home.link(app)
    sent = {f"field.{name}": value for name, value in (fields | {"client_secret": "wrong"}).items()}
    if app == "code":
        del sent["field.client_secret"]

    async def tried() -> int:
        async with home.browser() as browser:
            answer = await browser.post(path, {"form_token": form_token(await browser.get(path))} | sent)
            if answer.status == 429:
                assert "tried too often. Wait 6 s" in answer.text
                assert answer.headers["Retry-After"] == "6"
        return answer.status

    statuses = [await tried() for _ in range(11)]
    assert (429 in statuses[:10], statuses[10]) == (False, 429)
    home.gateway.now += 6
    assert [await tried(), await tried()] == [statuses[0], 429]
    async with home.store.database.read() as connection:
        kept = (await connection.exec_driver_sql("SELECT count(*) FROM login_states")).scalar_one()
    assert kept + len(home.provider.tested) <= 11


# The log.


async def test_states_that_nobody_began_fill_no_log_and_one_that_strayed_is_told(home, ann, eve, capsys):
    for state in ("", "x", "made-up"):
        await ann.come_back("code", code=CODE, state=state)
        await ann.come_back("an-app-that-is-none", code=CODE, state=state)
    assert "login.refused" not in capsys.readouterr().out
    asked = await ann.leave(await home.link("code"))
    await eve.come_back("code", code=CODE, state=asked["state"])
    assert "other-browser" in capsys.readouterr().out
