"""The pages of connections: the list, one connection, and what an operator does with it."""

import asyncio
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.store.rows import ClientRow, ConnectionRow, EventRow, RequestRow, RevocationRow, Status
from gateway.web.text import has
from tests.vault.harness import API_KEY, CLIENT, CLIENT_CREDENTIALS, FakeProvider, as_json, down
from tests.web.harness import NOW, Answer, Web, form_token, running
from tests.web.test_hostile_words import HOSTILE, harmless
from tests.web.test_routes import sign_in, state_of

ROW: dict[str, Any] = {"app": "crm", "status": Status.ACTIVE, "created_at": NOW, "updated_at": NOW}


@pytest.fixture
async def admin(web):
    await sign_in(web)
    return web


@pytest.fixture
async def real(tmp_path):
    """The real vault, beside a provider that does as it is told; both apps have one connection."""
    provider = FakeProvider()
    async with running(tmp_path, real_vault=True, egress=provider) as web:
        web.provider = provider
        for app, text in (("example", CLIENT_CREDENTIALS), ("keyed", API_KEY)):
            assert web.gateway.catalog.write(app, text) == ()
        await web.gateway.vault.connect("example", connection_id="ex-john", fields=CLIENT, actor="cli")
        await web.gateway.vault.connect("keyed", connection_id="key", fields={"api_key": "k-secret"}, actor="cli")
        await sign_in(web)
        yield web


async def add(web: Web, connection: str, **changes: Any) -> None:
    values = ROW | {"id": connection, "label": connection, "unique_id": connection} | changes
    await web.gateway.store.connections.insert(ConnectionRow(**values))


async def do(web: Web, connection: str, what: str, **values: str) -> Answer:
    """Press a button of the connection's page."""
    path = f"/connections/{connection}"
    given = {"form_token": form_token(await web.get("/connections/" + connection)), "do": what}
    return await web.request("POST", path, data=given | values)


async def said(web: Web, path: str) -> str:
    """What a page says, as people read it: without its markup."""
    return words_of((await web.get(path)).text)


def words_of(text: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def listed(text: str) -> list[str]:
    return re.findall(r'<a href="/connections/([^"?]+)"><code>', text)


# The list.


async def test_where_nobody_is_connected_the_page_says_what_a_connection_is_and_where_to_begin(admin):
    text = await said(admin, "/connections")
    assert "Nobody is connected yet" in text
    assert "Set up an app" in text
    assert 'href="/apps"' in (await admin.get("/connections")).text
    assert "<form class=" not in (await admin.get("/connections")).text


async def test_each_row_says_what_it_is_how_it_stands_and_since_when(admin):
    await add(admin, "crm-ann", label="Ann", expires_at=NOW + 3600, last_used_at=NOW - 120)
    await add(admin, "crm-bob", status=Status.NEEDS_REAUTHORIZATION, reason="Bob left.")
    await add(admin, "crm-cy", failures=3, retry_at=NOW + 240, reason="It is down.")
    await add(admin, "old-app", app="old", status=Status.DISCONNECTED)
    text = await said(admin, "/connections")
    assert "crm-ann Ann Example CRM active in 1 hour 2 minutes ago" in text
    assert "crm-bob Example CRM needs a sign-in Bob left. no token never" in text
    assert "crm-cy Example CRM retrying 3 failed renewals in a row. Next try in 4 minutes . It is down." in text
    assert "old-app old disconnected never" in text
    assert "All 4 pending 0 active 2 needs a sign-in 1 disconnected 1" in text


async def test_the_form_narrows_by_text_app_and_status_and_keeps_what_was_chosen(admin):
    await add(admin, "crm-ann", label="Ann")
    await add(admin, "crm-bob", label="Bob", status=Status.PENDING)
    await add(admin, "mac-ann", label="Ann 2", app="machine")
    for query, expected in (
        ("", ["crm-ann", "crm-bob", "mac-ann"]),
        ("?search=ANN&app=&status=", ["crm-ann", "mac-ann"]),
        ("?app=crm", ["crm-ann", "crm-bob"]),
        ("?status=pending", ["crm-bob"]),
        ("?search=ann&app=machine&status=active", ["mac-ann"]),
    ):
        assert listed((await admin.get(f"/connections{query}")).text) == expected, query
    text = (await admin.get("/connections?search=ann&app=machine&status=active")).text
    for kept in ('value="ann"', '<option value="machine" selected>', '<option value="active" selected>'):
        assert kept in text
    assert 'href="/connections?app=machine&amp;status=pending"' in text, "the counts are of the app"
    assert "All 1 pending 0 active 1" in words_of(text)


async def test_where_none_fits_the_page_says_so_and_how_to_see_all(admin):
    await add(admin, "crm-ann")
    answer = await admin.get("/connections?search=nobody")
    assert (answer.status, listed(answer.text)) == (200, [])
    assert "No connection fits" in answer.text
    assert '<a class="button plain" href="/connections">' in answer.text


async def test_a_page_has_fifty_and_leads_on_with_what_was_chosen(admin):
    for number in range(120):
        await add(admin, f"c{number:03}", label="even" if number % 2 == 0 else "odd")
    seen, path = [], "/connections?search=even"
    while path:
        text = (await admin.get(path)).text
        seen.append(listed(text))
        found = re.search(r'href="([^"]+)" rel="next"', text)
        path = unescape(found[1]) if found else ""
    assert [len(page) for page in seen] == [50, 10]
    assert [one for page in seen for one in page] == [f"c{number:03}" for number in range(0, 120, 2)]
    assert 'href="/connections?search=even">First' in text


async def test_an_address_that_asks_for_what_cant_be_says_so_and_shows_all(admin):
    await add(admin, "crm-ann")
    answer = await admin.get("/connections?status=asleep&app=A+B")
    assert (answer.status, listed(answer.text)) == (422, ["crm-ann"])
    assert "<code>status=asleep</code>" in answer.text
    assert "<code>app=A B</code>" in answer.text


# One connection.


async def test_there_is_a_page_for_each_connection_and_none_for_what_is_none(admin):
    for unknown, words in (("nobody", "There is no connection nobody."), ("a%00b", "no such"), ("%3Cb%3E", "no such")):
        for path in (f"/connections/{unknown}", f"/connections/{unknown}/disconnect"):
            answer = await admin.get(path)
            assert answer.status == 404
            assert words in answer.text
            assert "All that there are are at /connections." in answer.text
            sent = {"form_token": form_token(answer), "do": "test", "confirm": "nobody"}
            assert (await admin.request("POST", path, data=sent)).status == 404


async def test_a_connections_page_answers_what_an_operator_asks(real):
    store = real.gateway.store
    for row in (
        ClientRow(name="runner", token_hash=b"1", patterns=("key", "ex-*", "*-john"), created_at=NOW),
        ClientRow(name="guest", token_hash=b"2", patterns=("ex-john",), created_at=NOW, expires_at=NOW - 1),
        ClientRow(name="gone", token_hash=b"3", patterns=("*",), created_at=NOW, revoked_at=NOW),
        ClientRow(name="other", token_hash=b"4", patterns=("key",), created_at=NOW),
    ):
        await store.clients.insert(row)
    text = await said(real, "/connections/ex-john")
    for shown in (
        "John Doe ex-john · Example active",
        "It can be used. Its token is renewed by itself before it ends.",
        "Token ends in 1 hour",
        "Unique identifier u1",
        "by an administrator, on the command line",
        "Client id cid Client secret shown to nobody",
        "guest by ex-john its token has expired runner by ex-* , *-john",
        "https://api.test/v1",
        "Connected as John Doe .",
        "No request has come yet.",
    ):
        assert shown in text, shown
    assert "gone" not in text
    assert "client-s3cret" not in text
    assert "other" not in text.partition("Who may use it")[2].partition("What it may reach")[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"failures": 2, "reason": "It is down.", "retry_at": NOW + 300},
            "crm-ann · Example CRM retrying",
        ),
        ({"failures": 2, "reason": "It is down.", "retry_at": NOW + 300}, "Why It is down."),
        ({"failures": 2, "reason": "It is down.", "retry_at": NOW + 300}, "The provider is asked again in 5 minutes"),
        ({"failures": 2, "retry_at": NOW - 1}, "The provider is asked again at the next request"),
        ({"failures": 2, "expires_at": NOW - 1}, "Programs are refused until it is."),
        ({"status": Status.NEEDS_REAUTHORIZATION, "reason": "Revoked."}, "A person has to sign in again."),
        ({"status": Status.NEEDS_REAUTHORIZATION, "reason": "Revoked."}, "Why Revoked."),
        ({"status": Status.PENDING}, "It was begun and never finished."),
        ({"status": Status.DISCONNECTED}, "A reconnect link brings it back under its id."),
    ],
)
async def test_each_status_says_why_and_what_to_do(admin, changes, words):
    await add(admin, "crm-ann", **changes)
    assert words in await said(admin, "/connections/crm-ann")


async def test_what_is_left_to_revoke_is_said_with_why_and_when(real):
    row = RevocationRow(
        id="r", connection="ex-john", app="example", actor="cli", created_at=NOW, next_try_at=NOW + 600, attempts=4
    )
    await real.gateway.vault.disconnect("ex-john", actor="cli")
    await real.gateway.vault.close()
    text = await said(real, "/connections/ex-john")
    assert "not revoked" not in text
    assert "The provider revoked its tokens." in text
    await real.gateway.store.revocations.add(row)
    assert "The gateway goes on trying." in await said(real, "/connections/ex-john")
    assert "The provider has yet to revoke its tokens." in await said(real, "/connections")
    await real.gateway.store.revocations.failed("r", attempts=5, next_try_at=None, last_error="It answered 503.")
    text = await said(real, "/connections/ex-john")
    assert "Remove this gateway's access in the account's settings at the provider." in text
    assert "Tries 5 The last one It answered 503." in text
    assert "The provider did not revoke its tokens." in await said(real, "/connections")


async def test_the_real_end_of_a_connection_whose_provider_is_down_is_on_its_page(real):
    real.provider.revocations = [down()]
    answer = await real.request(
        "POST",
        "/connections/ex-john/disconnect",
        data={"form_token": form_token(await real.get("/connections/ex-john")), "confirm": "ex-john"},
    )
    assert answer.headers["Location"] == "/connections/ex-john?done=connection_disconnected"
    await asyncio.gather(*real.gateway.vault._partings._tasks)
    text = await said(real, answer.headers["Location"])
    assert "It is disconnected. Programs are refused from now on." in text
    assert "The provider has not revoked its tokens yet." in text
    assert "The last one id.test could not be connected to: refused." in text
    assert "The provider did not revoke its tokens at the first try." in text


async def test_a_connection_that_cant_be_used_with_todays_policy_says_why(real):
    real.gateway.catalog.write("example", CLIENT_CREDENTIALS.replace("{{ access_token }}", "{{ token.other }}"))
    real.gateway.vault.forget("app", "example")
    text = await said(real, "/connections/ex-john")
    assert (
        "It can't be used as it is. Why The connection ex-john can't be used: the value token.other is missing" in text
    )
    real.gateway.catalog.path("example").unlink()
    real.gateway.catalog.load()
    real.gateway.vault.forget("app", "example")
    text = await said(real, "/connections/ex-john")
    assert "Put policies/example.toml back; the connection is as it was." in text
    assert "Nothing: the policy of this app is not there." in text
    assert "client_id cid" in text


async def test_field_values_that_cant_be_opened_are_said_to_be_so_and_the_rest_is_shown(real):
    await real.gateway.store.connections.update("ex-john", fields=b"another place's")
    answer = await real.get("/connections/ex-john")
    assert answer.status == 200
    assert "It can&#39;t be opened with the keys that there are." in answer.text


async def test_a_secret_field_is_not_shown_where_it_was_none_when_it_was_filled_in(real):
    text = CLIENT_CREDENTIALS.replace('name = "client_id"', 'name = "client_id"\nsecret = true')
    assert real.gateway.catalog.write("example", text) == ()
    assert "Client id shown to nobody" in await said(real, "/connections/ex-john")
    await real.gateway.vault.disconnect("ex-john", actor="cli")
    text = await said(real, "/connections/ex-john")
    assert "cid" not in text
    assert "shown to nobody" not in text, "it is gone"


async def test_what_it_may_reach_is_said_with_its_own_values(real):
    host = "https://{{ client_id }}.api.test"
    own = f'urls = ["{host}/v1"]\ndeny = ["{host}/v1/keys"]\nmethods = ["GET"]'
    text = CLIENT_CREDENTIALS.replace('urls = ["https://api.test/v1"]', own).replace('url = "/me"', 'url = "/v1/me"')
    text = text.replace('base_url = "https://api.test/v1"', f'base_url = "{host}"')
    assert real.gateway.catalog.write("example", text) == ()
    text = await said(real, "/connections/ex-john")
    assert "https://cid.api.test/v1 By these methods alone: GET Never, whatever else is allowed:" in text
    assert "https://cid.api.test/v1/keys Set up Example" in text


async def test_where_anonymous_access_is_on_the_page_says_who_may_use_it(tmp_path):
    async with running(tmp_path, access={"anonymous": True}) as web:
        await sign_in(web)
        await add(web, "crm-ann")
        text = await said(web, "/connections/crm-ann")
        assert "any program on this machine may use it without a token" in text
        assert "no program can use it" not in text


EVENTS = [
    ("connection.created", "label", "Ann", "Connected as Ann . just now · an administrator, on the command line"),
    ("connection.updated", "label", "Ann", "Connected again, as Ann ."),
    ("connection.renamed", "label", "Books", "The label was changed to Books ."),
    ("connection.tested", "ok", True, "Tested: it works."),
    ("connection.tested", "ok", False, "Tested: it does not work. The answer was none."),
    ("connection.needs_reauthorization", "reason", "Revoked.", "A person has to sign in again. Revoked."),
    ("connection.disconnected", "", "", "Disconnected."),
    ("connection.revoked", "attempts", 2, "The provider revoked its tokens."),
    ("connection.revocation_failed", "reason", "Down.", "did not revoke its tokens at the first try. Down."),
    ("connection.revocation_failed", "given_up", True, "nobody tries any more. Down."),
    ("token.refreshed", "", "", "Refreshed: there is a new token."),
    ("token.refresh_failed", "reason", "Down.", "The token could not be renewed. Down."),
    ("token.refresh_recovered", "failures", 3, "The token was renewed again, after 3 failures."),
    ("link.created", "expires_at", NOW, "A link to connect it was made, good until 2027-01-15 08:00 UTC."),
    ("client.created", "", "", "A client runner was made for it."),
    ("webhook.given_up", "type", "x.y", "The webhook was not told of x.y , after 9 tries. Down."),
    ("something.new", "size", [1, {"a_at": NOW}], "something.new : size 1, a_at 2027-01-15 08:00 UTC"),
    ("something.plain", "", "", "something.plain just now"),
    ("connection.created", "", "", "connection.created just now"),
]
MORE = {
    "connection.tested": {"status": None},
    "connection.revocation_failed": {"reason": "Down.", "given_up": False, "attempts": 1},
    "webhook.given_up": {"attempts": 9, "reason": "Down."},
}


@pytest.mark.parametrize(("kind", "name", "value", "words"), EVENTS)
async def test_the_history_is_in_words_and_what_has_none_is_shown_as_it_is(admin, kind, name, value, words):
    detail = MORE.get(kind, {}) | ({name: value} if name else {})
    client = "runner" if kind.startswith("client.") else None
    await add(admin, "crm-ann")
    row = EventRow(at=NOW, kind=kind, actor="cli", app="crm", connection="crm-ann", client=client, detail=detail)
    await admin.gateway.store.events.add(row)
    assert words in await said(admin, "/connections/crm-ann")


def test_each_kind_of_event_that_a_connection_can_have_has_words():
    """Found in the source where events are made: behind the names of what makes them."""
    sources = [file.read_text(encoding="utf-8") for room in ("vault", "admin/links.py") for file in files_of(room)]
    made = re.compile(r'(?:\btell|_tell|_told|record|\.event)\(\s*"([a-z_.]+)"|\bkind = "([a-z_.]+)"')
    kinds = {one or other for source in sources for one, other in made.findall(source)}
    assert {"connection.created", "connection.renamed", "token.refreshed", "link.created", "webhook.given_up"} <= kinds
    assert [kind for kind in sorted(kinds) if not has(f"told.{kind}")] == []


def files_of(room: str) -> list[Path]:
    place = Path(gateway.__file__).parent / room
    return [place] if place.is_file() else sorted(place.glob("*.py"))


async def test_the_newest_requests_and_events_are_shown_and_the_way_to_all_of_them(admin):
    await add(admin, "crm-ann")
    store = admin.gateway.store
    rows = [
        RequestRow(
            at=NOW,
            request_id=str(number),
            method="GET",
            url=f"https://example.com/{number}",
            status=403,
            code="target_not_allowed",
            seconds=0.25,
            connection="crm-ann",
            client="runner",
        )
        for number in range(12)
    ]
    await store.requests.add_many(rows)
    for number in range(25):
        await store.events.add(EventRow(at=NOW, kind=f"kind.{number}", actor="cli", connection="crm-ann"))
    text = (await admin.get("/connections/crm-ann")).text
    assert re.findall(r"https://example.com/(\d+)", text) == [str(number) for number in range(11, 1, -1)]
    assert re.findall(r"kind\.(\d+)", text) == [str(number) for number in range(24, 4, -1)]
    assert "403 target_not_allowed 250 ms runner just now" in words_of(text)
    assert text.count('href="/activity?connection=crm-ann"') == 2


# Would this request be allowed?


async def test_a_request_is_explained_with_what_would_be_added_and_no_secret(real):
    for url, words in (
        ("https://api.test/v1/users?x=1", "Sent to https://api.test/v1/users?x=1"),
        ("/users", "Sent to https://api.test/v1/users"),
        ("https://api.test/v1/users", "allowed Covered by the allowed URL 'https://api.test/v1'."),
        ("https://api.test/v1/users", "Header fields Authorization Bearer *** Query key *** Body version v2"),
        ("https://evil.test/v1", "denied https://evil.test/v1 is not in the allowed URLs."),
        ("api.test/v1", "denied The target is not one clean http or https URL"),
        ("https://api.test/v1/%2e%2e/x", "denied"),
        ("https://api.test\\@evil.test", "denied The target is not one clean http or https URL"),
    ):
        answer = await do(real, "key", "explain", method="get", url=f" {url} ")
        assert answer.status == 200
        assert words in words_of(answer.text), url
        assert f'name="url" type="text" value="{url}"' in answer.text
        assert "k-secret" not in answer.text
    assert 'action="/connections/key#try"' in answer.text
    assert real.provider.tested[-1].url.endswith("/me?key=k-secret"), "nothing was sent but what connected it"
    assert len(real.provider.tested) == 2


@pytest.mark.parametrize(
    ("method", "url", "words"),
    [
        ("GET", "", "The URL is needed: paste one"),
        ("GET", "https://example.com/" + "x" * 9_000, "The URL String should have at most 8192 characters."),
        ("G T", "https://example.com/", "This can't be asked about."),
        ("GET", "https://example.com/\\", "A backslash can't stand in a URL."),
    ],
)
async def test_a_question_that_is_none_keeps_what_was_typed_and_says_what_is_wrong(admin, method, url, words):
    await add(admin, "crm-ann")
    answer = await do(admin, "crm-ann", "explain", method=method, url=url)
    assert answer.status in {400, 422}
    assert words in words_of(answer.text)
    assert f'value="{url}"' in answer.text


# What can be done.


async def test_testing_shows_what_the_service_said(real):
    answer = await do(real, "ex-john", "test")
    assert answer.status == 200
    assert '<div class="done" role="status">' in answer.text
    assert "It works. The test call answered 200." in words_of(answer.text)
    real.provider.me = as_json(503, message="Down for <b>maintenance</b>")
    answer = await do(real, "ex-john", "test")
    assert answer.status == 200
    assert '<div class="alert" role="alert">' in answer.text
    assert "It does not work. The test call answered 503 (expected 200)" in words_of(answer.text)
    assert "Tested: it does not work. The answer was 503." in words_of(answer.text)
    events = (await real.gateway.store.events.list(kind="connection.tested")).items
    assert {event.actor for event in events} == {"admin-page"}


async def test_refreshing_leads_back_to_the_page_and_what_fails_is_on_it_in_words(real):
    answer = await do(real, "ex-john", "refresh")
    assert (answer.status, answer.headers["Location"]) == (303, "/connections/ex-john?done=connection_refreshed")
    assert "There is a new token. John Doe" in await said(real, answer.headers["Location"])
    real.provider.scripted = [as_json(503)]
    answer = await do(real, "ex-john", "refresh")
    assert answer.status == 502
    assert int(answer.headers["Retry-After"]) > 0
    text = words_of(answer.text)
    assert "There is no new token. The token of ex-john could not be refreshed." in text
    assert "Example retrying Test now" in text, "the page is as it is now"
    real.provider.scripted = [as_json(400, error="invalid_grant"), as_json(400, error="invalid_grant")]
    answer = await do(real, "ex-john", "refresh")
    assert answer.status == 502
    assert "needs a sign-in" in answer.text
    assert "gateway connect" not in answer.text, "the way is the button on this page"


async def test_a_refusal_of_the_vault_is_shown_with_its_hint_status_and_wait(admin):
    await add(admin, "crm-ann")
    refusal = Refusal(code="refresh_failed", detail="The <provider> said no.", hint="Ask it why.", retry_after=7)
    admin.gateway.vault.refuses = AuthorizationServerError(refusal)
    answer = await do(admin, "crm-ann", "refresh")
    assert (answer.status, answer.headers["Retry-After"]) == (502, "7")
    assert "There is no new token. The <provider> said no. Ask it why." in words_of(answer.text)
    assert "<provider>" not in answer.text
    assert "<code>crm-ann</code>" in answer.text


async def test_a_reconnect_link_is_shown_once_with_its_end_and_opens_here(real):
    answer = await do(real, "ex-john", "link")
    assert answer.status == 200
    (url,) = re.findall(r"<pre [^>]*><code>([^<]+)</code></pre>", answer.text)
    path = url.removeprefix(real.server.url)
    assert path.startswith("/connect/gwl_")
    assert f'<a href="{path}">Open it here</a>' in answer.text
    assert "Good until 2027-01-15 08:30 UTC." in answer.text
    assert "Reconnect Example" in (await real.get(path)).text
    assert "gwl_" not in (await real.get("/connections/ex-john")).text
    (event,) = (await real.gateway.store.events.list(kind="link.created")).items
    assert (event.actor, event.connection) == ("admin-page", "ex-john")


async def test_a_link_for_an_app_that_isnt_set_up_any_more_is_refused_in_words(admin):
    await add(admin, "old-ann", app="old")
    answer = await do(admin, "old-ann", "link")
    assert answer.status == 404
    assert "There is no link. The policy of the app old is not there" in words_of(answer.text)
    assert "Put policies/old.toml back." in answer.text


async def test_a_disconnected_one_is_connected_again_by_a_link_and_has_its_id(real):
    await real.gateway.vault.disconnect("ex-john", actor="cli")
    answer = await do(real, "ex-john", "link")
    path = re.findall(r'<a href="([^"]+)">Open it here', answer.text)[0]
    sent = {f"field.{name}": value for name, value in CLIENT.items()}
    answer = await real.request("POST", path, data={"form_token": form_token(await real.get(path))} | sent)
    assert (answer.status, answer.headers["Location"]) == (303, path)
    assert "It can be used." in await said(real, "/connections/ex-john")


async def test_the_label_is_changed_by_a_form_and_kept_in_it_where_it_is_none(real):
    answer = await do(real, "ex-john", "label", label=" The books ")
    assert (answer.status, answer.headers["Location"]) == (303, "/connections/ex-john?done=connection_renamed")
    text = await said(real, answer.headers["Location"])
    assert "The label is changed. The books ex-john" in text
    assert "Account John Doe" in text
    assert "The label was changed to The books . just now · an administrator, on these pages" in text
    answer = await do(real, "ex-john", "label", label="x" * 201)
    assert answer.status == 422
    assert f'value="{"x" * 201}"' in answer.text
    assert "Label is one line of at most 200 printable characters." in words_of(answer.text)
    assert "<details open>" in answer.text


async def test_disconnecting_says_what_will_happen_and_takes_nothing_but_the_id(real):
    await real.gateway.store.clients.insert(
        ClientRow(name="runner", token_hash=b"1", patterns=("ex-*",), created_at=NOW)
    )
    path = "/connections/ex-john/disconnect"
    text = await said(real, path)
    assert "Example is told to revoke its tokens" in text
    assert "1 client can't use it any more: runner" in text
    before = await state_of_real(real)
    for wrong in ("", "ex-joh", "EX-JOHN", "ex-john x", "John Doe"):
        answer = await real.request(
            "POST", path, data={"form_token": form_token(await real.get(path)), "confirm": wrong}
        )
        assert answer.status == 422
        assert f'value="{wrong}"' in answer.text
        assert "This is not the id of the connection, ex-john. Nothing was changed." in answer.text
    assert await state_of_real(real) == before
    sent = {"form_token": form_token(await real.get(path)), "confirm": " ex-john "}
    answer = await real.request("POST", path, data=sent)
    assert answer.headers["Location"] == "/connections/ex-john?done=connection_disconnected"
    await real.gateway.vault.close()
    assert [call["token"] for call in real.provider.revoked] == ["at-1-secret"]
    for again in (await real.get(path), await real.request("POST", path, data=sent)):
        assert (again.status, again.headers["Location"]) == (303, "/connections/ex-john")


async def state_of_real(web: Web) -> tuple[object, ...]:
    store = web.gateway.store
    return (await store.connections.list(), (await store.events.list()).items, await store.clients.all())


async def test_what_the_provider_is_not_told_is_said_before_and_after(real):
    text = CLIENT_CREDENTIALS.replace('[auth.revoke]\nurl = "https://id.test/revoke"\n', "")
    assert real.gateway.catalog.write("example", text) == ()
    assert "Example is not told: its policy has no revoke URL." in await said(real, "/connections/ex-john/disconnect")
    assert "revoke" not in await said(real, "/connections/key/disconnect"), "an API key is nothing that is revoked"
    await real.gateway.vault.disconnect("ex-john", actor="cli")
    assert "The provider was not told" in await said(real, "/connections/ex-john")
    await real.gateway.vault.disconnect("key", actor="cli")
    assert "The provider was not told" not in await said(real, "/connections/key")


async def test_who_comes_second_to_disconnect_is_shown_that_it_is_done(admin, monkeypatch):
    async def gone(*_given, **_how):
        raise ClientError(Refusal(code="not_found", detail="There is no connection crm-ann."))

    await add(admin, "crm-ann")
    monkeypatch.setattr(admin.gateway.vault, "disconnect", gone)
    path = "/connections/crm-ann/disconnect"
    sent = {"form_token": form_token(await admin.get(path)), "confirm": "crm-ann"}
    assert (await admin.request("POST", path, data=sent)).headers["Location"].startswith("/connections/crm-ann?")


async def test_a_form_that_says_nothing_to_do_is_refused(admin):
    await add(admin, "crm-ann")
    for what in ("", "delete", "__class__"):
        assert (await do(admin, "crm-ann", what)).status == 422


async def test_only_what_makes_sense_is_offered(real):
    def offered(text: str) -> list[str]:
        return re.findall(r'name="do" value="([a-z]+)"', text)

    assert offered((await real.get("/connections/ex-john")).text) == ["test", "refresh", "link", "label", "explain"]
    assert offered((await real.get("/connections/key")).text) == ["test", "link", "label", "explain"]
    await real.gateway.vault.disconnect("ex-john", actor="cli")
    text = (await real.get("/connections/ex-john")).text
    assert offered(text) == ["link"]
    assert "/disconnect" not in text


async def test_looking_changes_nothing(real):
    before = await state_of_real(real)
    calls = len(real.provider.tested), len(real.provider.token_calls)
    for path in ("/connections", "/connections?search=x", "/connections/ex-john", "/connections/ex-john/disconnect"):
        for method in ("GET", "HEAD"):
            assert (await real.request(method, path)).status == 200
    assert await state_of_real(real) == before
    assert (len(real.provider.tested), len(real.provider.token_calls)) == calls


async def test_hostile_words_stay_words_wherever_they_come_from(admin):
    store = admin.gateway.store
    for number, words in enumerate(HOSTILE):
        name = f"c{number}"
        await add(admin, name, label=words, unique_id=words, reason=words, created_by=words, app=words, failures=1)
        await store.connections.update(name, account_label=words)
        for kind, detail in (("connection.created", {"label": words}), (words, {words: words, "n": [words]})):
            await store.events.add(EventRow(at=NOW, kind=kind, actor=words, connection=name, detail=detail))
        row = RequestRow(at=NOW, request_id="r", method=words, url=words, status=200, seconds=0.1, connection=name)
        await store.requests.add_many([row])
        path = f"/connections/{name}"
        for page in (path, f"{path}/disconnect", "/connections", "/connections/%3Cscript%3Ealert(1)%3C%2Fscript%3E"):
            harmless(await admin.get(page), words, page)
        for query in ("search", "app", "status", "cursor", "done"):
            harmless(await admin.get("/connections", params={query: words}), words)
        refusal = Refusal(code="conflict", detail=words, hint=words, errors=({"path": "label", "message": words},))
        admin.gateway.vault.refuses = ClientError(refusal)
        for what in ("label", "refresh", "explain"):
            harmless(await do(admin, name, what, label=words, url=words, method=words), words)
        sent = {"form_token": form_token(await admin.get(path)), "confirm": words}
        harmless(await admin.request("POST", f"{path}/disconnect", data=sent), words)
        await store.connections.update(name, status=Status.DISCONNECTED)
        await store.revocations.add(
            RevocationRow(
                id=name, connection=name, app="crm", actor="x", created_at=NOW, next_try_at=None, last_error=words
            )
        )
        harmless(await admin.get(path), words)


async def test_nothing_that_the_page_changes_is_changed_by_a_visitor(web):
    await add(web, "crm-ann")
    token = form_token(await web.get("/sign-in"))
    before = await state_of(web)
    for path in ("/connections/crm-ann", "/connections/crm-ann/disconnect"):
        for what in ("test", "refresh", "link", "label", "explain"):
            sent = {"form_token": token, "do": what, "confirm": "crm-ann", "url": "https://example.com"}
            answer = await web.request("POST", path, data=sent)
            assert answer.status == 401
            assert "crm-ann" not in answer.text
    assert await state_of(web) == before
    assert web.gateway.vault.calls == []
