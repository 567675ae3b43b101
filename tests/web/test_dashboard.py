"""The dashboard: what needs a person, and what happened, as the person at the browser meets it."""

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from markupsafe import escape

from gateway.store.rows import ConnectionRow, EventRow, Status, TallyRow
from gateway.web.dashboard import View
from tests.web.harness import ADMIN, NOW, form_token
from tests.web.test_hostile_words import HOSTILE
from tests.web.test_routes import page_faults

DAY = 86_400
AT = int(NOW)  # the beginning of an hour


def a_tally(at=AT, **changes):
    values = {"dimension": "all", "key": "", "span": 300, "requests": 10, "latency": (0, 8, 2, 0, 0, 0, 0, 0, 0, 0)}
    return TallyRow(at=at, **values | changes)


def a_connection(name="crm-ann", **changes):
    values = {"app": "crm", "status": Status.ACTIVE, "label": "Ann", "created_at": NOW, "updated_at": NOW}
    return ConnectionRow(id=name, **values | changes)


async def shown(web, path="/"):
    """Return a page as an administrator sees it."""
    page = await web.get("/sign-in")
    if page.status == 200:
        await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})
    answer = await web.get(path)
    assert answer.status == 200, answer.text
    assert page_faults(answer.text) == []
    return answer.text


def said(text):
    """Return what stands on a page, without its elements."""
    return " ".join(re.sub(r"<[^>]*>", " ", text.partition("<main")[2]).split())


async def test_a_fresh_gateway_teaches_the_three_steps(web):
    for app in ("crm", "machine", "login"):
        web.gateway.catalog.path(app).unlink()
    web.gateway.catalog.load()
    text = await shown(web)
    steps = ("Set up an app", "Connect an account", "Make a client")
    assert [text.count(step) for step in steps] == [1, 1, 1]
    assert [
        text.count(f'class="button{plain}" href="{path}"')
        for plain, path in (("", "/apps/new"), (" plain", "/apps"), (" plain", "/clients/_new"))
    ] == [1, 1, 1], "the first one is next, and each leads to where it is done"
    assert "done" not in said(text)
    assert "What happened" not in text
    assert "Nothing needs you" not in text


async def test_a_step_that_is_done_says_so_and_the_steps_go_when_all_are(web):
    text = await shown(web)
    assert said(text).count("done") == 1
    assert 'class="button" href="/apps">Connect</a>' in text
    assert 'class="button plain" href="/apps">Apps</a>' in text
    await web.gateway.store.connections.insert(a_connection())
    assert said(await shown(web)).count("done") == 2
    await web.api("POST", "/clients", json={"name": "revoked", "connections": ["*"]})
    await web.gateway.access.revoke("revoked")
    assert said(await shown(web)).count("done") == 2
    await web.api("POST", "/clients", json={"name": "runner", "connections": ["*"]})
    text = await shown(web)
    assert "Make a client" not in text
    assert "Nothing needs you. 1 connection works." in said(text)
    assert "Nothing was asked for in this time." in text


async def test_the_steps_go_when_requests_come(web):
    await web.gateway.store.tallies.add([a_tally()])
    assert "Make a client" not in await shown(web)


async def test_what_needs_a_person_is_said_with_its_reason_and_what_mends_it(web):
    store = web.gateway.store
    await store.connections.insert(
        a_connection("crm-ann", status=Status.NEEDS_REAUTHORIZATION, reason="Token was revoked", updated_at=NOW - 7200)
    )
    await store.connections.insert(
        a_connection("crm-bob", label="", failures=2, reason="id.test was not there", retry_at=NOW + 600)
    )
    await store.connections.insert(a_connection("crm-eve", label="Eve"))
    for ok, status in ((True, 200), (False, 403)):
        await store.events.add(
            EventRow(
                at=NOW - 60,
                kind="connection.tested",
                actor="x",
                app="crm",
                connection="crm-eve",
                detail={"ok": ok, "status": status},
            )
        )
    web.gateway.catalog.path("broken").write_text("name = ")
    web.gateway.catalog.load()
    text = await shown(web)
    words = said(text)
    assert "Ann needs a sign-in crm-ann · Example CRM · 2 hours ago Token was revoked Reconnect" in words
    assert "crm-bob refresh fails crm-bob · Example CRM · tried again in 10 minutes id.test was not there Look" in words
    assert "Eve test failed crm-eve · Example CRM · 1 minute ago The test API answered 403. Look" in words
    assert "broken.toml isn't right line 1 is not TOML" in words.replace("&#39;", "'"), "with where it is"
    for path in ("/connections/crm-bob", "/connections/crm-eve", "/apps/broken"):
        assert f'href="{path}"' in text
    assert "Nothing needs you" not in text


async def test_whoever_needs_a_sign_in_is_connected_again_by_its_button(web):
    await web.gateway.store.connections.insert(a_connection("crm-ann", status=Status.NEEDS_REAUTHORIZATION))
    form = (await shown(web)).partition('action="/connect"')[2].partition("</form>")[0]
    values = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', form))
    answer = await web.request("POST", "/connect", data=values)
    assert answer.status == 303
    assert "Reconnect Example CRM" in (await web.get(answer.headers["Location"])).text
    wrong = await web.request("POST", "/connect", data=values | {"app": "login"})
    assert wrong.status == 409, "it is another app's"


async def test_of_many_that_need_a_sign_in_the_newest_are_shown_and_the_rest_is_a_link(web):
    for number in range(8):
        await web.gateway.store.connections.insert(
            a_connection(f"c-{number}", status=Status.NEEDS_REAUTHORIZATION, updated_at=NOW + number)
        )
    text = await shown(web)
    assert re.findall(r"<code>(c-\d)</code>", text) == ["c-7", "c-6", "c-5", "c-4", "c-3"]
    assert '<a href="/connections?status=needs_reauthorization">All 8 that need a sign-in</a>' in text


async def test_totals_charts_and_table_say_the_same_numbers(web):
    latency = (0, 600, 340, 0, 0, 0, 20, 0, 0, 0)
    await web.gateway.store.tallies.add(
        [
            a_tally(AT - 3600, requests=1000, refused=40, failed=10, renewed=3, not_renewed=1, latency=latency),
            a_tally(AT, requests=234, latency=(234, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
            a_tally(AT - 2 * DAY, requests=99_999),
        ]
    )
    text = await shown(web)
    words = said(text)
    for total in (
        "Requests 1,234",
        "Failed 10 0.8 %",
        "Refused 40 3.2 %",
        "Half within 17 ms",
        "95 % within 47 ms",
        "Tokens refreshed 3 1 failed",
    ):
        assert total in words, total
    assert "Requests in all: 1234; failed: 10; refused: 40." in words
    assert "Tokens refreshed in all: 3; refreshes failed: 1." in words
    assert "2027-01-15 07:00 UTC · requests 1000, failed 10, refused 40" in words
    assert "2027-01-15 07:00 UTC 1,000 10 40 21 ms 48 ms 3 1" in words
    assert "2027-01-15 08:00 UTC 234 0 0 2.5 ms 4.7 ms 0 0" in words
    assert "99,999" not in words
    assert text.count('role="img"') == 3
    for name in ("requests", "latency", "refreshes"):
        assert f'aria-labelledby="chart-{name}-title chart-{name}-desc"' in text
        assert f'<title id="chart-{name}-title">' in text
        assert f'<desc id="chart-{name}-desc">' in text


@pytest.mark.parametrize(("path", "total"), [("/?period=1h", "7"), ("/", "57"), ("/?period=7d", "157")])
async def test_a_period_is_chosen_by_a_link(web, path, total):
    for ago, requests in ((600, 7), (5 * 3600, 50), (3 * DAY, 100)):
        await web.gateway.store.tallies.add(
            [a_tally(AT - ago, requests=requests), a_tally(AT - ago - (AT - ago) % 3600, span=3600, requests=requests)]
        )
    text = await shown(web, path)
    assert f"<dt>Requests</dt><dd>{total}</dd>" in text
    assert text.count('aria-current="true"') == 1
    assert f'href="{path}" aria-current="true"' in text.replace("&amp;", "&")


async def test_one_app_connection_or_client_is_shown_alone(web):
    await web.gateway.store.tallies.add(
        [
            a_tally(requests=100),
            a_tally(dimension="app", key="crm", requests=60),
            *(
                a_tally(dimension=by, key=key, span=3600, requests=requests)
                for by, key, requests in (("connection", "crm-ann", 7), ("client", "runner", 8))
            ),
        ]
    )
    assert "<dd>100</dd>" in await shown(web)
    for query, heading, total in (
        ("by=app&key=crm", "What happened at Example CRM", 60),
        ("by=connection&key=crm-ann", "What happened on the connection crm-ann", 7),
        ("by=client&key=runner", "What the client runner did", 8),
    ):
        text = await shown(web, f"/?{query}")
        assert heading in text
        assert f"<dt>Requests</dt><dd>{total}</dd>" in text
        assert f'href="/?period=7d&amp;{query.replace("&", "&amp;")}"' in text, "the choice stays"
        assert "Busiest" not in text
    text = await shown(web, "/?by=connection&key=nobody")
    assert "Nothing was asked for under nobody in this time." in text
    assert "Three steps" not in text


async def test_the_busiest_are_links_to_themselves_alone(web):
    hour = {"span": 3600}
    await web.gateway.store.tallies.add(
        [
            a_tally(),
            a_tally(dimension="app", key="crm", requests=6, **hour),
            a_tally(dimension="app", key="gone", requests=3, failed=2, **hour),
            a_tally(dimension="connection", key="crm-ann", requests=1500, refused=4, **hour),
        ]
    )
    text = await shown(web)
    words = said(text)
    assert "Apps An app Requests Example CRM 6 gone 3 2 failed" in words
    assert "Connections A connection Requests crm-ann 1,500 4 refused" in words
    assert '<a href="/?by=connection&amp;key=crm-ann">crm-ann</a>' in text
    assert [int(width) for width in re.findall(r'</rect><rect width="(\d+)" height="4"', text)] == [100, 50, 100]


async def test_a_time_without_a_latency_says_so_instead_of_drawing_one(web):
    await web.gateway.store.tallies.add([a_tally(requests=3, refused=3, latency=(0,) * 10)])
    text = await shown(web)
    assert "None was answered in this time." in text
    assert "Half within \N{EN DASH}" in said(text)


async def test_what_took_longer_than_the_last_bound_is_only_known_to_be_over_it(web):
    await web.gateway.store.tallies.add([a_tally(requests=1, latency=(0,) * 9 + (1,))])
    assert "Half within over 30 s" in said(await shown(web))


NOTHING_KNOWN = {
    "/?period=2h": View(period="24h", by="all", key=""),
    "/?by=nothing&key=x": View(period="24h", by="all", key=""),
    "/?by=app": View(period="24h", by="all", key=""),
    "/?by=app&key=%20%00": View(period="24h", by="all", key=""),
    "/?by=all&key=x": View(period="24h", by="all", key=""),
    "/?by=client&key=" + "a" * 100: View(period="24h", by="client", key="a" * 64),
}


async def test_an_address_that_asks_for_nothing_known_is_answered_all_the_same(web):
    for path, view in NOTHING_KNOWN.items():
        assert View.of(dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))) == view
        await shown(web, path)


async def test_hostile_words_in_names_labels_reasons_and_addresses_stay_words(web):
    store = web.gateway.store
    await shown(web)
    for number, words in enumerate(HOSTILE):
        named = {"dimension": "connection", "key": words, "span": 3600, "requests": 10 + number}
        await store.tallies.add([a_tally(), a_tally(**named), a_tally(**named | {"dimension": "app"})])
        hostile = {"app": words, "label": words, "reason": words, "updated_at": NOW + number}
        await store.connections.insert(a_connection(words, status=Status.NEEDS_REAUTHORIZATION, **hostile))
        await store.connections.insert(a_connection(f"crm-{number}", failures=1 + number, **hostile))
        answer = await web.get("/", params={"by": "connection", "key": words, "period": words})
        for text in ((await web.get("/")).text, answer.text):
            assert page_faults(text) == []
            assert text.count(str(escape(words))) > 4
            assert words not in text or str(escape(words)) == words
            assert "1787569" not in text, "a template in it was run"
        assert "planted" not in str(answer.cookies)


async def test_an_app_alone_by_the_hour_is_what_its_connections_are_counted_by(web):
    """Within an hour a connection has one number or two: it is said so."""
    await web.gateway.store.tallies.add([a_tally(), a_tally(dimension="connection", key="crm-ann", span=3600)])
    assert "are counted by the hour" in await shown(web, "/?period=1h")
    assert "are counted by the hour" not in await shown(web)
    assert "by the hour, UTC" in await shown(web, "/?period=1h&by=connection&key=crm-ann")
