"""Fields that are found when connecting: in the callback, the token's answer, the look-up's and the test API's."""

import hmac
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.errors import AuthorizationServerError, ClientError, GatewayError, PolicyError
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.policy.context import Context
from gateway.policy.found import without_unfound
from gateway.secret import Secret
from gateway.vault import Vault
from tests.vault.harness import CLIENT_CREDENTIALS, House, as_json, authorization

POLICY = """
name = "Desk"
base_url = "{{ api }}/v1"
[allow]
urls = ["{{ api }}/v1", "https://id.desk.test/sites"]
[[fields]]
name = "api"
kind = "url"
domains = ["desk.test"]
from = "{{ token.api_domain }}"
[[fields]]
name = "realm"
required = false
from = "{{ callback.realmId }}"
[[fields]]
name = "site"
from = { js = "return context.lookup.find((site) => site.primary).id" }
[[fields]]
name = "page_key"
secret = true
from = "{{ lookup.0.access_token }}"
[[fields]]
name = "seat"
from = "{{ test.seat.id }}"
[auth]
grant = "authorization_code"
client_id = "app-1"
client_secret = { env = "APP_SECRET" }
[auth.authorize]
url = "https://id.desk.test/login"
[auth.token]
url = "https://id.desk.test/token"
params = { realm = "{{ realm }}" }
[lookup]
url = "https://id.desk.test/sites"
[test]
url = "/{{ site }}/me"
[connection]
label = "{{ site }} {{ seat }}"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
X-Site = "{{ site }}"
X-Seat = "{{ seat }}"
X-Page = "{{ page_key }}"
"""
SITES = [{"id": "s1", "access_token": "page-s3cret"}, {"id": "s2", "primary": True}]


class Desk:
    """A provider that says where things are one after the other. `sites` and `api` are what it says."""

    def __init__(self) -> None:
        self.api: Any = "https://eu.desk.test"
        self.sites: Any = SITES
        self.requests: list[OutgoingRequest] = []

    async def send(self, request: OutgoingRequest, **_limits: Any) -> Answer:
        self.requests.append(request)
        match urlsplit(request.url).path:
            case "/token":
                return as_json(200, access_token="at-1-secret", api_domain=self.api, expires_in=3600)
            case "/sites":
                return Answer(status=200, body=json.dumps(self.sites).encode())
        return as_json(200, seat={"id": 7})


async def connected(house: House, desk: Desk, *, callback: dict[str, str] | None = None, policy: str = POLICY) -> Any:
    house.policies.put("desk", policy)
    async with house.vault(egress=desk) as vault:
        return await _connect(house, vault, callback or {})


async def _connect(house: House, vault: Vault, callback: dict[str, str]) -> Any:
    answer = await vault.logins.redeem(
        "desk",
        house.policies["desk"],
        fields={},
        code=Secret("code-1"),
        redirect_uri="https://gate.test/callback",
        verifier=Secret("v" * 43),
        callback=callback,
    )
    done = await vault.connect("desk", connection_id="d", actor="ann", answer=answer, callback=callback)
    return done, await vault.open_fields("d"), await vault.live("d")


async def test_each_answer_says_what_the_next_call_needs(house: House) -> None:
    desk = Desk()
    done, fields, live = await connected(house, desk, callback={"realmId": "r9"})
    assert fields == {"api": "https://eu.desk.test", "realm": "r9", "site": "s2", "seat": "7"}
    assert done.row.label == "s2 7"
    token, sites, me = desk.requests
    assert b"realm=r9" in token.body
    assert dict(sites.headers)["Authorization"] == "Bearer at-1-secret"
    assert "X-Site" not in dict(sites.headers)
    assert me.url == "https://eu.desk.test/v1/s2/me"
    assert dict(me.headers)["X-Site"] == "s2"
    assert "X-Seat" not in dict(me.headers)
    assert authorization(live) == "Bearer at-1-secret"
    headers = dict(live.injection.headers)
    assert (headers[b"X-Site"], headers[b"X-Seat"], headers[b"X-Page"]) == (b"s2", b"7", b"page-s3cret")
    assert live.base_url == "https://eu.desk.test/v1"


SIGNED = """X-Signature = "{{ signature }}"
X-Realm = "{{ realm }}"
[sign]
scheme = "hmac"
key = "{{ page_key }}"
text = "{{ request.path }}"
"""


async def test_what_is_signed_with_a_found_key_is_signed_once_it_is_found(house: House) -> None:
    desk = Desk()
    _, _, live = await connected(house, desk, policy=POLICY + SIGNED)
    _, sites, me = (dict(request.headers) for request in desk.requests)
    assert "X-Signature" not in sites
    assert me["X-Signature"] == hmac.new(b"page-s3cret", b"/v1/s2/me", "sha256").hexdigest()
    assert live.injection.anew is not None
    assert b"X-Realm" not in dict(live.injection.headers)
    assert b"x-realm" in live.injection.header_names


async def test_an_optional_one_may_be_missing(house: House) -> None:
    desk = Desk()
    _, fields, _ = await connected(house, desk)
    assert "realm" not in fields
    assert b"realm" not in desk.requests[0].body


async def test_a_secret_one_is_kept_as_a_secret(house: House) -> None:
    _, fields, live = await connected(house, Desk())
    assert "page_key" not in fields
    assert Secret("page-s3cret") in live.injection.secrets
    assert b"page-s3cret" not in house.path.read_bytes()


@pytest.mark.parametrize(
    ("api", "kind", "said"),
    [
        ("https://desk.test.evil.test", ClientError, "the field api, which an answer named, must be on desk.test"),
        ("https://eu.desk.test@evil.test", ClientError, "the field api, which an answer named, must be a URL"),
        ("http://eu.desk.test", ClientError, "the field api, which an answer named, must begin with https://"),
        ("", PolicyError, "the value token.api_domain is missing or empty; the field api is found there"),
        (None, PolicyError, "the value token.api_domain is missing or empty; the field api is found there"),
        (["https://eu.desk.test"], PolicyError, "the value token.api_domain is missing or empty"),
    ],
)
async def test_nothing_goes_where_an_answer_says_but_the_policy_does_not(
    house: House, api: Any, kind: type[GatewayError], said: str
) -> None:
    desk = Desk()
    desk.api = api
    with pytest.raises(kind) as caught:
        await connected(house, desk)
    assert said in caught.value.refusal.detail
    assert [urlsplit(request.url).path for request in desk.requests] == ["/token"]
    async with house.vault() as vault:
        assert await vault._store.connections.get("d") is None


async def test_an_answer_that_a_script_cannot_read_is_said_and_nothing_is_connected(house: House) -> None:
    desk = Desk()
    desk.sites = [{"id": "s1", "access_token": "page-s3cret"}]
    with pytest.raises(PolicyError) as caught:
        await connected(house, desk)
    assert "the script failed with TypeError" in caught.value.refusal.detail
    assert "page-s3cret" not in str(caught.value)


async def test_a_script_cannot_make_a_shown_field_of_a_secret(house: House) -> None:
    shown = 'name = "shown"\nfrom = { js = "return `x-${context.authData.access_token}`" }'
    house.policies.put("desk", POLICY.replace("[auth]\n", f"[[fields]]\n{shown}\n[auth]\n"))
    async with house.vault(egress=Desk()) as vault:
        with pytest.raises(ClientError, match="the field shown, which is shown, would hold a secret"):
            await _connect(house, vault, {})
        house.policies.put("desk", POLICY.replace("[auth]\n", f"[[fields]]\n{shown}\nsecret = true\n[auth]\n"))
        await _connect(house, vault, {})


async def test_a_callback_cannot_choose_where_the_code_goes(house: House) -> None:
    """The token URL may be made of what came back, and only within the domains that the policy names."""
    server = 'name = "server"\nkind = "host"\ndomains = ["desk.test"]\nfrom = "{{ callback.server }}"'
    text = POLICY.replace("https://id.desk.test/token", "https://{{ server }}/token")
    text = text.replace("[auth]\n", f"[[fields]]\n{server}\n[auth]\n")
    house.policies.put("desk", text)
    desk = Desk()
    async with house.vault(egress=desk) as vault:
        with pytest.raises(ClientError) as caught:
            await _connect(house, vault, {"server": "desk.test.evil.test"})
        assert "must be on desk.test" in caught.value.refusal.detail
        assert desk.requests == []
        await _connect(house, vault, {"server": "us.desk.test"})
        assert desk.requests[0].url == "https://us.desk.test/token"
    assert isinstance(caught.value, ClientError)
    assert not isinstance(caught.value, AuthorizationServerError)


async def test_the_second_of_two_token_requests_may_go_where_the_first_answer_says(house: House) -> None:
    exchange = '[auth.exchange]\nurl = "{{ api }}/token"\nparams = { token = "{{ access_token }}" }\n'
    house.policies.put("desk", POLICY.replace("[lookup]\n", f"{exchange}[lookup]\n"))
    desk = Desk()
    async with house.vault(egress=desk) as vault:
        await _connect(house, vault, {})
        assert desk.requests[1].url == "https://eu.desk.test/token"
        assert b"token=at-1-secret" in desk.requests[1].body
        desk.requests.clear()
        desk.api = "https://evil.test"
        with pytest.raises(AuthorizationServerError) as caught:
            await _connect(house, vault, {})
    assert "the field api, which an answer named, must be on desk.test" in caught.value.refusal.detail
    assert len(desk.requests) == 1


def test_a_signature_stays_where_what_it_names_only_shares_a_found_field_s_name(house: House) -> None:
    """`token.site` is the token's own, whatever `site` is: without it, a call would leave unsigned."""
    base = CLIENT_CREDENTIALS.partition("[test]")[0]
    text = base.replace("[auth]", '[[fields]]\nname = "site"\nfrom = "{{ lookup.0.id }}"\n[auth]', 1) + SIGNED_OVER_SITE
    house.policies.put("signed", text)
    signed = house.policies["signed"]
    assert without_unfound(signed, Context()).sign == signed.sign
    house.policies.put("named", text.replace("token.site", "site"))
    unsigned = without_unfound(house.policies["named"], Context())
    assert (unsigned.sign, unsigned.inject.headers) == (None, {})


SIGNED_OVER_SITE = """
[lookup]
url = "https://api.test/v1/sites"
[inject.headers]
X-Signature = "{{ signature }}"
[sign]
scheme = "hmac"
key = "{{ access_token }}"
text = "{{ token.site }}{{ request.path }}"
"""
