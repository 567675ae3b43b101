"""Which grants can get a new token, with what, and when they are to."""

from typing import Any

import pytest

from gateway.policy.load import load
from gateway.policy.model import Policy
from gateway.secret import Secret
from gateway.vault.credentials import Credentials
from gateway.vault.timing import can_ask, can_refresh, renew_at, renews_with, timing

HEAD = 'name = "X"\n[allow]\nurls = ["example.com"]\n'
TOKEN = '[auth.token]\nurl = "https://example.com/token"\nmargin = "100s"\n'
CLIENT = 'client_id = "id"\nclient_secret = { secret = "s" }\n'
LOGIN = CLIENT + '[auth.authorize]\nurl = "https://example.com/login"\n'
KEY = '[auth.assertion]\nkey = { secret = "key" }\n'
RENEW = '[auth.refresh]\ntoken = "access_token"\n'
PIN = '[[fields]]\nname = "pin"\n'
OWN_RENEWAL = '[auth.refresh]\nparams = { x = "{{ refresh_token }}" }\n'
BOTH = Credentials(token={"access_token": "at"}, refresh_token=Secret("rt"), issued_at=1000.0)
BARE = Credentials(token={"access_token": "at"}, issued_at=1000.0)


def policy(grant: str, rest: str, fields: str = "") -> Policy:
    loaded = load(f'{HEAD}{fields}[auth]\ngrant = "{grant}"\n{rest}', app="x", file="x.toml")
    assert loaded.policy is not None, [str(finding) for finding in loaded.findings]
    return loaded.policy


@pytest.mark.parametrize(
    ("made", "asks", "with_both", "with_bare"),
    [
        (policy("authorization_code", LOGIN + TOKEN), False, "rt", None),
        (policy("authorization_code", LOGIN + TOKEN + RENEW), False, "at", "at"),
        (policy("client_credentials", CLIENT + TOKEN), True, "rt", None),
        (policy("jwt_bearer", KEY + TOKEN), True, None, None),
        (policy("jwt", KEY), True, None, None),
        (policy("custom", TOKEN), True, None, None),
        (policy("custom", TOKEN + OWN_RENEWAL), True, "rt", None),
        (policy("custom", TOKEN, PIN + "once = true\n"), False, None, None),
        (policy("custom", TOKEN, PIN + "once = true\nrequired = false\n"), True, None, None),
    ],
)
def test_what_a_grant_gets_a_new_token_with(made: Policy, asks: Any, with_both: Any, with_bare: Any) -> None:
    for credentials, token in ((BOTH, with_both), (BARE, with_bare)):
        assert can_ask(made, credentials) is asks
        assert renews_with(made, credentials) == (None if token is None else Secret(token))
        assert can_refresh(made, credentials) is (asks or token is not None)


def test_a_token_that_is_signed_here_is_made_when_it_is_needed_and_not_before() -> None:
    assert renew_at("c", policy("jwt", KEY), BARE, expires_at=2000.0, updated_at=0.0) is None
    at = renew_at("c", policy("jwt_bearer", KEY + TOKEN), BARE, expires_at=2000.0, updated_at=0.0)
    assert at == pytest.approx(1900, abs=10)


def test_a_policy_that_renews_with_something_else_has_other_times() -> None:
    assert timing(policy("authorization_code", LOGIN + TOKEN)) != timing(
        policy("authorization_code", LOGIN + TOKEN + RENEW)
    )
