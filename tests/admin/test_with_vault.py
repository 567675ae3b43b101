"""The API and the pages over the real vault: what the fakes of the other tests promise is what it does."""

import pytest

from gateway.store.rows import RevocationRow
from tests.web.harness import CRM, form_token, running

KEY = "sk-the-api-key-of-these-tests"
APP = CRM + '[connection]\nlabel = "{{ account }} of {{ region }}"\nunique_id = "{{ account }}"\n'
BODY = {"app": "crm", "id": "crm-ann", "fields": {"account": "ann", "region": "eu"}, "secrets": {"api_key": KEY}}


@pytest.fixture
async def web(tmp_path):
    async with running(tmp_path, real_vault=True) as web:
        answer = await web.api("PUT", "/apps/crm", json={"policy": APP})
        assert answer.status == 200, answer.text
        yield web


async def test_an_account_is_connected_and_connected_again(web):
    first = await web.api("POST", "/connections", json=BODY)
    assert (first.status, first.json["id"], first.json["label"]) == (201, "crm-ann", "ann of eu")
    again = await web.api("POST", "/connections", json=BODY | {"id": None})
    assert (again.status, again.json["id"]) == (200, "crm-ann")
    assert again.json["token_version"] > first.json["token_version"]


async def test_faults_of_fields_are_422_with_their_paths(web):
    answer = await web.api("POST", "/connections", json=BODY | {"fields": {"region": "moon"}})
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert answer.paths == {"fields.account", "fields.region"}


async def test_a_grant_that_needs_a_browser_is_422(web):
    answer = await web.api("POST", "/connections", json={"app": "login"})
    assert (answer.status, answer.json["hint"]) == (422, "Make a connect link.")


async def test_a_decision_is_explained_with_the_secret_masked(web):
    await web.api("POST", "/connections", json=BODY)
    asked = {"connection": "crm-ann", "url": "https://api.example.com/v1/users"}
    good = (await web.api("POST", "/explain", json=asked)).json
    assert (good["allowed"], good["rule"], good["upstream_url"]) == (True, "example.com", asked["url"])
    assert good["inject"]["headers"] == {"Authorization": "Bearer ***"}
    bad = (await web.api("POST", "/explain", json=asked | {"url": "https://evil.test/"})).json
    assert (bad["allowed"], bad["upstream_url"]) == (False, None)
    assert (await web.api("POST", "/explain", json=asked | {"url": "https://a\\b"})).json["allowed"] is False


async def test_a_policy_that_is_put_holds_for_the_next_decision(web):
    await web.api("POST", "/connections", json=BODY)
    asked = {"connection": "crm-ann", "url": "https://api.example.com/v1/users"}
    assert (await web.api("POST", "/explain", json=asked)).json["allowed"] is True
    narrower = APP.replace('urls = ["example.com"]', 'urls = ["https://other.example.com"]')
    narrower = narrower.replace("https://api.example.com/v1", "https://other.example.com")
    assert (await web.api("PUT", "/apps/crm", json={"policy": narrower})).status == 200
    assert (await web.api("POST", "/explain", json=asked)).json["allowed"] is False


async def test_a_connection_is_tested_not_refreshed_and_disconnected(web):
    await web.api("POST", "/connections", json=BODY)
    assert (await web.api("POST", "/connections/crm-ann/test")).json["ok"] is True
    assert (await web.api("POST", "/connections/crm-ann/refresh")).status == 422
    assert (await web.api("DELETE", "/connections/crm-ann")).status == 204
    assert (await web.api("GET", "/connections/crm-ann")).json["status"] == "disconnected"
    after = await web.api("POST", "/explain", json={"connection": "crm-ann", "url": "https://api.example.com/"})
    assert after.status == 404 or after.json["allowed"] is False
    kinds = {event["kind"] for event in (await web.api("GET", "/events?connection=crm-ann")).json["items"]}
    assert kinds == {"connection.created", "connection.tested", "connection.disconnected"}


async def test_what_the_provider_has_yet_to_take_back_is_shown(web):
    await web.api("POST", "/connections", json=BODY)
    assert (await web.api("GET", "/connections/crm-ann")).json["revocation"] is None
    row = RevocationRow(
        id="r", connection="crm-ann", app="crm", actor="ann", sealed=b"sealed", created_at=0.0, next_try_at=60.0
    )
    revocations = web.gateway.store.revocations
    await revocations.add(row)
    await revocations.failed("r", attempts=3, next_try_at=60.0, last_error="The provider answered 503.")
    pending = {
        "state": "pending",
        "since": "1970-01-01T00:00:00Z",
        "attempts": 3,
        "next_try_at": "1970-01-01T00:01:00Z",
        "last_error": "The provider answered 503.",
    }
    assert (await web.api("GET", "/connections/crm-ann")).json["revocation"] == pending
    assert [item["revocation"] for item in (await web.api("GET", "/connections")).json["items"]] == [pending]
    await revocations.failed("r", attempts=9, next_try_at=None, last_error="The provider answered 503.")
    failed = pending | {"state": "failed", "attempts": 9, "next_try_at": None}
    assert (await web.api("GET", "/connections/crm-ann")).json["revocation"] == failed


async def test_an_app_whose_connections_are_all_disconnected_can_be_deleted(web):
    """Disconnected ones stay in the list as history; they need no rules."""
    await web.api("POST", "/connections", json=BODY)
    refused = await web.api("DELETE", "/apps/crm")
    assert (refused.status, refused.json["code"], refused.json["hint"]) == (409, "conflict", "Disconnect them first.")
    assert "exists already" not in refused.json["title"]
    assert (await web.api("DELETE", "/connections/crm-ann")).status == 204
    assert (await web.api("DELETE", "/apps/crm")).status == 204
    assert (await web.api("GET", "/apps/crm")).status == 404
    assert (await web.api("GET", "/connections/crm-ann")).json["status"] == "disconnected"


async def test_an_event_tells_times_as_every_answer_does(web):
    """The trail keeps seconds since the epoch; whoever reads it gets RFC 3339."""
    made = await web.api("POST", "/clients", json={"name": "k", "connections": ["crm-*"], "expires_in": 3600})
    [event] = (await web.api("GET", "/events?kind=client.created")).json["items"]
    assert event["detail"] == {"connections": ["crm-*"], "expires_at": made.json["expires_at"]}


async def test_a_person_connects_and_no_answer_or_file_holds_the_secret(web):
    made = await web.api("POST", "/connect-links", json={"app": "crm", "id": "crm-mine"})
    path = made.json["url"].removeprefix(web.server.url)
    token = form_token(await web.get(path))
    typed = {"form_token": token, "field.region": "us", "field.account": "bob", "field.api_key": KEY}
    wrong = await web.request("POST", path, data=typed | {"field.account": "BOB"})
    assert wrong.status == 422
    good = await web.request("POST", path, data=typed)
    assert (good.status, good.headers["Location"]) == (303, path)
    good = await web.get(path)
    assert "<h1>Connected as bob of us</h1>" in good.text
    assert (await web.api("GET", "/connections/crm-mine")).json["created_by"] == "connect-link"
    await web.api("POST", "/explain", json={"connection": "crm-mine", "url": "https://api.example.com/v1/users"})
    for path in ("/apps/crm", "/connections", "/events", "/requests"):
        await web.api("GET", path)
    assert not [text for text in web.seen if KEY in text]
    files = b"".join(file.read_bytes() for file in web.gateway.settings.data_dir.iterdir())
    assert KEY.encode() not in files
