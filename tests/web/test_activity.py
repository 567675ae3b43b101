"""What happens, on its pages: the list of both logs, its filters, one entry explained, and what is never on them."""

import re
from html import unescape
from pathlib import Path

import pytest
from markupsafe import escape

import gateway
from gateway.errors import PROBLEMS
from gateway.store.rows import EventRow
from gateway.web.entries import PARTS, parts
from gateway.web.logs import Place, Wanted
from gateway.web.text import has
from tests.web.harness import CRM, NOW, Web, running
from tests.web.reading import request_row
from tests.web.test_hostile_words import HOSTILE, harmless
from tests.web.test_routes import sign_in

WHAT = re.compile(r'<span data-part="what">(.*?)</span>')


@pytest.fixture
async def admin(web: Web) -> Web:
    await sign_in(web)
    return web


def whats(text: str) -> list[str]:
    """Return what the entries of a page are about."""
    return [unescape(found) for found in WHAT.findall(text.partition("<template")[0])]


def link(text: str, words: str) -> str | None:
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{words}</a>', text)
    return unescape(found[1]) if found else None


ROWS = [
    request_row("https://a.test/ok"),
    request_row("https://a.test/made", status=201, client="other"),
    request_row("https://a.test/missing", status=404),
    request_row("https://a.test/broken", status=503, app="hub", connection="hub-ann"),
    request_row("https://a.test/refused", status=403, code="target_not_allowed"),
    request_row("https://a.test/late", status=504, code="upstream_timeout"),
    request_row("https://a.test/eve", status=407, code="proxy_authentication_required", app=None, client=None),
]
EVENTS = [
    EventRow(at=NOW, kind="connection.created", actor="cli", app="crm", connection="crm-ann"),
    EventRow(at=NOW, kind="client.revoked", actor="admin-page", client="other"),
    EventRow(at=NOW, kind="app.changed", actor="admin-api", app="hub"),
]
SIGNED_IN = "An administrator signed in"
CONNECTED, REVOKED, CHANGED = "An account was connected", "A client was revoked", "An app's set-up was changed"


async def furnish(web: Web) -> None:
    await web.gateway.store.requests.add_many(ROWS)
    for event in EVENTS:
        await web.gateway.store.events.add(event)


async def test_a_request_is_shown_with_everything_that_is_known_of_it(admin):
    row = request_row(at=NOW - 3, method="POST", status=502, code="upstream_tls", entrance="connect", refreshed=True)
    await admin.gateway.store.requests.add_many([row])
    text = (await admin.get("/activity?kind=requests")).text.partition("<template")[0]
    for part, said in {
        "clock": "07:59:57",
        "status": "502",
        "method": "POST",
        "what": "https://api.example.com/v1/users",
        "connection": "crm-ann",
        "client": "runner",
        "entrance": "CONNECT tunnel",
        "refreshed": "token refreshed",
        "took": "12 ms",
        "code": "upstream_tls",
        "meaning": "TLS with the target failed",
    }.items():
        assert re.search(rf'data-part="{part}"[^>]*>{re.escape(said)}<', text), part
    assert 'title="2027-01-15 07:59:57 UTC"' in text
    assert 'href="/activity/requests/1"' in text


async def test_an_event_is_shown_in_words_with_who_did_it(admin):
    row = EventRow(at=NOW, kind="connection.tested", actor="cli", app="crm", connection="crm-ann", detail={"ok": False})
    await admin.gateway.store.events.add(row)
    text = (await admin.get("/activity?connection=crm-ann")).text
    assert whats(text) == ["A connection was tested, and does not work"]
    assert ">an administrator, on the command line<" in text
    assert '<span class="status bad" data-part="status">event</span>' in text
    await admin.gateway.store.events.add(EventRow(at=NOW, kind="new.kind", actor="somebody", connection="c"))
    assert whats((await admin.get("/activity?connection=c")).text) == ["new.kind"]


def test_every_event_that_is_recorded_anywhere_has_words():
    sources = [file.read_text(encoding="utf-8") for file in Path(gateway.__file__).parent.rglob("*.py")]
    told = r'(?:record|event|tell|_tell|_told|audit)\(\s*"([a-z_]+\.[a-z_]+)"|kind = "([a-z]+\.[a-z_]+)"'
    kinds = {kind for source in sources for found in re.findall(told, source) for kind in found if kind}
    kinds = {kind for kind in kinds if not kind.startswith("gateway.")}  # a trace's, which no page shows
    kinds |= {"app.created", "app.changed"}  # one or the other
    assert {"connection.created", "token.refresh_failed", "link.created", "keys.rotated"} <= kinds
    assert [kind for kind in sorted(kinds) if not has(f"event.{kind}")] == []


def test_every_code_that_a_request_can_end_with_says_what_to_do_next():
    only_web = {"unauthorized", "not_found", "conflict", "invalid"}
    assert [code for code in PROBLEMS if code not in only_web and not has(f"next.{code}")] == []


def test_a_row_is_made_of_the_same_parts_whatever_the_entry():
    for entry in (*ROWS, *EVENTS):
        assert tuple(parts(entry, NOW)) == PARTS
        assert all(isinstance(text, str) for text in parts(entry, NOW).values())


FILTERS = {
    "kind=requests": ["eve", "late", "refused", "broken", "missing", "made", "ok"],
    "kind=events": [SIGNED_IN, CHANGED, REVOKED, CONNECTED],
    "app=crm": ["late", "refused", "missing", "made", "ok", CONNECTED],
    "connection=hub-ann": ["broken"],
    "connection=crm-ann&kind=events": [CONNECTED],
    "client=other": ["made", REVOKED],
    "status=2xx": ["made", "ok"],
    "status=4xx": ["eve", "refused", "missing"],
    "status=5xx": ["late", "broken"],
    "code=upstream_timeout": ["late"],
    "refused=1": ["eve", "late", "refused"],
    "refused=1&status=4xx&app=crm": ["refused"],
    "refused=1&kind=events": [],
    "app=nothing": [],
    "kind=nonsense&status=9xx&client=": None,
    "client=a%00b": None,
    f"app={'a' * 200}": None,
}


@pytest.mark.parametrize("query", FILTERS)
async def test_a_filter_leaves_what_fits(web, query):
    await furnish(web)
    await sign_in(web)
    text = (await web.get(f"/activity?{query}")).text
    expected = FILTERS[query]
    found = [what.removeprefix("https://a.test/") for what in whats(text)]
    if expected is None:  # what can't be asked for is not asked for, and the form doesn't say it was
        assert len(found) == len(ROWS) + len(EVENTS) + 1
        assert 'class="narrowing">' in text
    else:
        assert sorted(found) == sorted(expected)
        assert 'class="narrowing" open' in text


@pytest.mark.parametrize("query", [query for query in FILTERS if "%" not in query])
async def test_the_tail_takes_what_the_page_shows(web, query):
    await furnish(web)
    await sign_in(web)
    wanted = Wanted.of(dict(pair.split("=") for pair in query.split("&")))
    shown = whats((await web.get(f"/activity?{query}")).text)
    both = [*(await web.gateway.store.requests.list()).items, *(await web.gateway.store.events.list()).items]
    assert sorted(shown) == sorted(parts(entry, NOW)["what"] for entry in both if wanted.takes(entry))


async def test_both_logs_are_gone_through_page_by_page_and_every_entry_comes_once_in_its_order(admin):
    store = admin.gateway.store
    before = [event.id for event in (await store.events.list()).items]
    for number in range(60):
        await store.events.add(EventRow(at=NOW + number, kind=f"k.{number}", actor="a"))
    # The last one is of a slower clock: each log keeps the order of its numbers.
    await store.requests.add_many([request_row(f"https://a.test/{number}", at=NOW + number) for number in range(80)])
    await store.requests.add_many([request_row("https://a.test/80", at=NOW + 75)])
    path: str | None = "/activity"
    seen: list[str] = []
    while path:
        text = (await admin.get(path)).text
        seen += whats(text)
        assert ("/static/tail.js" in text) is (path == "/activity"), "only the first page is live"
        path = link(text, "Next")
        if path:  # what comes meanwhile is on no older page
            await store.requests.add_many([request_row("https://a.test/new", at=NOW + 1000)])
            await store.events.add(EventRow(at=NOW + 1000, kind="new.one", actor="a"))
    requests = [what for what in seen if what.startswith("https")]
    assert requests == [f"https://a.test/{number}" for number in [80, *range(79, -1, -1)]]
    assert [what for what in seen if what.startswith("k.")] == [f"k.{number}" for number in range(59, -1, -1)]
    assert len(seen) == 81 + 60 + len(before)
    assert [seen.index(what) for what in ("https://a.test/60", "k.59", "k.30")] == [20, 22, 80], (
        "beside each other by time"
    )


@pytest.mark.parametrize("place", ["", "5", "5.", "a.b", "-1.2", "1.2.3", "9" * 19 + ".1", "\u0661.1"])
def test_a_place_that_no_page_gave_is_none(place):
    assert Place.parse(place) is None


async def test_a_list_with_nothing_on_it_says_what_would_be_there(admin):
    assert "Nothing fits" in (await admin.get("/activity?client=nobody")).text
    assert "There is nothing older" in (await admin.get("/activity?before=1.1")).text
    admin.gateway.store.events.list = admin.gateway.store.requests.list  # signing in is an event: as if it weren't
    text = (await admin.get("/activity")).text
    assert "Nothing has happened yet" in text
    assert "gateway run CONNECTION -- curl" in text


async def test_the_page_says_what_is_never_recorded_and_works_without_a_script(admin):
    text = (await admin.get("/activity")).text
    assert "<strong>Never recorded:</strong> query strings, header values, bodies and tokens." in text
    assert re.search(r'id="tail" hidden', text), "what needs the script is hidden without it"
    assert link(text, "Newer") == "/activity"
    assert link((await admin.get("/activity?app=crm")).text, "Newer") == "/activity?app=crm"


# One entry.


@pytest.fixture
async def real(tmp_path):
    """A listener with the real vault, and one connection."""
    async with running(tmp_path, real_vault=True) as web:
        policy = CRM.replace('urls = ["example.com"]', 'urls = ["https://api.example.com/v1"]\nmethods = ["GET"]')
        assert web.gateway.catalog.write("crm", policy) == ()
        given = {"app": "crm", "id": "crm-ann", "fields": {"account": "ann"}, "secrets": {"api_key": "sk-the-secret"}}
        assert (await web.api("POST", "/connections", json=given)).status == 201
        await web.api("POST", "/clients", json={"name": "runner", "connections": ["*"]})
        await sign_in(web)
        yield web


async def entry(web: Web, **changes) -> str:
    """Record a request; return its page."""
    await web.gateway.store.requests.add_many([request_row(**changes)])
    answer = await web.get(f"/activity/requests/{await web.gateway.store.requests.latest()}")
    assert answer.status == 200, answer.text
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", answer.text.partition("<main")[2])) + answer.text


async def test_an_allowed_request_is_explained_by_the_policy_of_now(real):
    text = await entry(real, refreshed=True, sent=1, received=152)
    assert "let through It was sent on with the connection&#39;s credentials." in text
    assert "waited for a new token and was sent once more" in text
    assert "allowed Covered by the allowed URL &#39;https://api.example.com/v1&#39;." in text
    assert "Header Authorization Bearer ***" in text
    assert "By the policy of now. The query isn&#39;t recorded" in text
    assert "200 OK" in text
    assert "1 byte Received 152 bytes" in text
    assert 'href="/connections/crm-ann"' in text
    assert 'href="/clients/runner"' in text
    assert 'href="/apps/crm"' in text
    assert "sk-the-secret" not in "".join(real.seen)


async def test_a_refused_request_says_what_the_code_means_what_is_closest_and_where_to_allow_it(real):
    text = await entry(real, url="https://api.example.com/v2/x", status=403, code="target_not_allowed")
    assert "target_not_allowed The connection&#39;s policy does not allow this target" in text
    assert "add its URL or method to what the app allows" in text
    assert "refused https://api.example.com/v2/x is not in the allowed URLs" in text
    assert 'href="/apps/crm#step-allow"' in text


async def test_a_policy_that_has_changed_its_mind_is_seen(real):
    assert "allowed Covered by" in await entry(real, status=403, code="target_not_allowed")
    text = await entry(real, method="DELETE", status=204)
    assert "let through" in text
    assert "refused The method DELETE" in text


async def test_who_was_not_let_in_is_led_nowhere_and_no_policy_is_asked(real):
    text = await entry(
        real, app=None, connection="nobodys", client=None, status=403, code="connection_not_permitted", url=""
    )
    assert "(no target that could be read)" in text
    assert "Look at which connections this client may use" in text
    assert "As of now" not in text
    assert "so no policy was asked" in await entry(real, app=None)
    assert "/connections/nobodys" not in text


async def test_what_cannot_be_asked_again_says_why(real):
    assert "too long to be recorded whole" in await entry(real, url=f"https://api.example.com/{'a' * 1_023}...")
    text = await entry(real, connection="crm-gone")
    assert "There is no connection" in text
    assert "/connections/crm-gone" not in text


async def test_a_caller_that_left_was_answered_by_nobody(real):
    text = await entry(real, status=499, code="caller_gone")
    assert "nobody: the caller had left" in text
    assert "give the caller a longer timeout" in text


async def test_an_event_is_shown_with_its_detail(real):
    detail = {"ok": True, "connections": ["a", "b"], "expires_at": NOW, "status": None, "more": {"x": 1}, "n": 3}
    row = EventRow(at=NOW, kind="client.created", actor="admin-api", client="runner", detail=detail)
    await real.gateway.store.events.add(row)
    text = (await real.get(f"/activity/events/{await real.gateway.store.events.latest()}")).text
    assert "<h1>A client was made</h1>" in text
    assert 'href="/clients/runner"' in text
    for name, said in {
        "ok": "yes",
        "connections": "a, b",
        "expires_at": "2027-01-15 08:00 UTC",
        "status": "none",
        "more": "x 1",
        "n": "3",
    }.items():
        assert f"<dt><code>{name}</code></dt><dd>{said}</dd>" in text


@pytest.mark.parametrize("number", ["0", "99", "-1", "1x", "9" * 30, "\u0661"])
async def test_an_entry_that_isnt_there_is_not_found(admin, number):
    for log in ("requests", "events"):
        answer = await admin.get(f"/activity/{log}/{number}")
        assert answer.status == 404
        assert "There is no such entry of the log any more." in answer.text


async def test_words_from_elsewhere_stay_words(admin):
    for words in HOSTILE:
        await admin.gateway.store.requests.add_many(
            [
                request_row(
                    words,
                    method=words,
                    connection=words,
                    client=words,
                    app=words,
                    entrance=words,
                    code=words,
                    status=700,
                )
            ]
        )
        await admin.gateway.store.events.add(
            EventRow(
                at=NOW, kind=words, actor=words, connection=words, client=words, app=words, detail={words: [words]}
            )
        )
        requests, events = await admin.gateway.store.requests.latest(), await admin.gateway.store.events.latest()
        for path in ("/activity", f"/activity/requests/{requests}", f"/activity/events/{events}"):
            answer = await admin.get(path)
            assert answer.status == 200
            assert str(escape(words)).split()[0] in answer.text
            harmless(answer, words, path)
        for name in ("kind", "app", "connection", "client", "status", "code", "refused", "before"):
            harmless(await admin.get("/activity", params={name: words}), words, "/activity")
