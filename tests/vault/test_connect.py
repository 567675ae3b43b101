"""Connecting, testing, disconnecting, explaining: what a person or the API does with a connection."""

import asyncio
import base64
import re
from typing import Any

import pytest

from gateway.errors import AuthorizationServerError, ClientError, GatewayError, PolicyError, Refusal
from gateway.oauth.message import Answer
from gateway.secret import Secret
from gateway.store.rows import Status
from gateway.vault import Vault
from gateway.vault.label import mask
from tests.vault.harness import (
    ANN,
    API_KEY,
    CLIENT,
    CLIENT_CREDENTIALS,
    ENVIRON,
    House,
    Overtaken,
    as_json,
    authorization,
    events,
)


async def refused(awaitable: Any, kind: type[GatewayError] = ClientError) -> Refusal:
    with pytest.raises(kind) as caught:
        await awaitable
    return caught.value.refusal


async def test_client_credentials_from_fields_make_an_active_connection(house: House, vault: Vault) -> None:
    done = await vault.connect(
        "example", fields={"client_id": "cid"}, secrets={"client_secret": Secret("client-s3cret")}, actor="ann"
    )
    assert done.created
    assert re.fullmatch(r"example-[a-z2-7]{6}", done.row.id)
    assert (done.row.label, done.row.unique_id, done.row.status) == ("John Doe", "u1", Status.ACTIVE)
    assert done.row.created_by == "ann"
    live = await vault.live(done.row.id)
    assert live is not None
    assert authorization(live) == "Bearer at-1-secret"
    assert house.provider.token_calls == [{"grant_type": "client_credentials"}]
    assert house.provider.tested[0].url == "https://api.test/v1/me"
    assert dict(house.provider.tested[0].headers)["Authorization"] == "Bearer at-1-secret"
    assert await events(vault, "connection.created") == [{"label": "John Doe", "actor": "ann"}]


async def test_no_secret_is_in_the_store_in_clear(house: House, vault: Vault) -> None:
    await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    await vault.connect("legacy", connection_id="d", fields=ANN | {"otp": "one-time-9"}, actor="ann")
    live = await vault.live("d")
    assert live is not None
    await vault.after_401(live)
    await vault._store.close()
    stored = b"".join(file.read_bytes() for file in house.path.parent.iterdir())
    told = [CLIENT["client_secret"], ANN["password"], "one-time-9", ENVIRON["APP_SECRET"], "at-1-secret", "rt-2-secret"]
    for secret in told:
        for form in (secret.encode(), base64.b64encode(secret.encode())):
            assert form not in stored, secret


async def test_fields_are_checked_and_every_error_is_named(vault: Vault) -> None:
    refusal = await refused(vault.connect("example", fields={"client_id": "", "colour": "red"}, actor="ann"))
    assert refusal.code == "invalid"
    assert {error["path"] for error in refusal.errors} == {
        "fields.client_id",
        "fields.client_secret",
        "fields.colour",
    }


@pytest.mark.parametrize("wrong", ["", "a:b", "a/b", "-a", ".a", "a b", "é", "a" * 65, "a\n"])
async def test_an_id_that_could_not_be_a_user_name_or_a_path_segment_is_refused(vault: Vault, wrong: str) -> None:
    assert (await refused(vault.connect("example", connection_id=wrong, fields=CLIENT, actor="ann"))).code == "invalid"


async def test_an_id_of_another_app_is_a_conflict(vault: Vault) -> None:
    await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    refusal = await refused(vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann"))
    assert refusal.code == "conflict"


async def test_the_same_id_of_the_same_app_is_authorised_again(house: House, vault: Vault) -> None:
    first = await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    live = await vault.live("c")
    assert live is not None
    house.provider.scripted = [as_json(400, error="invalid_grant")]
    await refused(vault.after_401(live), AuthorizationServerError)
    house.provider.me = as_json(200, id="u1", name="Jane Doe")
    again = await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    assert not again.created
    assert (again.row.id, again.row.label, again.row.status) == ("c", "Jane Doe", Status.ACTIVE)
    assert (again.row.reason, again.row.created_at) == (None, first.row.created_at)
    live = await vault.live("c")
    assert live is not None
    assert live.refusal is None


async def test_the_same_account_updates_its_connection_and_keeps_the_id(house: House, vault: Vault) -> None:
    first = await vault.connect("example", fields=CLIENT, actor="ann")
    house.provider.me = as_json(200, id="u1", name="John D.")
    for wanted in (None, "other"):
        again = await vault.connect("example", connection_id=wanted, fields=CLIENT, actor="bob")
        assert not again.created
        assert (again.row.id, again.row.label, again.row.created_by) == (first.row.id, "John D.", "ann")
    assert await vault._store.connections.count() == 1


async def test_two_people_who_connect_one_account_at_once_make_one_connection(house: House) -> None:
    async with house.vault() as one, house.vault() as two:
        done = await asyncio.gather(
            *(vault.connect("example", fields=CLIENT, actor="ann") for vault in (one, two) for _ in range(5))
        )
        assert await one._store.connections.count() == 1
    assert len({connected.row.id for connected in done}) == 1
    assert [connected.created for connected in done].count(True) == 1


async def test_a_test_call_that_fails_leaves_nothing_and_shows_status_and_message_without_secrets(
    house: House, vault: Vault
) -> None:
    house.provider.me = as_json(403, message="Token at-1-secret of client-s3cret\r\nhas no scope")
    refusal = await refused(vault.connect("example", connection_id="c", fields=CLIENT, actor="ann"))
    assert refusal.detail == "The test call answered 403 (expected 200): Token *** of *** has no scope"
    assert await vault._store.connections.get("c") is None


async def test_a_test_call_that_fails_leaves_the_connection_that_was_there_as_it_was(
    house: House, vault: Vault
) -> None:
    before = await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    house.provider.me = as_json(500)
    await refused(vault.connect("example", connection_id="c", fields=CLIENT, actor="ann"))
    assert await vault._store.connections.get("c") == before.row


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (as_json(201, id="u1"), "The test call answered 201 (expected 200)."),
        (as_json(200, name="x"), "The test call answered 200 without a value at 'id'."),
        (as_json(200, error="no such user"), "The test call answered 200 without a value at 'id'."),
        (Answer(status=200, body=b"<html>"), "The test call answered 200 without a value at 'id'."),
        (
            Answer(status=401, headers={"content-type": "text/plain"}, body=b"bad at-1-secret"),
            "The test call answered 401 (expected 200): bad ***",
        ),
    ],
    ids=["status", "path", "error", "html", "text"],
)
async def test_what_the_policy_expects_of_the_test_call(
    house: House, vault: Vault, answer: Answer, message: str
) -> None:
    house.provider.me = answer
    assert (await refused(vault.connect("example", fields=CLIENT, actor="ann"))).detail == message


async def test_a_token_endpoint_that_refuses_is_shown_in_its_own_words(house: House, vault: Vault) -> None:
    house.provider.scripted = [
        as_json(401, error="invalid_client", error_description="Unknown client-s3cret, see the portal")
    ]
    refusal = await refused(vault.connect("example", fields=CLIENT, actor="ann"), AuthorizationServerError)
    assert refusal.code == "refresh_failed"
    assert refusal.detail == (
        "Example gave no token. The provider answered 401: invalid_client: Unknown ***, see the portal"
    )
    assert await vault._store.connections.count() == 0


async def test_nobody_names_their_account_as_the_hash_of_another(house: House, vault: Vault) -> None:
    """A long identifier is kept as its hash, which whoever knows the identifier can reckon."""
    house.provider.me = as_json(200, id="u" * 201, name="Ann")
    ann = await vault.connect("example", fields=CLIENT, actor="ann")
    house.provider.me = as_json(200, id=ann.row.unique_id, name="Eve")
    eve = await vault.connect("example", fields=CLIENT, actor="eve")
    assert (eve.created, eve.row.id != ann.row.id) == (True, True)


async def test_a_missing_account_identifier_is_the_policys_fault_and_makes_no_second_connection(
    house: House, vault: Vault
) -> None:
    text = CLIENT_CREDENTIALS.replace('unique_id = "{{ test.id }}"', 'unique_id = "{{ test.account }}"')
    house.policies.put("example", text)
    refusal = await refused(vault.connect("example", fields=CLIENT, actor="ann"), PolicyError)
    assert "test.account is missing" in refusal.detail
    assert await vault._store.connections.count() == 0


async def test_a_missing_label_is_no_reason_to_fail(house: House, vault: Vault) -> None:
    house.provider.me = as_json(200, id="u1")
    done = await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    assert done.row.label == "c"


async def test_another_account_is_not_put_behind_an_id_that_programs_use(house: House, vault: Vault) -> None:
    before = await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    house.provider.me = as_json(200, id="u2", name="Jane Roe")
    refusal = await refused(vault.connect("example", connection_id="c", fields=CLIENT, actor="ann"))
    assert refusal.code == "conflict"
    assert "Jane Roe" in refusal.detail
    assert "c: John Doe" in refusal.detail
    assert await vault._store.connections.get("c") == before.row


async def test_of_two_accounts_that_are_put_behind_a_free_id_at_once_the_first_has_it(
    house: House, vault: Vault
) -> None:
    """It is free while the second looks; by the time it writes, programs use it in the first one's name."""
    await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann")
    await vault.disconnect("c", actor="ann")

    async def first() -> None:
        house.provider.me = as_json(200, id="u2", name="Jane Roe")
        async with house.vault() as other:
            await other.connect("example", connection_id="c", fields=CLIENT, actor="jane")

    vault._connecting._connections = Overtaken(vault._store, first)
    house.provider.me = as_json(200, id="u3", name="Eve")
    refusal = await refused(vault.connect("example", connection_id="c", fields=CLIENT, actor="eve"))
    assert (refusal.code, "c: Jane Roe" in refusal.detail) == ("conflict", True)
    row = await vault._store.connections.get("c")
    assert row is not None
    assert (row.unique_id, row.label) == ("u2", "Jane Roe")


async def test_what_every_request_needs_is_made_once_before_connected_is_said(house: House, vault: Vault) -> None:
    text = CLIENT_CREDENTIALS.partition("[test]")[0] + '[inject.headers]\nX-A = { js = "throw new Error(1)" }\n'
    house.policies.put("example", text)
    refusal = await refused(vault.connect("example", fields=CLIENT, actor="ann"), PolicyError)
    assert "inject.headers.X-A" in refusal.detail
    assert await vault._store.connections.count() == 0


async def test_a_label_is_masked_where_the_policy_says_so(house: House, vault: Vault) -> None:
    text = CLIENT_CREDENTIALS.replace('label = "{{ test.name }}"', 'label = "{{ test.name }}"\nmask = true')
    house.policies.put("example", text)
    assert (await vault.connect("example", fields=CLIENT, actor="ann")).row.label == "J•• D••"


@pytest.mark.parametrize(
    ("text", "masked"),
    [("john@example.com", "j••@e••.com"), ("a@b", "a••@b••"), ("John", "J••"), ("", ""), ("a@b c@d", "a•• c••")],
)
def test_masking(text: str, masked: str) -> None:
    assert mask(text) == masked


async def test_an_app_that_needs_a_browser_says_so(house: House, vault: Vault) -> None:
    text = (
        CLIENT_CREDENTIALS.replace('grant = "client_credentials"', 'grant = "authorization_code"')
        + '\n[auth.authorize]\nurl = "https://id.test/authorize"\n'
    )
    house.policies.put("example", text)
    refusal = await refused(vault.connect("example", fields=CLIENT, actor="ann"))
    assert refusal.hint == "Make a connect link."


async def test_an_unknown_app_is_not_found(vault: Vault) -> None:
    assert (await refused(vault.connect("nothing", actor="ann"))).code == "not_found"


async def test_a_client_secret_from_a_file_and_from_the_sealed_store(house: House, vault: Vault) -> None:
    file = house.path.parent / "secret.txt"
    file.write_text("from-file-s3cret\n")
    text = CLIENT_CREDENTIALS.replace('{ field = "client_secret" }', f'{{ file = "{file}" }}').replace(
        '{ field = "client_id" }', '{ secret = "client_id" }'
    )
    house.policies.put("example", text)
    refusal = await refused(vault.connect("example", fields=CLIENT, actor="ann"), PolicyError)
    assert refusal.detail == "The secret client_id of the app example is not set."
    sealed = vault._safe.seal_app_secret("example", "client_id", Secret("sealed-id"))
    await vault._store.secrets.put("example", "client_id", sealed, now=1.0)
    sent: list[str] = []
    send = house.provider.send

    async def spying(request: Any, **limits: Any) -> Any:
        sent.append(dict(request.headers).get("Authorization", ""))
        return await send(request, **limits)

    house.provider.send = spying  # type: ignore[method-assign]
    await vault.connect("example", fields=CLIENT, actor="ann")
    assert sent[0] == "Basic " + base64.b64encode(b"sealed-id:from-file-s3cret").decode()


async def test_a_missing_environment_variable_is_named(house: House) -> None:
    async with house.vault() as vault:
        vault._provider._sources._environ = {}
        refusal = await refused(vault.connect("legacy", fields=ANN, actor="ann"), PolicyError)
    assert refusal.detail == "The environment variable APP_SECRET is not set."


async def test_connecting_goes_on_when_the_caller_goes_away(house: House, vault: Vault) -> None:
    house.provider.gate = asyncio.Event()
    caller = asyncio.create_task(vault.connect("legacy", connection_id="c", fields=ANN, actor="ann"))
    await house.provider.arrived.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    house.provider.gate.set()
    await vault.close()
    assert await vault.live("c") is not None


async def test_the_test_call_by_hand_refreshes_if_it_must(house: House, vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    assert (await vault.test("c")).ok
    house.provider.me = as_json(401, message="expired")
    result = await vault.test("c")
    assert (result.ok, result.status, result.message) == (
        False,
        401,
        "The test call answered 401 (expected 200): expired",
    )
    assert len(house.provider.token_calls) == 2
    assert dict(house.provider.tested[-1].headers)["Authorization"] == "Bearer at-2-secret"
    assert (await refused(vault.test("nothing"))).code == "not_found"


async def test_a_disconnected_account_that_connects_again_keeps_its_id(vault: Vault) -> None:
    first = await vault.connect("example", fields=CLIENT, actor="ann")
    await vault.disconnect(first.row.id, actor="ann")
    again = await vault.connect("example", fields=CLIENT, actor="ann")
    assert again.row.id == first.row.id
    assert await vault.live(first.row.id) is not None


async def test_explaining_shows_the_decision_and_what_would_be_injected_with_secrets_masked(vault: Vault) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    assert await vault.explain("c", "get", "http://api.test/v1/users?q=1") == {
        "allowed": True,
        "reason": "Covered by the allowed URL 'https://api.test/v1'.",
        "hint": None,
        "rule": "https://api.test/v1",
        "upstream_url": "https://api.test/v1/users?q=1",
        "limits": None,
        "inject": {
            "headers": {"Authorization": "Bearer ***"},
            "defaults": {},
            "query": {"key": "***"},
            "body": {"version": "v2"},
        },
    }
    assert (await vault.explain("c", "GET", "/users"))["upstream_url"] == "https://api.test/v1/users"
    denied = await vault.explain("c", "GET", "https://evil.test/")
    assert (denied["allowed"], denied["upstream_url"], denied["inject"]["headers"]) == (False, None, {})
    assert "evil.test" in denied["reason"]
    assert not (await vault.explain("c", "GET", "https://api.test/v1/../x"))["allowed"]
    assert (await refused(vault.explain("nothing", "GET", "/"))).code == "not_found"


async def test_an_edited_policy_counts_from_the_next_request(house: House, vault: Vault) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    assert await vault.live("c") is not None
    house.policies.put("keyed", API_KEY.replace("Bearer", "Token"))
    vault.forget("app", "keyed")
    assert vault.peek("c") is None
    live = await vault.live("c")
    assert live is not None
    assert authorization(live) == "Token key-12345"


async def test_a_policy_that_disappears_makes_its_connections_refuse_and_say_why(house: House, vault: Vault) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    del house.policies["keyed"]
    vault.forget("app", "keyed")
    live = await vault.live("c")
    assert live is not None
    assert live.injection is None
    assert live.refusal is not None
    assert live.refusal.code == "target_not_allowed"
    assert live.refusal.hint == "Put policies/keyed.toml back; the connection is as it was."


async def test_a_policy_that_asks_for_a_value_the_connection_lacks_refuses_and_names_it(
    house: House, vault: Vault
) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    field = '[[fields]]\nname = "region"\n[auth]'
    house.policies.put("keyed", API_KEY.replace("Bearer {{ api_key }}", "{{ region }}").replace("[auth]", field))
    vault.forget("app", "keyed")
    live = await vault.live("c")
    assert live is not None
    assert live.refusal is not None
    assert live.refusal.code == "reauthorization_required"
    assert "region is missing" in live.refusal.detail


async def test_credentials_that_do_not_open_refuse_and_are_not_taken_for_missing(vault: Vault) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    other = await vault.connect("keyed", connection_id="d", fields={"api_key": "key-67890"}, actor="ann")
    await vault._store.connections.update("c", credentials=other.row.credentials)
    vault.forget("connection", "c")
    live = await vault.live("c")
    assert live is not None
    assert live.refusal is not None
    assert live.refusal.code == "internal"


async def test_javascript_is_rendered(house: House, vault: Vault) -> None:
    script = "Authorization = { js = \"return 'Key ' + context.authData.api_key\" }"
    house.policies.put("keyed", API_KEY.replace('Authorization = "Bearer {{ api_key }}"', script))
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    live = await vault.live("c")
    assert live is not None
    assert authorization(live) == "Key key-12345"


async def test_unknown_ids_are_remembered_until_the_change_feed_tells_of_them(house: House, vault: Vault) -> None:
    assert await vault.live("c") is None
    reads = 0
    get = vault._lives._load

    async def counting(connection_id: str) -> Any:
        nonlocal reads
        reads += 1
        return await get(connection_id)

    vault._lives._load = counting
    assert await vault.live("c") is None
    assert reads == 0
    async with house.vault() as other:
        await other.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    vault.forget("connection", "c")
    assert await asyncio.gather(*(vault.live("c") for _ in range(50))) == [await vault.live("c")] * 50
    assert reads == 1


async def test_what_is_loaded_while_a_change_comes_in_is_not_kept(vault: Vault) -> None:
    await vault.connect("keyed", connection_id="c", fields={"api_key": "key-12345"}, actor="ann")
    get, reading, go_on = vault._lives._load, asyncio.Event(), asyncio.Event()

    async def slow(connection_id: str) -> Any:
        row = await get(connection_id)
        reading.set()
        await go_on.wait()
        return row

    vault._lives._load = slow
    early = asyncio.create_task(vault.live("c"))
    await reading.wait()
    await vault._store.connections.update("c", status=Status.DISCONNECTED)
    vault.forget("connection", "c")
    go_on.set()
    await early
    assert vault.peek("c") is None
    assert await vault.live("c") is None


async def test_the_cache_is_bounded(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.vault.lives.KEPT", 3)
    monkeypatch.setattr("gateway.vault.lives.UNKNOWN_KEPT", 3)
    for number in range(5):
        await vault.connect("keyed", connection_id=f"c{number}", fields={"api_key": f"key-{number}"}, actor="ann")
        await vault.live(f"c{number}")
        await vault.live(f"unknown{number}")
    assert len(vault._lives._lives) == 3
    assert vault.peek("c0") is None
    assert vault.peek("c4") is not None
    assert len(vault._lives._unknown) <= 3
    vault.forget("everything", "")
    assert vault.peek("c4") is None
