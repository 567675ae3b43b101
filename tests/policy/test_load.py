"""Loading: the reference's own example is right, and every fault of a file is shown at once."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.load import load
from gateway.policy.model import Auth, EnvSource, Grant, SecretSource, refresh_endpoint

REFERENCE = Path(__file__).parent / "reference.toml"


def test_the_reference_s_example_is_right() -> None:
    loaded = load(REFERENCE.read_text(), app="crm", file="crm.toml")
    assert loaded.findings == ()
    policy = loaded.policy
    assert policy is not None
    assert policy.auth.grant is Grant.AUTHORIZATION_CODE
    assert policy.auth.client_id == EnvSource(env="CRM_CLIENT_ID")
    assert policy.auth.client_secret == SecretSource(secret="client_secret")
    assert policy.fields[0].choices == ("us", "eu")


def test_refresh_takes_what_it_leaves_out_from_the_token_endpoint() -> None:
    policy = load(REFERENCE.read_text(), app="crm", file="crm.toml").policy
    assert policy is not None
    endpoint = policy.refresh_endpoint
    assert endpoint is not None
    assert endpoint.url == "https://{{ region }}.service.com/oauth/token"
    assert endpoint.success_when == "ok"
    assert (endpoint.margin, endpoint.default_ttl) == (30.0, 7200.0)


def test_a_parameter_set_to_false_removes_a_standard_one() -> None:
    """The policy keeps False apart from every text, in the login URL's parameters and in the token endpoint's."""
    text = REFERENCE.read_text()
    for standing in ('params = { access_type = "offline" }', 'params = { audience = "https://api.example.com", '):
        assert text.count(standing) == 1
        text = text.replace(standing, standing.replace("params = { ", "params = { scope = false, "))
    loaded = load(text, app="crm", file="crm.toml")
    assert loaded.findings == ()
    assert loaded.policy is not None
    auth = loaded.policy.auth
    assert auth.authorize is not None
    assert auth.authorize.params == {"scope": False, "access_type": "offline"}
    assert auth.token is not None
    assert auth.token.params["scope"] is False


EVERY_KIND = """
nme = "X"
[allow]
urls = ["com", 5, "https://x.test/*"]
[[fields]]
name = "region"
choices = ["us"]
default = "eu"
[[fields]]
label = "nameless"
[auth]
grant = "client_credentials"
client_id = "id"
client_secret = "hunter2"
[auth.token]
url = "http://{{ regoin }}.ok.test/token"
format = "xml"
[inject.headers]
Host = "x"
Authorization = "Bearer {{ acces_token | upper }}"
"""


def test_every_fault_is_shown_at_once_with_its_key_path() -> None:
    """A wrong type in one place hides nothing in another."""
    findings = load(EVERY_KIND, app="crm", file="crm.toml").findings
    assert {finding.path for finding in findings} == {
        "nme",
        "name",
        "allow.urls[0]",
        "allow.urls[1]",
        "allow.urls[2]",
        "fields[0].default",
        "fields[1].name",
        "auth.client_secret",
        "auth.token.url",
        "auth.token.format",
        "inject.headers.Host",
        "inject.headers.Authorization",
    }
    assert "hunter2" not in " ".join(map(str, findings))


def test_a_finding_reads_as_one_line() -> None:
    (finding,) = load("name =", app="crm", file="crm.toml").findings
    assert str(finding) == "crm.toml: line 1: is not TOML: Invalid value (at end of document)"


@pytest.mark.parametrize("app", ["", "CRM", "a b", "../x", "a.b", "-a", "a-", "a" * 64])
def test_an_app_s_name_is_checked(app: str) -> None:
    findings = load(REFERENCE.read_text(), app=app, file="x.toml").findings
    assert [finding.path for finding in findings] == [""]


def test_a_token_that_needs_a_secret_of_the_person_s_may_go_to_a_host_that_they_choose() -> None:
    """With the app's own secret alone nobody gets one."""
    case = Path(__file__).parent.parent / "cases/policies/own-token-with-an-empty-secret-to-chosen-host.toml"
    needed = case.read_text().replace("required = false\n", "")
    assert load(needed, app="crm", file="crm.toml").findings == ()


def test_examples_try_every_value_of_a_field() -> None:
    text = """
name = "X"
[allow]
urls = ["https://{{ shop }}.myshopify.com/admin", "https://{{ region }}.api.test/"]
[[fields]]
name = "shop"
pattern = "[a-z]+"
[[fields]]
name = "region"
choices = ["us", "eu"]
[auth]
grant = "none"
[[examples]]
url = "https://acme.myshopify.com/admin/x"
allowed = true
[[examples]]
url = "https://eu.api.test/"
allowed = true
[[examples]]
url = "https://asia.api.test/"
allowed = false
[[examples]]
url = "https://ac-me.myshopify.com/admin"
allowed = false
[[examples]]
url = "https://acme@myshopify.com/admin"
allowed = false
"""
    assert load(text, app="x", file="x.toml").findings == ()


@pytest.mark.parametrize(
    "text",
    [
        "a." * 500_000 + "b = 1",
        "a = { " + "'a' . " * 150_000 + "b = 1 }",
        "a" * 1_000_000,
        "." * 1_000_000,
        '"a" ' * 250_000,
        "[a" + ".a" * 20_000 + "]",
        "a = " + "[" * 50_000 + "]" * 50_000,
        "a = " + "{a=" * 5_000 + "1" + "}" * 5_000,
        "[inject.headers]\nX = '{{ " + "(" * 20_000 + "a" + ")" * 20_000 + " }}'",
        "[inject.headers]\nX = '{{ " + "a." * 20_000 + "b }}'",
        "[inject.headers]\nX = '{{ " + "a ~ " * 20_000 + "b }}'",
        "[inject.headers]\nX = '{{ a " + "| lower " * 20_000 + "}}'",
        "[inject.headers]\nX = { js = 'return " + "(" * 50_000 + "' }",
        "[[fields]]\nname = 'a'\npattern = '" + "(" * 50_000 + ")" * 50_000 + "'",
    ],
    ids=[
        "keys",
        "inline keys",
        "word",
        "dots",
        "quotes",
        "table",
        "lists",
        "tables",
        "parentheses",
        "path",
        "chain",
        "filters",
        "script",
        "pattern",
    ],
)
def test_what_nests_without_end_is_a_finding(text: str) -> None:
    start = time.process_time()
    loaded = load(text, app="x", file="x.toml")
    assert time.process_time() - start < 3
    assert loaded.policy is None
    assert all(len(finding.message) < 1000 for finding in loaded.findings)


@given(st.text())
def test_no_text_makes_loading_raise(text: str) -> None:
    load(text, app="x", file="x.toml")


@given(
    st.recursive(
        st.sampled_from(['"x"', "1", "true", "1.5", '"{{ a }}"', "2020-01-01"]),
        lambda v: (
            st.lists(v, max_size=2).map(lambda items: f"[{', '.join(items)}]")
            | st.tuples(st.sampled_from(["js", "name", "url", "urls", "grant", "env"]), v).map(
                lambda kv: f"{{ {kv[0]} = {kv[1]} }}"
            )
        ),
        max_leaves=5,
    ),
    st.data(),
)
def test_no_value_in_any_place_makes_loading_raise(value: str, data: st.DataObject) -> None:
    """Any key of the reference with a value of another kind is a finding, not an exception."""
    lines = REFERENCE.read_text().splitlines()
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if re.match(r"\w+ = ", line)]))
    lines[number] = re.sub(r" = .*", lambda _: f" = {value}", lines[number])
    load("\n".join(lines), app="x", file="x.toml")


def test_another_grant_s_name_is_not_that_of_the_renewal() -> None:
    """What [auth.token] adds goes along when renewing; its `grant_type` does not, unless [auth.refresh] has its own."""
    auth = {
        "grant": "authorization_code",
        "token": {"url": "https://ok.test/token", "params": {"grant_type": "authorize", "audience": "a"}},
    }
    assert renewed(auth) == {"audience": "a"}
    assert renewed(auth | {"refresh": {"margin": "1m"}}) == {"audience": "a"}
    assert renewed(auth | {"refresh": {"params": {"grant_type": "renew"}}}) == {"grant_type": "renew"}
    auth["token"]["params"]["grant_type"] = False
    assert renewed(auth) == {"grant_type": False, "audience": "a"}


def renewed(auth: dict[str, Any]) -> dict[str, Any]:
    endpoint = refresh_endpoint(Auth.model_validate(auth))
    assert endpoint is not None
    return dict(endpoint.params)
