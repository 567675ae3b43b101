"""A policy that isn't saved is tried: what is sent, what is shown of the answer, and what is left behind."""

import pytest

from gateway.errors import AuthorizationServerError, ClientError
from gateway.keyring import Keyring
from gateway.policy.load import load
from gateway.policy.model import Policy
from gateway.secret import MASK, Secret
from gateway.store.rows import Status
from gateway.vault import Vault
from gateway.vault.credentials import Safe
from gateway.vault.trying import masked
from tests.vault.harness import ANN, API_KEY, CLIENT, CLIENT_CREDENTIALS, NOW, House, as_json, events


def policy(text: str) -> Policy:
    found = load(text, app="draft", file="draft.toml").policy
    assert found is not None
    return found


async def test_a_try_by_hand_sends_what_was_filled_in_and_leaves_an_entry_in_the_trail_alone(
    house: House, vault: Vault
) -> None:
    house.provider.me = as_json(200, id="u1", echo="Bearer key-123456", deep=[{"key-123456": 1}])
    result = await vault.attempt("draft", policy(API_KEY), given={"api_key": "key-123456"}, actor="ann")
    assert (result.ok, result.status, result.target) == (True, 200, "https://api.test/v1/me")
    assert result.data == {"id": "u1", "echo": MASK, "deep": [{MASK: 1}]}
    assert "key-123456" not in repr(result)
    assert await events(vault, "app.tried") == [
        {"target": "https://api.test/v1/me", "ok": True, "status": 200, "actor": "ann"}
    ]
    assert (await vault._store.connections.list()).items == ()


async def test_a_try_asks_for_a_token_and_keeps_none(house: House, vault: Vault) -> None:
    result = await vault.attempt("draft", policy(CLIENT_CREDENTIALS), given=CLIENT, actor="ann")
    assert result.ok
    assert dict(house.provider.tested[0].headers)["Authorization"] == "Bearer at-1-secret"
    house.provider.scripted = [as_json(401, error="invalid_client", error_description="No such client-s3cret")]
    with pytest.raises(AuthorizationServerError, match=r"gave no token\. .*No such \*\*\*"):
        await vault.attempt("draft", policy(CLIENT_CREDENTIALS), given=CLIENT, actor="ann")


async def test_the_apps_own_secret_is_masked_too_where_the_provider_tells_it_on(house: House, vault: Vault) -> None:
    typed = CLIENT_CREDENTIALS.replace('{ field = "client_secret" }', '{ secret = "client_secret" }').replace(
        '[[fields]]\nname = "client_secret"\nsecret = true\n', ""
    )
    house.provider.me = as_json(200, id="u1", echo="app-s3cret")
    given, secret = {"client_id": "cid"}, {"client_secret": Secret("app-s3cret")}
    result = await vault.attempt("draft", policy(typed), given=given, typed=secret, actor="ann")
    assert result.data == {"id": "u1", "echo": MASK}


async def test_a_failed_answer_is_shown_with_what_it_says(house: House, vault: Vault) -> None:
    house.provider.me = as_json(403, error="forbidden", key="key-123456")
    result = await vault.attempt("draft", policy(API_KEY), given={"api_key": "key-123456"}, actor="ann")
    assert (result.ok, result.status, result.data) == (False, 403, {"error": "forbidden", "key": MASK})


async def test_a_try_with_a_connection_has_a_token_that_holds_and_the_policy_as_given(
    house: House, vault: Vault
) -> None:
    done = await vault.connect("example", fields=CLIENT, actor="ann")
    house.clock.now = NOW + 4_000
    other = policy(CLIENT_CREDENTIALS.replace('"Bearer {{ access_token }}"', '"Token {{ access_token }}"'))
    house.provider.tested.clear()
    result = await vault.attempt("example", other, connection_id=done.row.id, actor="ann")
    assert result.ok
    assert dict(house.provider.tested[0].headers)["Authorization"] == "Token at-2-secret", "it was renewed first"


async def test_a_connection_of_another_app_or_an_ended_one_is_not_there(vault: Vault) -> None:
    done = await vault.connect("example", fields=CLIENT, actor="ann")
    with pytest.raises(ClientError, match="There is no connection"):
        await vault.attempt("keyed", policy(API_KEY), connection_id=done.row.id, actor="ann")
    await vault._store.connections.update(done.row.id, status=Status.DISCONNECTED, updated_at=NOW)
    with pytest.raises(ClientError, match="There is no connection"):
        await vault.attempt("example", policy(CLIENT_CREDENTIALS), connection_id=done.row.id, actor="ann")
    assert await events(vault, "app.tried") == []


async def test_what_isnt_right_is_said_before_anything_is_sent(house: House, vault: Vault) -> None:
    with pytest.raises(ClientError, match="api_key is required"):
        await vault.attempt("draft", policy(API_KEY), given=ANN, actor="ann")
    assert house.provider.tested == []


async def test_a_request_of_a_policy_that_isnt_saved_is_explained(vault: Vault) -> None:
    done = await vault.connect("example", fields=CLIENT, actor="ann")
    other = policy(CLIENT_CREDENTIALS.replace('"Bearer {{ access_token }}"', '"Token {{ access_token }}"'))
    answer = await vault.explain(done.row.id, "GET", "https://api.test/v1/x", policy=other)
    assert answer["inject"]["headers"] == {"Authorization": f"Token {MASK}"}
    answer = await vault.explain(done.row.id, "GET", "https://api.test/v1/x")
    assert answer["inject"]["headers"]["Authorization"] == f"Bearer {MASK}"


async def test_a_secret_that_a_script_makes_a_number_or_a_key_of_is_masked(vault: Vault) -> None:
    done = await vault.connect("keyed", fields={"api_key": "12345678"}, actor="ann")
    script = "return {pin: Number(context.authData.api_key), [context.authData.api_key]: [true, 1]}"
    other = policy(API_KEY.replace('version = "v2"', f'version = {{ js = "{script}" }}'))
    answer = await vault.explain(done.row.id, "GET", "https://api.test/v1/x", policy=other)
    assert answer["inject"]["body"] == {"version": {"pin": MASK, MASK: [True, 1]}}


def test_a_secret_is_masked_as_a_key_a_text_a_number_and_in_other_spellings() -> None:
    secrets = (Secret("12345678"), Secret("a/b+c==d"), Secret("xy"))
    given = {
        "12345678": "12345678",
        "number": 12345678,
        "other": 12345679,
        "encoded": "a%2Fb%2Bc%3D%3Dd",
        "list": [True, None, 1.5, "a/b+c==d!"],
        "surrogate": "\ud800",
        "short": "xy",
    }
    assert masked(given, secrets) == {
        MASK: MASK,
        "number": MASK,
        "other": 12345679,
        "encoded": MASK,
        "list": [True, None, 1.5, f"{MASK}!"],
        "surrogate": "\ud800",
        "short": "xy",
    }


def test_a_secret_that_a_page_carries_opens_in_its_own_place_alone() -> None:
    safe = Safe(Keyring({1: bytes(range(32))}))
    carried = safe.keep("crm/auth.client_secret", Secret("s3cret"))
    assert "s3cret" not in carried
    assert safe.kept("crm/auth.client_secret", carried) == Secret("s3cret")
    assert safe.kept("crm/auth.client_id", carried) is None
    for wrong in ("", "é", "A", carried[:-4], carried + "AAAA", "A" * 80):
        assert safe.kept("crm/auth.client_secret", wrong) is None, wrong
    assert Safe(Keyring({2: bytes(range(1, 33))})).kept("crm/auth.client_secret", carried) is None
