"""The clients' pages: what they show, what the rows hold, and where a token is: in one answer, and nowhere after it."""

import html
import re
from dataclasses import replace

import pytest

from gateway.access import hash_token
from gateway.store.rows import ClientRow, ConnectionRow, RequestRow, Status, TallyRow
from gateway.web.clients import SHOWN
from tests.web.harness import ADMIN, NOW, Answer, Web, form_token, running

DAY = 86_400.0
GOOD = {"name": "runner", "patterns": "crm-*", "expires": "quarter", "step": "make"}
TOKEN = re.compile(r"gwc_[A-Za-z0-9_-]{43}")


async def sign_in(web: Web) -> None:
    page = await web.get("/sign-in")
    await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})


@pytest.fixture
async def admin(web: Web) -> Web:
    """A browser in which an administrator is signed in."""
    await sign_in(web)
    return web


async def send(web: Web, path: str, **values: str) -> Answer:
    """Send a form of the page that the list is."""
    token = form_token(await web.get("/clients"))
    return await web.request("POST", path, data={"form_token": token} | values)


async def connect(web: Web, *ids: str, app: str = "crm", status: Status = Status.ACTIVE) -> None:
    for one in ids:
        row = ConnectionRow(id=one, app=app, status=status, unique_id=one, created_at=NOW, updated_at=NOW)
        await web.gateway.store.connections.insert(row)


def words(answer: Answer) -> str:
    """What stands on the page, in one line."""
    text = re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])
    return re.sub(r"\s+", " ", html.unescape(text))


def error_beside(answer: Answer, field: str) -> str:
    """What is said beside a field, which names it as what describes it."""
    assert f'aria-describedby="{field}-help {field}-error" aria-invalid="true"' in answer.text
    return html.unescape(re.search(rf'<p class="error" id="{field}-error">(.*?)</p>', answer.text)[1])


def value_of(answer: Answer, field: str) -> str:
    """What stands in a field."""
    area = re.search(rf'<textarea[^>]* name="{field}"[^>]*>(.*?)</textarea>', answer.text, re.DOTALL)
    if area:
        return html.unescape(area[1])
    chosen = re.search(rf'<select[^>]* name="{field}".*?<option value="([^"]*)" selected>', answer.text, re.DOTALL)
    return chosen[1] if chosen else html.unescape(re.search(rf' name="{field}"[^>]* value="([^"]*)"', answer.text)[1])


# The list.


async def test_where_there_is_no_client_the_page_says_what_one_is(admin):
    page = await admin.get("/clients")

    assert "A client is a program that may use some connections" in words(page)
    assert 'href="/clients/_new"' in page.text
    assert '<a href="/clients" aria-current="page">' in page.text


async def test_the_list_shows_what_each_may_use_reaches_now_and_until_when(admin):
    await connect(admin, "crm-ann", "crm-bob")
    await connect(admin, "crm-old", status=Status.DISCONNECTED)
    access = admin.gateway.access
    await access.create("agent", ["crm-*"])
    await access.create("laptop", ["crm-ann", "nothing-*"], NOW + 5 * DAY)
    await access.create("nightly", ["*"], NOW + 90 * DAY)
    await access.create("past", ["board-*"], NOW + 1)
    await access.create("gone", ["*"])
    await access.revoke("gone")
    old = ClientRow(name="old", token_hash=b"old", patterns=("crm-bob",), created_at=NOW - 40 * DAY)
    await admin.gateway.store.clients.insert(old)
    day = {"dimension": "client", "span": 3600, "requests": 1}
    await admin.gateway.store.tallies.add(
        [TallyRow(key="agent", at=int(NOW), **day), TallyRow(key="nightly", at=int(NOW - 3 * DAY), **day)]
    )
    admin.gateway.now = NOW + 2

    rows = re.findall(r"<tr>(.*?)</tr>", (await admin.get("/clients")).text, re.DOTALL)[1:]
    told = [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)).strip() for row in rows]
    assert told == [
        "agent crm-* 2 connections now active this hour just now never",
        "laptop crm-ann nothing-* 1 connection now ends soon never just now in 4 days",
        "nightly * 2 connections now active 3 days ago just now 2027-04-15",
        "old crm-bob 1 connection now active not in 35 days 40 days ago never",
        "past board-* 0 connections now expired never just now just now",
    ]
    revoked = words(await admin.get("/clients?revoked=1"))
    assert "gone" in revoked
    assert "agent" not in revoked


async def test_a_long_list_has_pages(admin):
    row = (await admin.gateway.access.create("a", ["*"])) and (await admin.gateway.store.clients.get("a"))
    for number in range(SHOWN):
        await admin.gateway.store.clients.insert(replace(row, name=f"c{number:03}", token_hash=hash_token(str(number))))
    first = await admin.get("/clients")
    (following,) = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = await admin.get(html.unescape(following))
    assert (first.text.count("<tr>"), second.text.count("<tr>")) == (SHOWN + 1, 2)
    assert "c099" in second.text
    assert 'rel="next"' not in second.text


# Making one.


async def test_a_client_is_made_and_its_token_shown_in_this_answer_and_nowhere_after_it(admin):
    await connect(admin, "crm-ann")
    page = await send(admin, "/clients/_new", **GOOD)

    assert page.status == 200
    assert page.headers["Cache-Control"] == "no-store"
    (token,) = set(TOKEN.findall(page.text))
    row = await admin.gateway.store.clients.get("runner")
    assert (row.patterns, row.expires_at, row.token_hash) == (("crm-*",), NOW + 90 * DAY, hash_token(token))
    (event,) = (await admin.gateway.store.events.list(client="runner")).items
    assert (event.kind, event.actor, event.detail["connections"]) == ("client.created", "admin-page", ["crm-*"])
    assert token not in repr(event)
    assert token not in page.headers.values()
    admin.seen.clear()
    for path in ("/clients", "/clients/runner", "/clients/runner?connection=crm-ann", "/clients/_new?like=runner"):
        assert (await admin.get(path)).status == 200
    await admin.get("/clients/runner/revoke")
    await admin.api("GET", "/clients")
    assert not [seen for seen in admin.seen if token in seen]


async def test_the_answer_sent_again_says_that_the_token_is_not_to_be_had_and_what_to_do(admin):
    """A reload sends the form again."""
    token = TOKEN.search((await send(admin, "/clients/_new", **GOOD)).text)[0]
    again = await send(admin, "/clients/_new", **GOOD)

    assert again.status == 409
    assert "Its token can't be shown again: choose another name here, or revoke that one first." in error_beside(
        again, "name"
    )
    assert TOKEN.search(again.text) is None
    assert (await admin.gateway.store.clients.get("runner")).token_hash == hash_token(token)


@pytest.mark.parametrize(
    ("life", "seconds"), [("month", 30 * DAY), ("quarter", 90 * DAY), ("year", 365 * DAY), ("never", None)]
)
async def test_a_token_lives_as_long_as_was_chosen(admin, life, seconds):
    await send(admin, "/clients/_new", **GOOD | {"expires": life})
    row = await admin.gateway.store.clients.get("runner")
    assert row.expires_at == (None if seconds is None else NOW + seconds)


async def test_what_is_ticked_and_what_is_written_goes_together(admin):
    await connect(admin, "crm-ann", "crm-bob")
    form = await admin.get("/clients/_new")
    assert re.findall(r'type="checkbox" name="([^"]+)"', form.text) == ["use.crm-ann", "use.crm-bob"]
    sent = {"use.crm-bob": "on", "patterns": " board-* ,crm-bob\r\n\tx "}
    await send(admin, "/clients/_new", **GOOD | sent)
    assert (await admin.gateway.store.clients.get("runner")).patterns == ("crm-bob", "board-*", "x")


WRONG = [
    ({"name": ""}, "name", "1 to 64 letters"),
    ({"name": '"><script>'}, "name", "1 to 64 letters"),
    ({"name": "_new"}, "name", "the first a letter or digit"),
    ({"patterns": ""}, "patterns", "at least one pattern"),
    ({"patterns": "crm-*\ncrm/x"}, "patterns", "crm/x: 1 to 128 letters"),
    ({"patterns": "é"}, "patterns", "é: 1 to 128 letters"),
    ({"expires": "1000y"}, "expires", "Choose one of these."),
    ({"expires": ""}, "expires", "Choose one of these."),
]


@pytest.mark.parametrize(("wrong", "field", "said"), WRONG)
async def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(admin, wrong, field, said):
    await connect(admin, "crm-ann")
    sent = GOOD | {"use.crm-ann": "on"} | wrong
    if field == "patterns" and not wrong["patterns"]:
        del sent["use.crm-ann"]
    page = await send(admin, "/clients/_new", **sent)

    assert page.status == 422
    assert said in error_beside(page, field)
    assert value_of(page, "name") == sent["name"]
    assert value_of(page, "patterns") == sent["patterns"]
    assert ('name="use.crm-ann" checked' in page.text) == ("use.crm-ann" in sent)
    if field != "expires":
        assert value_of(page, "expires") == "quarter"
    assert "<script>" not in page.text
    assert await admin.gateway.store.clients.all() == ()
    assert (await admin.gateway.store.events.list(kind="client.created")).items == ()


async def test_a_look_at_what_it_covers_makes_nothing_and_keeps_what_was_typed(admin):
    await connect(admin, "crm-ann", "crm-bob", "board-x")
    typed = {"patterns": "crm-*\nnothing-*\n*", "expires": "year", "name": "run"}
    page = await send(admin, "/clients/_new", **GOOD | typed | {"step": "look"})

    said = words(page)
    assert "crm-* 2 connections: crm-ann , crm-bob" in said
    assert "nothing-* No connection yet." in said
    assert "Every connection, also those still to come." in said
    assert (value_of(page, "name"), value_of(page, "expires")) == ("run", "year")
    assert await admin.gateway.store.clients.all() == ()


async def test_many_connections_are_named_by_patterns_and_not_ticked(admin):
    await connect(admin, *(f"crm-{number:02}" for number in range(41)))
    page = await admin.get("/clients/_new")
    assert "checkbox" not in page.text
    assert "There are 41 connections now." in words(page)


async def test_another_one_like_it_begins_with_what_that_one_may_use(admin):
    await connect(admin, "crm-ann", "crm-bob")
    await admin.gateway.access.create("runner", ["crm-ann", "board-*"])
    page = await admin.get("/clients/_new?like=runner")
    assert 'name="use.crm-ann" checked' in page.text
    assert value_of(page, "patterns") == "board-*"
    assert value_of(page, "name") == ""


async def test_a_client_for_one_connection_begins_with_that_one_ticked(admin):
    await connect(admin, "crm-ann", "crm-bob")
    page = await admin.get("/clients/_new?connection=crm-bob")
    assert re.findall(r'name="use\.([^"]+)" checked', page.text) == ["crm-bob"]
    assert "checked" not in (await admin.get("/clients/_new?connection=crm-*")).text.partition("expires")[0]
    assert 'href="/clients/_new?connection=crm-bob"' in (await admin.get("/connections/crm-bob")).text


# The panel.


async def test_the_recipes_are_for_a_connection_that_it_covers_and_a_url_that_this_allows(admin):
    await connect(admin, "crm-ann", "crm-bob")
    page = await send(admin, "/clients/_new", **GOOD)
    token = TOKEN.search(page.text)[0]

    assert f"http://crm-ann:{token}@127.0.0.1:8080" in page.text
    assert "https://api.example.com/v1" in page.text
    assert ("explain", "crm-ann", "GET", "https://api.example.com/v1") in admin.gateway.vault.calls
    assert page.text.count('<details name="recipe"') == 8
    assert page.text.count('<details name="recipe" open') == 1
    assert re.findall(r"<option( selected)?>(.*?)</option>", page.text) == [(" selected", "crm-ann"), ("", "crm-bob")]


async def test_another_connection_is_chosen_by_a_form_that_brings_the_token_so_that_no_url_has_it(admin):
    await connect(admin, "crm-ann", "crm-bob")
    token = TOKEN.search((await send(admin, "/clients/_new", **GOOD)).text)[0]
    page = await send(admin, "/clients/runner/recipes", token=token, connection="crm-bob")

    assert f"http://crm-bob:{token}@127.0.0.1:8080" in page.text
    foreign = await send(admin, "/clients/runner/recipes", token=token, connection="board-x")
    assert f"http://crm-ann:{token}@127.0.0.1:8080" in foreign.text, "one that it doesn't cover isn't shown"


async def test_a_token_that_is_not_this_clients_is_not_shown_to_anybody(admin):
    other = (await admin.gateway.access.create("other", ["*"])).reveal()
    await admin.gateway.access.create("runner", ["*"])
    for wrong in (other, "gwc_" + "A" * 43, "", '"><script>', "é"):
        answer = await send(admin, "/clients/runner/recipes", token=wrong, connection="crm-ann")
        assert (answer.status, answer.headers["Location"]) == (303, "/clients/runner")


async def test_where_nothing_is_covered_yet_the_recipes_say_what_to_put_in(admin):
    page = await send(admin, "/clients/_new", **GOOD)
    assert "No connection is covered yet. Put its id in place of CONNECTION" in words(page)
    assert "http://CONNECTION:gwc_" in page.text


async def test_a_later_page_has_the_recipes_with_a_place_for_the_token(admin):
    await connect(admin, "crm-ann", "crm-bob")
    await admin.gateway.access.create("runner", ["crm-*"])
    page = await admin.get("/clients/runner?connection=crm-bob")
    assert "http://crm-bob:CLIENT_TOKEN@127.0.0.1:8080" in page.text
    assert "Put the client's token in place of CLIENT_TOKEN" in words(page)


@pytest.mark.parametrize(
    ("settings", "host", "proxy", "certificate"),
    [
        ({}, "", "127.0.0.1:8080", "http://127.0.0.1:{port}"),
        ({"proxy": {"listen": "10.1.2.3:3128"}}, "", "10.1.2.3:3128", "http://127.0.0.1:{port}"),
        ({"proxy": {"listen": "0.0.0.0:3128"}}, "gateway.lan:{port}", "gateway.lan:3128", "http://gateway.lan:{port}"),
        ({"proxy": {"listen": "[::]:3128"}}, "[fd00::1]:{port}", "[fd00::1]:3128", "http://[fd00::1]:{port}"),
        ({"proxy": {"listen": "0.0.0.0:3128"}}, "[1]:{port}", "127.0.0.1:3128", "http://127.0.0.1:{port}"),
        ({"proxy": {"listen": "0.0.0.0:3128"}}, "a..b:{port}", "127.0.0.1:3128", "http://127.0.0.1:{port}"),
    ],
)
async def test_the_recipes_name_the_gateway_as_a_runner_reaches_it(tmp_path, settings, host, proxy, certificate):
    """Where it listens; and if that is everywhere, by the name that the browser used."""
    listen = {"listen": "0.0.0.0:0", "public_url": "http://127.0.0.1:0"}  # any name is ours then
    async with running(tmp_path, web=listen, **settings) as web:
        await sign_in(web)
        await connect(web, "crm-ann")
        await web.gateway.access.create("runner", ["*"])
        port = web.server.addresses[0][1]
        cookie = next(f"{one.key}={one.value}" for one in web._session.cookie_jar)
        headers = {"Host": host.format(port=port), "Cookie": cookie} if host else {}
        page = await web.get("/clients/runner", headers=headers)
        assert page.status == 200
        assert f"http://crm-ann:CLIENT_TOKEN@{proxy}" in page.text
        assert f"{certificate.format(port=port)}/ca.pem" in html.unescape(page.text)


# One client's page.


async def test_the_page_of_a_client_shows_what_it_did_and_what_happened_to_it(admin):
    await connect(admin, "crm-ann")
    await send(admin, "/clients/_new", **GOOD)
    row = RequestRow(
        at=NOW,
        request_id="x",
        method="GET",
        url="https://api.example.com/v1/users",
        status=403,
        seconds=0.1,
        connection="crm-ann",
        client="runner",
        code="target_not_allowed",
    )
    await admin.gateway.store.requests.add_many([row, replace(row, client="other", url="https://other.example.com/")])

    page = await admin.get("/clients/runner")
    said = words(page)
    assert "crm-* 1 connection: crm-ann" in said
    assert "crm-ann GET https://api.example.com/v1/users target_not_allowed 403" in said
    assert "A client was made an administrator, on these pages" in said
    assert "other.example.com" not in said
    assert 'href="/activity?client=runner"' in page.text


async def test_a_client_that_is_not_there_is_not_found(admin):
    for path in ("/clients/nobody", "/clients/nobody/revoke", "/clients/-", "/clients/%00"):
        assert (await admin.get(path)).status == 404, path
    assert (await send(admin, "/clients/nobody/revoke")).status == 404


# Taking it back.


async def test_revoking_is_asked_for_once_more_and_ends_the_token(admin):
    await connect(admin, "crm-ann")
    token = TOKEN.search((await send(admin, "/clients/_new", **GOOD)).text)[0]
    asked = await admin.get("/clients/runner/revoke")
    assert "Revoke runner?" in words(asked)
    assert "1 connection is out of its reach" in words(asked)
    assert admin.gateway.access.client_for(token) is not None, "looking changes nothing"

    answer = await send(admin, "/clients/runner/revoke")

    assert (answer.status, answer.headers["Location"]) == (303, "/clients/runner?done=client_revoked")
    assert admin.gateway.access.client_for(token) is None
    events = (await admin.gateway.store.events.list(client="runner")).items
    assert [(event.kind, event.actor) for event in events] == [
        ("client.revoked", "admin-page"),
        ("client.created", "admin-page"),
    ]
    page = await admin.get("/clients/runner?done=client_revoked")
    assert "Revoked. The token is worth nothing any more." in words(page)
    assert "recipe" not in page.text
    assert (await admin.get("/clients/runner/revoke")).headers["Location"] == "/clients/runner"
    await send(admin, "/clients/runner/revoke")
    assert len((await admin.gateway.store.events.list(client="runner")).items) == 2, "once is enough"


async def test_the_name_of_a_revoked_client_can_be_given_again(admin):
    await send(admin, "/clients/_new", **GOOD)
    await send(admin, "/clients/runner/revoke")
    assert TOKEN.search((await send(admin, "/clients/_new", **GOOD)).text)
