"""The policy's own calls go out as every request does: with what is added, made anew and signed."""

import hashlib
import hmac
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret
from tests.vault.harness import API_KEY, NOW, House, as_json, authorization

KEYED = API_KEY.replace(
    '[test]\nurl = "/me"\n',
    """client_id = { secret = "id" }
[test]
url = "/me?a=1"
method = "POST"
format = "form"
body = { q = "c" }
[sign]
scheme = "hmac"
key = "{{ api_key }}"
text = "{{ request.path_and_query }}{{ request.body }}{{ request.time }}"
[inject.defaults]
Accept = "text/csv"
Content-Type = "application/xml"
X-Version = "3"
""",
).replace(
    "[inject.headers]\n",
    '[inject.headers]\nX-Signature = "{{ signature }}"\nClient-Id = "{{ app.client_id }}"\n',
)
SECRETS = {"api_key": "k-s3cret"}


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "store.db")
    house.policies.put("keyed", KEYED)
    return house


async def test_the_test_call_is_signed_over_what_it_sends_and_has_the_client_s_id(house: House) -> None:
    async with house.vault() as vault:
        await vault._store.secrets.put(
            "keyed", "id", vault._safe.seal_app_secret("keyed", "id", Secret("c-1")), now=NOW
        )
        done = await vault.connect("keyed", connection_id="c", secrets=SECRETS, actor="t")
    (sent,) = house.provider.tested
    assert done.created
    said = dict(sent.headers)
    text = f"/v1/me?a=1&key=k-s3cretq=c&version=v2{int(NOW)}"
    assert said["X-Signature"] == hmac.new(b"k-s3cret", text.encode(), hashlib.sha256).hexdigest()
    assert (said["Client-Id"], said["X-Version"], said["Accept"]) == ("c-1", "3", "application/json")
    assert said["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(sent.body.decode()) == {"q": ["c"], "version": ["v2"]}
    assert Secret(said["X-Signature"]) in sent.secrets


async def test_a_signature_that_the_test_api_repeats_is_not_shown(house: House) -> None:
    async def repeat(request: OutgoingRequest, **_limits: object) -> object:
        return as_json(400, message=f"wrong signature {dict(request.headers)['X-Signature']}")

    house.policies.put("keyed", KEYED.replace('Client-Id = "{{ app.client_id }}"\n', ""))
    house.provider.send = repeat  # type: ignore[method-assign, assignment]
    async with house.vault() as vault:
        result = await vault.attempt("keyed", house.policies["keyed"], given=SECRETS, actor="t")
    assert result.message == "The test call answered 400: wrong signature ***"
    assert result.data == {"message": "wrong signature ***"}


async def test_a_client_s_id_that_changes_is_in_the_next_request(house: House) -> None:
    async with house.vault() as vault:
        for value in ("c-1", "c-2"):
            sealed = vault._safe.seal_app_secret("keyed", "id", Secret(value))
            await vault._store.secrets.put("keyed", "id", sealed, now=NOW)
            vault.forget("secret", "keyed/id")
            if value == "c-1":
                await vault.connect("keyed", connection_id="c", secrets=SECRETS, actor="t")
            live = await vault.live("c")
            assert live is not None
            assert live.injection is not None
            assert dict(live.injection.headers)[b"Client-Id"] == value.encode()
            assert authorization(live) == "Bearer k-s3cret"


async def test_without_the_client_s_id_nothing_is_sent_and_it_is_said_what_to_set(house: House) -> None:
    async with house.vault() as vault:
        sealed = vault._safe.seal_app_secret("keyed", "id", Secret("c-1"))
        await vault._store.secrets.put("keyed", "id", sealed, now=NOW)
        await vault.connect("keyed", connection_id="c", secrets=SECRETS, actor="t")
        await vault._store.secrets.delete("keyed", "id")
        vault.forget("secret", "keyed/id")
        live = await vault.live("c")
        assert live is not None
        assert live.refusal is not None
        assert live.refusal.detail == "The secret id of the app keyed is not set."
        assert "auth.client_id" in (live.refusal.hint or "")


async def test_an_id_that_no_request_names_is_not_even_read(house: House) -> None:
    house.policies.put("keyed", KEYED.replace('Client-Id = "{{ app.client_id }}"\n', ""))
    async with house.vault() as vault:
        await vault.connect("keyed", connection_id="c", secrets=SECRETS, actor="t")
        live = await vault.live("c")
    assert live is not None
    assert live.refusal is None


async def test_what_can_not_be_signed_connects_nothing(house: House) -> None:
    policy = KEYED.replace('Client-Id = "{{ app.client_id }}"\n', "").replace(
        'key = "{{ api_key }}"\ntext', 'key = "{{ api_key }}"\nkey_encoding = "hex"\ntext'
    )
    house.policies.put("keyed", policy)
    async with house.vault() as vault:
        with pytest.raises(Exception, match=r"sign\.key is not hex") as raised:
            await vault.connect("keyed", connection_id="c", secrets=SECRETS, actor="t")
        assert await vault.live("c") is None
    assert "k-s3cret" not in str(raised.value)
