"""The policies that come with the gateway: each loads without a finding and says what it allows and what it doesn't."""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.policy.context import Context
from gateway.policy.inject import render
from gateway.policy.load import load
from gateway.policy.model import Grant, Policy
from gateway.secret import Secret

POLICIES = Path(__file__).parent.parent / "policies"
FILES = sorted(POLICIES.glob("*.toml"))
PROMISED = frozenset(
    {
        "github",
        "google",
        "slack",
        "microsoft",
        "hubspot",
        "salesforce",
        "notion",
        "stripe",
        "openai",
        "anthropic",
        "twilio",
        "jira",
    }
)
GRANTS = frozenset({"authorization_code", "implicit", "password", "client_credentials", "api_key", "basic", "none"})

each_policy = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def shipped(file: Path) -> Policy:
    """Return the loaded policy; its findings fail the test with their own words."""
    loaded = load(file.read_text(), app=file.stem, file=file.name)
    assert not loaded.findings, "\n".join(f"{each.file}: {each.path}: {each.message}" for each in loaded.findings)
    assert loaded.policy is not None
    return loaded.policy


def test_the_promised_apps_are_there() -> None:
    """At least twenty apps, the twelve of the README among them."""
    names = {file.stem for file in FILES}
    assert names >= PROMISED
    assert len(names) >= 20


def test_every_kind_of_authentication_has_an_app_to_copy_from() -> None:
    """Whoever writes a policy finds one with the same grant."""
    assert {tomllib.loads(file.read_text())["auth"]["grant"] for file in FILES} == GRANTS


@each_policy
def test_it_loads_without_a_finding(file: Path) -> None:
    """`gateway check` has nothing to say about it, examples included."""
    shipped(file)


@each_policy
def test_its_examples_show_both_sides(file: Path) -> None:
    """One thing that works, one that doesn't, and a lookalike host among those that don't."""
    examples = shipped(file).examples
    assert any(each.allowed for each in examples)
    refused = [str(each.url) for each in examples if not each.allowed]
    assert any(urlsplit(url).netloc.endswith(".evil.test") for url in refused)


@each_policy
def test_it_is_narrow(file: Path) -> None:
    """Every allowed URL is written as one https origin: no whole domain, no wildcard, no plain http."""
    for entry in shipped(file).allow.urls:
        assert str(entry).startswith("https://")
        assert "*" not in str(entry)


@each_policy
def test_credentials_go_out_over_https_alone(file: Path) -> None:
    """The login, token, revocation and test URLs are https or relative to a base URL that is."""
    policy = shipped(file)
    auth = policy.auth
    endpoints = [auth.authorize, auth.token, auth.revoke, policy.test]
    urls = [str(policy.base_url), *(str(each.url) for each in endpoints if each is not None)]
    assert all(url.startswith(("https://", "/")) for url in urls)


@each_policy
def test_a_connection_has_a_name(file: Path) -> None:
    """Whoever sees a list of connections can tell them apart."""
    assert shipped(file).connection.label


@each_policy
def test_it_holds_no_secret(file: Path) -> None:
    """What the provider gave in confidence is named, never written: a client secret is a table, not a text."""
    auth = tomllib.loads(file.read_text())["auth"]
    assert not isinstance(auth.get("client_secret", {}), str)
    assert not isinstance(auth.get("client_id", {}), str)


@each_policy
def test_the_credential_goes_out(file: Path) -> None:
    """What was connected is in every request: the token, the key, or the password."""
    policy = shipped(file)
    fields = {each.name: Secret("typed-in-secret") if each.secret else "typed-in" for each in policy.fields}
    context = Context(fields=fields, token={"access_token": Secret("the-access-token")}, test={}, connection_id="c")
    injection = render(policy, context)
    secrets = {each.reveal() for each in injection.secrets}
    credential = "the-access-token" if policy.auth.grant.has_token else "typed-in-secret"
    assert (credential in secrets) is (policy.auth.grant is not Grant.NONE)
