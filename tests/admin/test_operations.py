"""Each operation by what it does, and that none of them ever answers with a secret."""

import pytest

from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.secret import Secret
from gateway.store.rows import RequestRow
from gateway.vault.credentials import Safe
from tests.web.harness import CRM, NOW

KEY = "sk-the-api-key-of-these-tests"


async def events(web, **query):
    answer = await web.api("GET", "/events", params=query)
    return [(event["kind"], event["actor"]) for event in answer.json["items"]]


# Apps.


async def test_the_apps_are_listed_with_what_they_ask_for(web):
    answer = await web.api("GET", "/apps")
    assert [app["app"] for app in answer.json["items"]] == ["crm", "login", "machine"]
    crm = answer.json["items"][0]
    assert [(field["name"], field["secret"]) for field in crm["fields"]] == [
        ("region", False),
        ("account", False),
        ("api_key", True),
    ]
    assert answer.json["next"] is None


async def test_a_page_ends_with_the_cursor_of_the_next(web):
    first = await web.api("GET", "/apps?limit=2")
    assert [app["app"] for app in first.json["items"]] == ["crm", "login"]
    second = await web.api("GET", "/apps", params={"limit": "2", "cursor": first.json["next"]})
    assert [app["app"] for app in second.json["items"]] == ["machine"]
    assert second.json["next"] is None


@pytest.mark.parametrize("kind", ["text/plain", "application/toml", "text/plain; charset=utf-8"])
async def test_a_policy_is_put_as_text(web, kind):
    answer = await web.api("PUT", "/apps/crm2", data=CRM.encode(), headers={"Content-Type": kind})
    assert answer.status == 201
    assert answer.json["policy"] == CRM
    assert (await web.api("GET", "/apps/crm2")).json["in_force"] is True


async def test_a_policy_is_put_as_json_and_a_second_time_is_a_change(web):
    body = {"policy": CRM.replace("Example CRM", "Another CRM")}
    assert (await web.api("PUT", "/apps/crm2", json=body)).status == 201
    assert (await web.api("PUT", "/apps/crm2", json=body)).status == 200
    assert await events(web, app="crm2") == [("app.changed", "admin-api"), ("app.created", "admin-api")]
    assert ("forget", "policy", "crm2") in web.gateway.vault.calls


async def test_a_policy_with_faults_is_not_written_and_every_fault_is_named(web):
    text = CRM.replace('urls = ["example.com"]', 'urls = ["com"]').replace('grant = "api_key"', 'grant = "magic"')
    answer = await web.api("PUT", "/apps/crm", json={"policy": text})
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert answer.paths >= {"allow.urls[0]", "auth.grant"}
    assert (await web.api("GET", "/apps/crm")).json["policy"] == CRM


async def test_a_policy_that_is_no_utf_8_is_400(web):
    answer = await web.api("PUT", "/apps/crm", data=b"\xff\xfe", headers={"Content-Type": "text/plain"})
    assert answer.status == 400


async def test_a_read_only_directory_is_said_so(web):
    web.gateway.catalog.is_read_only = True
    answer = await web.api("PUT", "/apps/crm", json={"policy": CRM})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert "Permission denied" in answer.json["detail"]


async def test_checking_answers_findings_and_writes_nothing(web):
    answer = await web.api("POST", "/apps/check", json={"policy": "name = 5"})
    assert answer.status == 200
    assert answer.json["ok"] is False
    assert "name" in {finding["path"] for finding in answer.json["findings"]}
    good = await web.api("POST", "/apps/check", data=CRM.encode(), headers={"Content-Type": "application/toml"})
    assert good.json == {"ok": True, "findings": []}
    assert len((await web.api("GET", "/apps")).json["items"]) == 3


async def test_a_broken_file_shows_its_findings_beside_the_policy_that_is_in_force(web):
    web.gateway.catalog.path("crm").write_text("name = 5")
    web.gateway.catalog.path("new").write_text("no toml")
    web.gateway.catalog.load()
    crm = (await web.api("GET", "/apps/crm")).json
    assert (crm["in_force"], crm["policy"], bool(crm["findings"])) == (True, "name = 5", True)
    new = (await web.api("GET", "/apps/new")).json
    assert (new["in_force"], new["name"], bool(new["findings"])) == (False, None, True)


async def test_an_app_goes_with_its_secrets_but_not_while_it_has_connections(web):
    await web.api("PUT", "/apps/crm/secrets/client_secret", json={"value": KEY})
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann"})
    assert (await web.api("DELETE", "/apps/crm")).status == 409
    await web.gateway.store.connections.delete("crm-ann")
    assert (await web.api("DELETE", "/apps/crm")).status == 204
    assert web.gateway.vault.calls[-1] == ("forget", "policy", "crm")
    assert (await web.api("GET", "/apps/crm")).status == 404
    assert await web.gateway.store.secrets.names("crm") == ()
    assert (await web.api("DELETE", "/apps/crm")).status == 404


async def test_a_secret_is_written_and_never_read(web):
    assert (await web.api("PUT", "/apps/machine/secrets/client_secret", json={"value": KEY})).status == 204
    answer = await web.api("GET", "/apps/machine")
    assert answer.json["secrets"] == [{"name": "client_secret", "set": True, "used": True}]
    sealed = await web.gateway.store.secrets.get("machine", "client_secret")
    assert Safe(web.gateway.keyring).open_app_secret("machine", "client_secret", sealed) == Secret(KEY)
    assert await events(web, app="machine") == [("secret.set", "admin-api")]
    assert (await web.api("GET", "/apps/machine/secrets/client_secret")).status == 405


async def test_a_secret_of_no_app_and_an_empty_one_are_refused(web):
    assert (await web.api("PUT", "/apps/nothing/secrets/x", json={"value": KEY})).status == 404
    assert (await web.api("PUT", "/apps/crm/secrets/x", json={"value": ""})).status == 422


# Connections.


async def test_connecting_is_201_and_the_same_account_again_is_200(web):
    body = {"app": "crm", "id": "crm-ann", "fields": {"account": "ann"}, "secrets": {"api_key": KEY}}
    first = await web.api("POST", "/connections", json=body)
    assert (first.status, first.json["id"], first.json["label"], first.json["status"]) == (
        201, "crm-ann", "Account ann", "active",
    )  # fmt: skip
    assert first.json["created_at"] == "2027-01-15T08:00:00Z"
    assert (await web.api("POST", "/connections", json=body)).status == 200
    assert web.gateway.vault.calls[0] == (
        "connect",
        "crm",
        "crm-ann",
        {"account": "ann"},
        {"api_key": Secret(KEY)},
        "admin-api",
    )


async def test_connecting_to_no_app_is_404(web):
    assert (await web.api("POST", "/connections", json={"app": "nothing"})).status == 404


async def test_what_the_provider_refused_is_answered_with_its_code(web):
    web.gateway.vault.refuses = AuthorizationServerError(Refusal(code="refresh_failed", detail="invalid_client"))
    answer = await web.api("POST", "/connections", json={"app": "crm"})
    assert (answer.status, answer.json["code"], answer.json["detail"]) == (502, "refresh_failed", "invalid_client")


async def test_fields_that_are_not_right_are_422_with_their_paths(web):
    faults = ({"path": "fields.account", "message": "is required"},)
    web.gateway.vault.refuses = ClientError(Refusal(code="invalid", detail="1 is wrong.", errors=faults))
    answer = await web.api("POST", "/connections", json={"app": "crm"})
    assert (answer.status, answer.paths) == (422, {"fields.account"})


async def test_connections_are_listed_by_app_status_and_page(web):
    for name in ("a", "b", "c"):
        await web.api("POST", "/connections", json={"app": "crm", "id": name, "fields": {"account": name}})
    await web.api("DELETE", "/connections/b")
    first = await web.api("GET", "/connections?limit=2&app=crm")
    assert ([one["id"] for one in first.json["items"]], first.json["next"]) == (["a", "b"], "b")
    rest = await web.api("GET", "/connections?limit=2&app=crm&cursor=b")
    assert ([one["id"] for one in rest.json["items"]], rest.json["next"]) == (["c"], None)
    assert [one["id"] for one in (await web.api("GET", "/connections?status=disconnected")).json["items"]] == ["b"]
    assert (await web.api("GET", "/connections?app=machine")).json == {"items": [], "next": None}


async def test_a_connection_is_shown_tested_refreshed_and_disconnected(web):
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann"})
    assert (await web.api("GET", "/connections/crm-ann")).json["created_by"] == "admin-api"
    tested = await web.api("POST", "/connections/crm-ann/test")
    assert (tested.status, tested.json) == (200, {"ok": False, "status": 401, "message": "The service answered 401."})
    assert (await web.api("POST", "/connections/crm-ann/refresh")).json["id"] == "crm-ann"
    assert (await web.api("DELETE", "/connections/crm-ann")).status == 204
    assert (await web.api("GET", "/connections/crm-ann")).json["status"] == "disconnected"
    assert [call[0] for call in web.gateway.vault.calls] == ["connect", "test", "refresh", "disconnect"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/refresh")])
async def test_a_connection_that_is_not_there_is_404(web, method, path):
    assert (await web.api(method, "/connections/nothing" + path)).status == 404
    assert web.gateway.vault.calls == []


async def test_explaining_says_the_decision_and_what_would_be_added(web):
    await web.api("POST", "/connections", json={"app": "crm", "id": "crm-ann"})
    asked = {"connection": "crm-ann", "method": "GET", "url": "https://api.example.com/v1/users"}
    answer = await web.api("POST", "/explain", json=asked)
    assert answer.json["allowed"] is True
    assert answer.json["inject"]["headers"] == {"Authorization": "***"}
    assert (await web.api("POST", "/explain", json=asked | {"connection": "nobody"})).status == 404
    assert (await web.api("POST", "/explain", json=asked | {"url": "https://x\\y"})).status == 400


# Links.


async def test_a_link_is_made_and_only_its_hash_is_kept(web):
    body = {"app": "crm", "id": "crm-ann", "fields": {"region": "eu"}, "expires_in": "1h"}
    answer = await web.api("POST", "/connect-links", json=body)
    assert (answer.status, answer.json["expires_at"]) == (201, "2027-01-15T09:00:00Z")
    assert answer.json["url"].startswith(f"{web.server.url}/connect/gwl_")
    token = answer.json["url"].rpartition("/")[2]
    assert len(token) == 47
    written = b"".join(file.read_bytes() for file in web.gateway.settings.data_dir.iterdir())
    assert token.encode() not in written
    assert await events(web, app="crm") == [("link.created", "admin-api")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"app": "nothing"}, 404),
        ({"app": "crm", "fields": {"api_key": KEY}}, 422),
        ({"app": "crm", "fields": {"colour": "red"}}, 422),
        ({"app": "crm", "fields": {"region": "moon"}}, 422),
        ({"app": "crm", "secrets": {"region": "eu"}}, 422),
        ({"app": "crm", "expires_in": "8d"}, 422),
        ({"app": "crm", "expires_in": 0}, 422),
        ({"app": "crm", "expires_in": True}, 422),
    ],
)
async def test_a_link_that_should_not_be_is_refused(web, body, status):
    assert (await web.api("POST", "/connect-links", json=body)).status == status


# Clients.


async def test_a_clients_token_is_in_the_answer_that_makes_it_and_in_no_other(web):
    made = await web.api("POST", "/clients", json={"name": "runner", "connections": ["crm-*"], "expires_in": "90d"})
    assert made.status == 201
    token = made.json["token"]
    assert web.gateway.access.client_for(token).may_use("crm-ann")
    listed = await web.api("GET", "/clients")
    assert listed.json["items"] == [
        {
            "name": "runner",
            "connections": ["crm-*"],
            "created_at": "2027-01-15T08:00:00Z",
            "expires_at": "2027-04-15T08:00:00Z",
            "revoked_at": None,
        }
    ]
    await events(web)
    assert [token in text for text in web.seen] == [True, False, False]


async def test_a_client_of_the_same_name_is_409(web):
    body = {"name": "runner", "connections": ["*"]}
    await web.api("POST", "/clients", json=body)
    answer = await web.api("POST", "/clients", json=body)
    assert (answer.status, answer.json["code"]) == (409, "conflict")


async def test_a_revoked_client_is_refused_at_once(web):
    token = (await web.api("POST", "/clients", json={"name": "runner", "connections": ["*"]})).json["token"]
    assert (await web.api("DELETE", "/clients/runner")).status == 204
    assert web.gateway.access.client_for(token) is None
    assert (await web.api("DELETE", "/clients/runner")).status == 204
    assert (await web.api("DELETE", "/clients/nobody")).status == 404
    assert await events(web) == [("client.revoked", "admin-api"), ("client.created", "admin-api")]


async def test_clients_are_paged_by_name(web):
    for name in ("c", "a", "b"):
        await web.api("POST", "/clients", json={"name": name, "connections": ["*"]})
    first = await web.api("GET", "/clients?limit=2")
    assert ([one["name"] for one in first.json["items"]], first.json["next"]) == (["a", "b"], "b")
    assert [one["name"] for one in (await web.api("GET", "/clients?cursor=b")).json["items"]] == ["c"]


# What happened.


async def test_events_are_filtered_and_paged_newest_first(web):
    for number in range(3):
        await web.gateway.audit.record(
            f"kind.{'abc'[number]}", actor="x", app="crm", connection=f"crm-{number}", n=number
        )
    first = await web.api("GET", "/events?limit=2")
    assert [event["kind"] for event in first.json["items"]] == ["kind.c", "kind.b"]
    rest = await web.api("GET", "/events", params={"cursor": first.json["next"]})
    assert [event["detail"] for event in rest.json["items"]] == [{"n": 0}]
    assert len((await web.api("GET", "/events?connection=crm-1")).json["items"]) == 1
    assert len((await web.api("GET", "/events?kind=kind.a&app=crm")).json["items"]) == 1
    assert (await web.api("GET", "/events?cursor=nonsense")).status == 422


async def test_requests_are_filtered_by_app_connection_client_status_and_code(web):
    row = {"method": "GET", "url": "https://api.example.com/v1", "seconds": 0.1, "entrance": "absolute"}
    await web.gateway.store.requests.add_many(
        [
            RequestRow(
                at=NOW,
                request_id="1",
                status=200,
                app="crm",
                connection="crm-ann",
                client="runner",
                refreshed=True,
                **row,
            ),
            RequestRow(at=NOW, request_id="2", status=403, code="target_not_allowed", connection="crm-bob", **row),
        ]
    )
    assert [one["request_id"] for one in (await web.api("GET", "/requests")).json["items"]] == ["2", "1"]
    for query, found in (
        ("app=crm", "1"),
        ("connection=crm-ann", "1"),
        ("client=runner", "1"),
        ("status=403", "2"),
        ("code=target_not_allowed", "2"),
    ):
        answer = await web.api("GET", f"/requests?{query}")
        assert [one["request_id"] for one in answer.json["items"]] == [found]
    assert answer.json["items"][0]["code"] == "target_not_allowed"
    shown = {
        one["request_id"]: (one["app"], one["refreshed"]) for one in (await web.api("GET", "/requests")).json["items"]
    }
    assert shown == {"1": ("crm", True), "2": (None, False)}


# Secrets.


async def test_no_answer_holds_a_secret(web):
    secrets = [KEY, "the-client-secret", "the-preset-value"]
    await web.api("PUT", "/apps/machine/secrets/client_secret", json={"value": secrets[1]})
    body = {"app": "crm", "id": "crm-ann", "fields": {"account": "ann"}, "secrets": {"api_key": KEY}}
    await web.api("POST", "/connections", json=body)
    await web.api("POST", "/connections", json=body | {"colour": KEY, "secrets": {"api_key": [KEY]}})
    await web.api("POST", "/connections", json=body | {"app": "NOT AN APP"})
    await web.api("PUT", "/apps/machine/secrets/client_secret", json={"value": {"x": secrets[1]}})
    await web.api("POST", "/connect-links", json={"app": "crm", "fields": {"api_key": secrets[2]}})
    await web.api("POST", "/connect-links", json={"app": "crm", "secrets": {"api_key": secrets[2]}})
    for path in ("/apps", "/apps/machine", "/apps/crm", "/connections", "/connections/crm-ann", "/clients", "/events"):
        assert (await web.api("GET", path)).status == 200
    await web.api("POST", "/connections/crm-ann/test")
    await web.api("POST", "/connections/crm-ann/refresh")
    await web.get("/metrics")
    assert len(web.seen) > 15
    assert not [text for text in web.seen for secret in secrets if secret in text]
