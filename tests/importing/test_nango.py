"""Each construct of nango's list, and what it is in a policy. The list is one of ours, in that form."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.importing.nango import from_nango
from gateway.importing.outcome import Imported, Outcome, by_kind, ranked
from gateway.policy.context import Context
from gateway.policy.inject import render
from gateway.policy.load import load
from gateway.secret import Secret

LIST = (Path(__file__).parent.parent / "cases" / "importing" / "nango.yaml").read_text()


@cache
def imported() -> dict[str, Imported]:
    return {one.name: one for one in from_nango(LIST)}


def said(name: str) -> dict[str, Any]:
    """Return what a provider's policy says."""
    one = imported()[name]
    assert one.text is not None, one.lacks
    return tomllib.loads(one.text)


def at(data: Any, path: str) -> Any:
    """Walk to a dotted path; None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(data, list):
            data = next((row for row in data if row.get("name") == step), None)
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data


SAYS = {
    "the name, the base URL without its last slash, and its origin": (
        "login",
        {"name": "Login", "base_url": "https://api.provider.test/v2", "allow.urls": ["https://api.provider.test"]},
    ),
    "the login: scopes and what is between them, no PKCE, other names, a route behind #": (
        "login",
        {
            "auth.authorize.url": "https://login.provider.test/authorize",
            "auth.authorize.scopes": ["read", "write"],
            "auth.authorize.scope_separator": ",",
            "auth.authorize.pkce": "off",
            "auth.authorize.names": {"client_id": "client_key", "state": "custom"},
            "auth.authorize.response": {"code": "auth_code", "state": "custom"},
            "auth.authorize.fragment": "/oauth/start",
        },
    ),
    "a nonce is made anew, false is a text, and what is standard is left out": (
        "login",
        {"auth.authorize.params": {"access_type": "offline", "nonce": "{{ request.random }}", "session": "false"}},
    ),
    "the token request and its renewal": (
        "login",
        {
            "auth.grant": "authorization_code",
            "auth.client_secret": {"secret": "client_secret"},
            "auth.token.client_auth": "basic",
            "auth.token.params": {"audience": "api"},
            "auth.token.margin": "30s",
            "auth.refresh": {"url": "https://login.provider.test/renew", "params": {"mode": "short"}},
        },
    ),
    "headers that a caller may change are defaults, and the app's id comes from the app": (
        "login",
        {
            "inject.headers": {"Authorization": "Bearer {{ access_token }}", "x-own": "{{ app.client_id }}"},
            "inject.defaults.accept-version": "{{ version | default('v3') }}",
            "fields.version.required": False,
        },
    ),
    "the call that tries a connection, its content type left to the body": (
        "login",
        {"test": {"url": "/me", "headers": {"x-try": "yes"}}},
    ),
    "which header says how long to wait": ("login", {"limits.reset": {"header": "x-wait", "format": "seconds"}}),
    "an alias has what it doesn't say itself, and all of what it says": (
        "heir",
        {
            "name": "Heir",
            "base_url": "https://heir.provider.test",
            "auth.authorize.pkce": "off",
            "inject.defaults": None,
        },
    ),
    "a server of the person's own, with a base, is a URL, and its client is theirs": (
        "own-server",
        {
            "base_url": "{{ server }}/rest",
            "allow.urls": ["{{ server }}"],
            "auth.token.url": "{{ server }}/oauth/token",
            "fields.server.kind": "url",
            "fields.server.example": "https://jira.company.test:8443/base",
            "fields.server.docs": "https://docs.provider.test/connect#server",
            "auth.client_id": {"field": "client_id"},
            "auth.client_secret": {"field": "client_secret"},
            "fields.client_secret.secret": True,
        },
    ),
    "what is written out in the second of two URLs is the first one's default": (
        "one-site",
        {"auth.token.url": "https://{{ host }}/token", "fields.host.default": "login.site.example"},
    ),
    "a host whose example is on the provider's own site stays there, and the app's own client with it": (
        "one-site",
        {"fields.host.domains": ["site.example"], "auth.client_secret": {"secret": "client_secret"}},
    ),
    "a server that the token's answer names is pinned to the provider's site": (
        "one-site",
        {
            "base_url": "{{ instance_url }}",
            "fields.instance_url.from": "{{ token.instance_url }}",
            "fields.instance_url.domains": ["site.example"],
        },
    ),
    "a value that the login's callback has": (
        "callback",
        {"fields.shop_name.from": "{{ callback['shop-name'] }}"},
    ),
    "a login whose token request is a GET, and whose tokens last for milliseconds": (
        "get-login",
        {
            "auth.token.method": "GET",
            "auth.token.format": "query",
            "auth.token.expires": "milliseconds",
            "auth.token.default_ttl": "7200s",
        },
    ),
    "a renewal has a grant type of its own where the login's is another": (
        "get-login",
        {
            "auth.token.params": {"grant_type": "code", "audience": "api"},
            "auth.refresh.params": {"grant_type": "refresh_token", "audience": "api"},
        },
    ),
    "a header that is named alone, without a list": (
        "get-login",
        {"limits.reset": {"header": "x-reset", "format": "seconds"}},
    ),
    "a client of each person's own, under other names, in JSON": (
        "client",
        {
            "auth.grant": "client_credentials",
            "auth.client_id": {"field": "client_id"},
            "auth.token.names": {"client_id": "username", "client_secret": "password"},
            "auth.token.format": "json",
            "auth.token.expires": "milliseconds",
            "auth.token.params.audience": "{{ audience | default('https://api.provider.test') }}",
            "auth.token.params.scope": "{{ oauth_scopes }}",
            "fields.org.kind": "uuid",
            "fields.region": {"name": "region", "label": "Region", "choices": ["eu", "us"], "default": "eu"},
        },
    ),
    "a key in a header, in the query and in the body": (
        "key",
        {
            "auth.grant": "api_key",
            "inject.headers": {"Authorization": "Token token={{ api_key }}", "x-client": "{{ client_name }}"},
            "inject.defaults": {"Accept": "text/plain"},
            "inject.query": {"app_key": "{{ app_key }}"},
            "inject.body": {"auth": {"key": "{{ api_key }}"}},
            "fields.api_key.secret": True,
            "fields.api_key.pattern": r"sk_\w+",
            "fields.api_key.example": None,
            "fields.app_key.secret": True,
        },
    ),
    "choices with dots in a label are whole hosts": (
        "key",
        {"base_url": "https://{{ site }}", "fields.site.choices": ["api.provider.test", "api.eu.provider.test"]},
    ),
    "the test doesn't repeat what is injected": (
        "key",
        {"test": {"method": "POST", "url": "/users?limit=1", "body": {"page": 1, "all": False}}},
    ),
    "when a limit ends": ("key", {"limits.reset": {"header": "x-reset", "format": "at"}}),
    "a pattern that ends with a domain pins the host": (
        "user",
        {"auth.grant": "basic", "fields.host.kind": "host", "fields.host.domains": ["hosts.example"], "inject": None},
    ),
    "a password that is always the same is written out, and the user name is the secret": (
        "key-as-user",
        {
            "inject.headers.Authorization": "Basic {{ (username ~ ':' ~ 'X') | b64encode }}",
            "fields.username.secret": True,
            "fields.password": None,
        },
    ),
    "AWS's signature": (
        "signed",
        {
            "auth.grant": "api_key",
            "inject": None,
            "sign": {
                "scheme": "aws4",
                "access_key_id": "{{ username }}",
                "secret_access_key": "{{ password }}",
                "region": "{{ region }}",
                "service": "store",
            },
        },
    ),
    "nothing to show": ("open", {"auth.grant": "none", "inject": None}),
    "a token request of its own shape": (
        "two-step",
        {
            "auth.grant": "custom",
            "auth.token.client_auth": None,
            "auth.token.params.login": {"name": "{{ user_name }}", "key": "{{ secret_key }}"},
            "auth.token.headers": {"Authorization": "Basic {{ (user_name ~ ':' ~ secret_key) | b64encode }}"},
            "auth.token.default_ttl": "3600s",
            "fields.kind": {"name": "kind", "label": "Kind", "default": "machine", "hidden": True},
            "inject.headers": {"x-session": "{{ access_token }}"},
            "inject.defaults": {"x-id": "{{ request.uuid }}"},
        },
    ),
    "a second request, whose answer counts": (
        "two-step",
        {
            "auth.exchange.method": "GET",
            "auth.exchange.headers": {"Authorization": "Bearer {{ access_token }}"},
            "auth.exchange.response": {
                "access_token": "data.token",
                "refresh_token": "data.renewal",
                "expires_in": "data.ends",
            },
            "auth.exchange.expires": "date",
        },
    ),
    "a renewal of its own": (
        "two-step",
        {"auth.refresh": {"url": "https://api.provider.test/renew", "params": {"renewal": "{{ refresh_token }}"}}},
    ),
    "a secret in a token URL is a parameter": (
        "get-token",
        {
            "auth.token.url": "https://api.provider.test/token",
            "auth.token.method": "GET",
            "auth.token.format": "query",
            "auth.token.params": {"secret": "{{ secret }}", "v": "2"},
        },
    ),
    "a signed statement as the token": (
        "statement",
        {
            "auth.grant": "jwt",
            "auth.assertion": {
                "algorithm": "HS256",
                "key": {"field": "private_key_secret"},
                "key_encoding": "hex",
                "key_id": "{{ private_key_id }}",
                "issuer": "{{ owner }}",
                "audience": "/admin/",
                "claims": {"scope": ["{{ own_scope }}"]},
                "lifetime": "300s",
            },
            "inject.headers": {"Authorization": "Ghost {{ access_token }}"},
        },
    ),
    "a client that is registered by hand is a public one": (
        "by-hand",
        {"auth.token.client_auth": "none", "auth.client_secret": None},
    ),
    "a login of OAuth 1.0a": (
        "oauth1",
        {
            "auth.grant": "oauth1",
            "auth.client_secret": {"secret": "client_secret"},
            "auth.request_token": {"url": "https://login.provider.test/request", "params": {"access": "write"}},
            "auth.authorize": {"url": "https://login.provider.test/authorize", "params": {"expiration": "never"}},
            "auth.token": {"url": "https://login.provider.test/access"},
            "sign": {"scheme": "oauth1"},
        },
    ),
}


@pytest.mark.parametrize(("name", "expected"), SAYS.values(), ids=SAYS)
def test_a_construct_is_said_in_the_policy(name: str, expected: dict[str, Any]) -> None:
    data = said(name)
    assert {path: at(data, path) for path in expected} == expected


SENT = {
    "key": (
        {"site": "api.provider.test", "app_key": Secret("a b"), "api_key": Secret("sk_1")},
        [(b"Authorization", b"Token token=sk_1")],
        [(b"Accept", b"text/plain")],
        [(b"app_key", b"a%20b")],
    ),
    "key-as-user": ({"username": Secret("k")}, [(b"Authorization", b"Basic azpY")], [], []),
    "user": ({"username": "ann", "password": Secret("p")}, [(b"Authorization", b"Basic YW5uOnA=")], [], []),
    "login": (
        {"version": "v9"},
        [(b"Authorization", b"Bearer t"), (b"x-own", b"id-of-the-app")],
        [(b"Content-Type", b"application/json"), (b"accept-version", b"v9")],
        [],
    ),
}


@pytest.mark.parametrize("name", SENT)
def test_an_imported_policy_adds_to_a_request_what_nango_would(name: str) -> None:
    """A header whose optional field is empty stays away, as `x-client` of the first does."""
    fields, headers, defaults, query = SENT[name]
    policy = load(imported()[name].text or "", app=name, file=f"{name}.toml").policy
    assert policy is not None
    context = Context(fields=fields, token={"access_token": "t"}, app={"client_id": "id-of-the-app"})
    injection = render(policy, context)
    assert list(injection.headers) == headers
    assert list(injection.defaults) == defaults
    assert list(injection.query) == query


PARTLY = {
    "two-tokens": "a second token beside the first, or instead of it (other_user)",
    "two-step": "a parameter of the token request that is false (flag)",
    "by-hand": "a client that registers itself (RFC 7591): register one by hand (https://mcp.provider.test/register)",
    "newer": "a key of the list that isn't heeded here (quantum)",
}


@pytest.mark.parametrize(("name", "lack"), PARTLY.items())
def test_what_a_policy_lacks_is_said_and_stands_above_it(name: str, lack: str) -> None:
    one = imported()[name]
    assert one.outcome is Outcome.PART
    assert lack in map(str, one.lacks)
    assert f"# - {lack}\n" in (one.text or "")


def test_every_key_that_nothing_heeds_is_said_with_its_place() -> None:
    """What one kind of authentication heeds, another may not; what is inherited from another kind is that one's."""
    assert [lack.detail for lack in imported()["newer"].lacks] == [
        *("token_request_method", "token_expiration_buffer", "quantum", "proxy.gzip", "proxy.retry.weird"),
        *("proxy.verification.twice", "connection_config.team.brand_new", "credentials.apiKey.brand_new"),
    ]
    assert [lack.detail for lack in imported()["two-step"].lacks] == ["flag", "additional_steps.0.twice"]
    assert imported()["heir-with-a-key"].lacks == ()


def test_what_a_token_request_says_that_is_not_known_is_said() -> None:
    assert list(map(str, imported()["odd-tokens"].lacks)) == [
        "a token request of another method (PATCH)",
        "how the answer says how long a token lasts (expires_in_unit: fortnights)",
    ]


def test_a_certificate_and_its_key_are_one_field() -> None:
    policy = tomllib.loads(imported()["certificate"].text or "")
    assert policy["auth"]["certificate"] == {"field": "certificate"}
    assert {"name": "certificate", "secret": True}.items() <= policy["fields"][0].items()


NOT_AT_ALL = {
    "nowhere": "where the API is: its file names no URL of it",
    "unheard-of": "a kind of authentication that isn't known here (TELEPATHY)",
    "in-the-path": "a key in the path of every URL (https://api.provider.test/bot${apiKey})",
    "hashed": "a function of nango's that isn't known here (sha256Hex())",
}


@pytest.mark.parametrize(("name", "why"), NOT_AT_ALL.items())
def test_why_there_is_no_policy_is_said(name: str, why: str) -> None:
    one = imported()[name]
    assert (one.outcome, one.text) == (Outcome.NONE, None)
    assert str(one.lacks[0]) == why


def test_a_pattern_that_cannot_be_checked_here_is_noted() -> None:
    note = "client_name: nango checks it by a pattern that RE2 hasn't; it isn't checked here."
    assert note in imported()["key"].notes


def test_what_is_asked_for_and_not_needed_is_noted() -> None:
    assert imported()["open"].notes == ("nango asks for team, too, for its own programs; nothing here needs it.",)


def test_only_those_that_are_named_are_read() -> None:
    assert [one.name for one in from_nango(LIST, ["open", "key"])] == ["key", "open"]


def test_outcomes_are_counted_by_kind_and_reasons_by_how_many_have_them() -> None:
    found = list(from_nango(LIST, ["certificate", "client", "open", "nowhere", "unheard-of"]))
    assert by_kind(found) == {
        "NONE": {Outcome.WHOLE: 1, Outcome.NONE: 1},
        "OAUTH2_CC": {Outcome.WHOLE: 2},
        "TELEPATHY": {Outcome.NONE: 1},
    }
    assert dict(ranked(found))["where the API is: its file names no URL of it"] == ["nowhere"]
