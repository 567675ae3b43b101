"""`gateway connect` with a device code: what is printed, and how long it waits. The interval is nothing here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.cli.device import tokens_by_code
from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.oauth.answer import TokenAnswer
from gateway.oauth.device import DeviceCode, Pending
from gateway.policy.load import load
from gateway.policy.model import Policy
from gateway.secret import Secret

TEXT = """
name = "CRM"
[allow]
urls = ["example.com"]
[[fields]]
name = "region"
default = "us"
[[fields]]
name = "otp"
once = true
[auth]
grant = "device_code"
client_id = "id"
[auth.device]
url = "https://example.com/device"
[auth.token]
url = "https://example.com/token"
"""
CODE = DeviceCode(
    device_code=Secret("the-device-code"),
    user_code="WDJB-MJHT",
    verification_uri="https://example.com/device",
    link="https://example.com/device?user_code=WDJB-MJHT",
    host="example.com",
    expires_in=60.0,
    interval=0.0,
)
TOKENS = TokenAnswer(raw={}, access_token=Secret("at"))
AWAY = Pending(interval=0.0, detail="example.com did not answer within 20 s.")


@dataclass
class Vault:
    """Gives `CODE`, and says one thing after the other; each poll takes a second."""

    said: list[Any]
    now: float = 1_800_000_000.0
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def vault(self) -> "Vault":
        return self

    logins = vault

    def clock(self) -> float:
        return self.now

    async def ask_for_code(self, _app: str, _policy: Policy, *, fields: Mapping[str, Any]) -> DeviceCode:
        self.asked.append(fields)
        return CODE

    async def poll(self, _app: str, _policy: Policy, **how: Any) -> Any:
        self.asked.append(how)
        self.now += 1
        came = self.said.pop(0)
        if isinstance(came, Exception):
            raise came
        return came


async def connect(vault: Any, *, json: bool = False, **values: str) -> TokenAnswer:
    policy = load(TEXT, app="crm", file="crm.toml").policy
    assert policy is not None
    given = {"otp": Secret("271828")} | values
    return await tokens_by_code(vault, "crm", policy, given, json=json)


async def test_address_and_code_are_data_and_the_rest_is_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    vault = Vault([Pending(interval=0.0), AWAY, AWAY, TOKENS])
    assert await connect(vault) is TOKENS
    said = capsys.readouterr()
    assert said.out == "https://example.com/device\nWDJB-MJHT\n"
    assert said.err.count("example.com did not answer within 20 s.") == 1
    assert "Or open https://example.com/device?user_code=WDJB-MJHT" in said.err
    assert "the-device-code" not in said.out + said.err
    assert vault.asked[0] == {"region": "us", "otp": Secret("271828")}
    assert vault.asked[-1]["fields"] == vault.asked[0]


async def test_a_program_gets_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    await connect(Vault([TOKENS]), json=True)
    assert json.loads(capsys.readouterr().out) == {
        "user_code": "WDJB-MJHT",
        "verification_uri": "https://example.com/device",
        "link": "https://example.com/device?user_code=WDJB-MJHT",
        "expires_at": "2027-01-15T08:01:00Z",
    }


async def test_it_ends_with_what_the_provider_says_or_with_the_code() -> None:
    refused = AuthorizationServerError(Refusal(code="refresh_failed", detail="It was refused."))
    with pytest.raises(AuthorizationServerError, match=r"It was refused\."):
        await connect(Vault([Pending(interval=0.0), refused]))
    waiting = Vault([Pending(interval=0.0)] * 100)
    with pytest.raises(AuthorizationServerError, match="has expired before anybody allowed it at CRM"):
        await connect(waiting)
    assert len(waiting.said) == 40


async def test_what_is_not_right_is_said_before_a_code_is_asked_for() -> None:
    vault = Vault([])
    with pytest.raises(ClientError, match="colour is no field of this app"):
        await connect(vault, colour="red")
    assert vault.asked == []
