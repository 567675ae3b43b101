"""People connect by OAuth 1.0a's login, and what their programs send is signed, before a provider that checks both."""

import base64
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from structlog.testing import capture_logs

from gateway.store.rows import Status
from gateway.vault.credentials import Credentials
from tests.proxy.harness import TOKEN, Caller, Gateway
from tests.quirks.oauth1_login import CONSUMER_SECRET, LASTING, POLICY, TEMPORARY, VERIFIER, Provider
from tests.web.browser import Browser, House, house
from tests.web.filling import press_with, sign_in
from tests.web.harness import Answer
from tests.web.test_routes import page_faults

SECRETS = [
    CONSUMER_SECRET,
    TEMPORARY["oauth_token_secret"],
    LASTING["oauth_token"],
    LASTING["oauth_token_secret"],
    VERIFIER,
]
EXCHANGED = {"oauth_token": TEMPORARY["oauth_token"], "oauth_verifier": VERIFIER}


@pytest.fixture
async def home(tmp_path):
    provider = Provider()
    with capture_logs() as events:
        async with provider.serving(), house(tmp_path, provider=provider, apps=[]) as made:
            await written(made, POLICY)
            yield made
    for secret in SECRETS:
        assert not [one for one in (*made.web.seen, str(events)) if secret in one]


@pytest.fixture
async def ann(home: House):
    async with home.browser() as browser:
        yield browser


async def written(home: House, policy: str, secret: str = CONSUMER_SECRET) -> None:
    findings = home.gateway.catalog.write("bird", policy.format(url=home.provider.url))
    assert findings == (), [str(finding) for finding in findings]
    await home.web.api("PUT", "/apps/bird/secrets/client_secret", json={"value": secret})


async def leave(home: House, ann: Browser, **how: str) -> tuple[dict[str, str], str]:
    """Go to the provider; return what the login URL has in its query, and the callback URL that was told there."""
    asked = await ann.leave(await home.link("bird", **how), region="eu")
    return asked, home.provider.seen[-1].said["oauth_callback"]


async def come_back(ann: Browser, callback: str, **params: str) -> Answer:
    state = dict(parse_qsl(urlsplit(callback).query))
    return await ann.come_back("bird", **state, **params)


async def connected(home: House, ann: Browser) -> Answer:
    _, callback = await leave(home, ann, id="bird-ann")
    return await come_back(ann, callback, **EXCHANGED)


def stored(directory: Path) -> bytes:
    """Every byte of the store."""
    return b"".join(file.read_bytes() for file in (directory / "data").rglob("*") if file.is_file())


async def test_a_person_signs_in_and_every_request_is_signed_with_what_came_of_it(home, ann, tmp_path):
    page = await ann.get(await home.link("bird"))
    assert "Go on to Bird" in page.text
    asked, callback = await leave(home, ann, id="bird-ann")
    assert asked == {"name": "The Gateway", "scope": "read,write", "oauth_token": TEMPORARY["oauth_token"]}
    (request,) = home.provider.seen
    assert (request.said["v"], request.said["access"]) == ("1", "eu & more")
    assert callback.startswith(f"{home.web.server.url}/oauth/callback/bird?state=")

    assert not [secret for secret in (*SECRETS, TEMPORARY["oauth_token"]) if secret.encode() in stored(tmp_path)]
    page = await come_back(ann, callback, **EXCHANGED, place="Rome")

    assert "<h1>Connected as ann in eu</h1>" in page.text
    assert [one.uri.removeprefix(home.provider.url) for one in home.provider.seen] == ["/request", "/access", "/api/me"]
    assert home.provider.wrong == []
    row = await home.store.connections.get("bird-ann")
    assert (row.status, row.unique_id, row.expires_at, row.renew_at) == (Status.ACTIVE, "ann", None, None)
    live = await home.gateway.vault.live("bird-ann")
    assert (live.refusal, live.refreshable) == (None, False)
    assert {CONSUMER_SECRET, LASTING["oauth_token_secret"]} <= {one.reveal() for one in live.injection.secrets}
    assert (await home.gateway.vault.open_fields("bird-ann")) == {"region": "eu", "place": "Rome"}
    assert not [secret for secret in (*SECRETS, TEMPORARY["oauth_token"]) if secret.encode() in stored(tmp_path)]


@pytest.mark.parametrize(
    ("method", "path", "fields", "content"),
    [
        ("GET", "/api/birds?a=%2F&a=&q=a+b%20c", b"", b""),
        ("POST", "/api/birds?a=1", b"Content-Type: application/x-www-form-urlencoded\r\n", b"a=1&status=%E2%9C%93+b"),
        ("PUT", "/api/birds", b"Content-Type: application/json\r\n", b'{"a": 1}'),
    ],
)
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_programs_request_is_signed(
    home, ann, gateway: Gateway, caller: Caller, *, algorithm, method, path, fields, content
):
    home.provider.method = f"HMAC-{algorithm.upper()}"
    await written(home, POLICY.replace('scheme = "oauth1"', f'scheme = "oauth1"\nalgorithm = "{algorithm}"'))
    assert "Connected as" in (await connected(home, ann)).text
    live = await home.gateway.vault.live("bird-ann")
    gateway.vault.lives["crm-ann"] = live
    tag = base64.b64encode(f"crm-ann:{TOKEN}".encode()).decode()
    head = f"{method} {home.provider.url}{path} HTTP/1.1\r\nHost: {urlsplit(home.provider.url).netloc}\r\n"
    head += f"Proxy-Authorization: Basic {tag}\r\nAuthorization: mine\r\nContent-Length: {len(content)}\r\n"
    answer = await caller.ask(head.encode() + fields + b"\r\n" + content)
    assert answer.endswith(b"ok=yes"), answer
    assert home.provider.wrong == []


async def test_a_consumer_secret_that_is_set_anew_signs_from_then_on(home, ann):
    """It is the app's own, kept with no connection, and read when one is made ready."""
    await connected(home, ann)
    await home.web.api("PUT", "/apps/bird/secrets/client_secret", json={"value": "another"})
    assert (await home.web.api("POST", "/connections/bird-ann/test")).json["status"] == 401
    await home.store.secrets.delete("bird", "client_secret")
    home.gateway.vault.forget("secret", "bird/client_secret")
    live = await home.gateway.vault.live("bird-ann")
    assert live.injection is None
    assert "The secret client_secret of the app bird is not set." in live.refusal.detail


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"oauth_token": "rt/two==", "oauth_verifier": VERIFIER}, "to another sign-in than the one begun here"),
        ({"oauth_verifier": VERIFIER}, "to another sign-in than the one begun here"),
        ({"denied": TEMPORARY["oauth_token"]}, "Bird said: access_denied"),
        (
            {"oauth_token": TEMPORARY["oauth_token"], "oauth_problem": "user_<refused>"},
            "Bird said: user_&lt;refused&gt;",
        ),
        ({"error": "no", "error_description": "Not today"}, "Bird said: Not today (no)"),
        ({"oauth_token": TEMPORARY["oauth_token"]}, "sent neither a verifier nor an error"),
        ({"oauth_token": TEMPORARY["oauth_token"], "oauth_verifier": "a\nb"}, "sent neither a verifier nor an error"),
        ({"code": "c"}, "to another sign-in than the one begun here"),
    ],
)
async def test_a_callback_without_what_was_asked_for_connects_nothing_and_asks_nobody(home, ann, params, words):
    _, callback = await leave(home, ann)
    page = await come_back(ann, callback, **params)
    assert words in page.text
    assert "Bird was not connected" in page.text
    assert len(home.provider.seen) == 1
    assert await home.connections() == {}


async def test_a_callback_with_a_token_twice_and_one_of_another_browser_are_worth_nothing(home, ann):
    _, callback = await leave(home, ann)
    path = callback.removeprefix(home.web.server.url)
    twice = await ann.get(f"{path}&oauth_token=a&oauth_token=b&oauth_verifier=v")
    assert twice.headers["Location"] == "/oauth/refused/unreadable"
    async with home.browser() as eve:
        assert "in another browser" in (await come_back(eve, callback, **EXCHANGED)).text
    assert await home.connections() == {}


async def test_a_login_that_began_before_the_policy_was_changed_is_begun_again(home, ann):
    own = POLICY[POLICY.index("[auth.request_token]") : POLICY.index("[auth.authorize]")]
    code = POLICY.replace(own, "").replace('grant = "oauth1"', 'grant = "authorization_code"')
    await written(home, code.replace('[sign]\nscheme = "oauth1"\n', "").replace("scope = ", "x = "))
    asked = await ann.leave(await home.link("bird"))
    await written(home, POLICY)
    page = await ann.come_back("bird", state=asked["state"], **EXCHANGED)
    assert "The policy of bird was changed while somebody was signing in." in page.text
    assert home.provider.seen == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, TEMPORARY | {"oauth_callback_confirmed": "false"}), "It does not accept the redirect URL"),
        ((200, {"oauth_token": "t"}), "Its answer has no oauth_token_secret that could be used."),
        ((200, {"oauth_token": "", "oauth_token_secret": "s"}), "Its answer has no oauth_token that could be used."),
        ((200, TEMPORARY | {"oauth_token": "a\r\nb"}), "Its answer has no oauth_token that could be used."),
        ((200, "hello"), "The provider answered 200: hello"),
        ((200, "<html>"), "The provider answered 200"),
        ((401, {"oauth_problem": "consumer_key_unknown"}), "The provider answered 401: consumer_key_unknown"),
        ((200, {"oauth_problem": "timestamp_refused"}), "The provider answered: timestamp_refused"),
        ((403, f"Not with {CONSUMER_SECRET}"), "The provider answered 403: Not with ***"),
        ((302, ""), "a redirect, which is never followed"),
    ],
)
async def test_a_login_that_can_not_begin_is_said_with_what_was_typed(home, ann, answer, words):
    home.provider.requested = answer
    page = await ann.send(await home.link("bird"), region="eu")
    assert page.status == 502
    assert "Bird began no sign-in." in page.text
    assert words in page.text
    assert f"{home.web.server.url}/oauth/callback/bird" in page.text
    assert '<option value="eu" selected>' in page.text


async def test_a_provider_that_does_not_say_that_it_confirms_the_callback_still_must_send_a_verifier(home, ann):
    home.provider.requested = (200, TEMPORARY)
    assert "Connected as" in (await connected(home, ann)).text


async def test_a_consumer_secret_that_is_wrong_is_said_in_the_providers_words(home, ann):
    await written(home, POLICY, secret="wrong")
    page = await ann.send(await home.link("bird"))
    assert "The provider answered 401: Failed to validate the signature" in page.text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {"oauth_problem": f"no {VERIFIER}"}), "Bird gave no token. The provider answered 401: no ***"),
        ((200, {"oauth_token": "t"}), "Bird gave no token. Its answer has no oauth_token_secret"),
    ],
)
async def test_a_verifier_that_is_worth_nothing_is_said(home, ann, answer, words):
    home.provider.given = answer
    assert words in (await connected(home, ann)).text
    assert await home.connections() == {}


async def test_the_token_may_be_asked_for_by_get_and_no_script_reads_what_signs(home, ann):
    own = '[auth.token.params]\nown = {{ js = "return Object.keys(context.app).join()" }}\n'
    how = f'url = "{{url}}/access"\nmethod = "GET"\nformat = "query"\n{own}'
    await written(home, POLICY.replace('url = "{url}/access"\n', how))
    assert "Connected as" in (await connected(home, ann)).text
    assert (home.provider.seen[1].method, home.provider.seen[1].said["own"]) == ("GET", "client_id")


def test_the_token_and_its_secret_count_among_a_connections_secrets() -> None:
    """As such they are taken out of every answer that is shown."""
    kept = Credentials(token=LASTING)
    assert {one.reveal() for one in kept.all_secrets} == {LASTING["oauth_token"], LASTING["oauth_token_secret"]}


async def test_its_set_up_page_opens_and_saves_what_it_shows_and_the_rest_stays(home):
    await sign_in(home.web)
    page = await home.web.get("/apps/bird")
    assert page.status == 200
    assert '<option value="oauth1" selected>' in page.text
    assert f"{home.web.server.url}/oauth/callback/bird" in page.text
    assert page_faults(page.text) == []
    saved = await press_with(home.web, page, "save", {"auth.token.url": f"{home.provider.url}/access?v=2"})
    assert saved.status == 303, saved.text
    text = home.gateway.catalog.path("bird").read_text(encoding="utf-8")
    before = POLICY.format(url=home.provider.url)
    assert text == before.replace("/access", "/access?v=2")
