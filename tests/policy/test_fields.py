"""Fields: what a person types is checked on the server, and never shown in an error."""

import time
from typing import Any

import pytest

from gateway.policy import pattern
from gateway.policy.context import Context
from gateway.policy.fields import MAX_LENGTH, base_url, test_url, validate_fields, with_defaults
from gateway.policy.model import Policy
from gateway.policy.url import UrlInvalid


def policy(*fields: dict[str, Any], **keys: Any) -> Policy:
    base = {"name": "X", "allow": {"urls": ["ok.test"]}, "auth": {"grant": "none"}, "fields": list(fields)}
    return Policy.model_validate({**base, **keys})


def test_defaults_are_filled_in_and_empty_optional_ones_left_out() -> None:
    app = policy({"name": "a", "default": "x"}, {"name": "b", "required": False}, {"name": "c"})
    assert validate_fields(app, {"a": "", "b": "", "c": "1"}) == ({"a": "x", "c": "1"}, {})


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ({}, "", "is required"),
        ({"choices": ["us", "eu"]}, "US", "must be one of us, eu"),
        ({"pattern": "[a-z]+"}, "a1", "must match [a-z]+"),
        ({"pattern": "[a-z]+"}, "a\n", "must match [a-z]+"),
        ({}, "a" * 16_385, "is too long"),
        ({"kind": "email"}, "ann", "must be an e-mail address"),
        ({"kind": "uuid"}, "7", "must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"),
        ({"kind": "host"}, "https://ok.test", "must be a host without https:// before it, such as server.example.com"),
        ({"kind": "host"}, "ok.test/x", "must be a host without a path, such as server.example.com"),
        ({"kind": "host", "domains": ["ok.test"]}, "ok.test.evil.test", "must be on ok.test"),
        ({"kind": "host", "domains": ["ok.test", "ok.example"]}, "notok.test", "must be on ok.test or ok.example"),
        ({"kind": "url", "domains": ["ok.test"]}, "https://evil.test/ok.test", "must be on ok.test"),
        ({"kind": "url"}, "http://ok.test", "must begin with https://, for credentials go there"),
        ({"from": "{{ token.x }}"}, "x", "is found when connecting; leave it out"),
    ],
)
def test_a_wrong_value_is_said_beside_its_field(field: dict[str, Any], value: str, error: str) -> None:
    assert validate_fields(policy({"name": "a", **field}), {"a": value}) == ({}, {"a": error})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"kind": "email"}, "ann@ok.test"),
        ({"kind": "uuid"}, "123e4567-e89b-12d3-a456-426614174000"),
        ({"kind": "host"}, "ok.test:8443"),
        ({"kind": "host", "domains": ["ok.test"]}, "OK.test"),
        ({"kind": "host", "domains": ["ok.test"]}, "a.b.ok.test:8443"),
        ({"kind": "url", "domains": ["ok.test"]}, "https://a.ok.test/base"),
    ],
)
def test_a_value_of_its_kind_is_taken_as_it_is(field: dict[str, Any], value: str) -> None:
    assert validate_fields(policy({"name": "a", **field}), {"a": value}) == ({"a": value}, {})


def test_a_field_that_is_found_is_not_asked_for() -> None:
    assert validate_fields(policy({"name": "a", "from": "{{ token.x }}"}), {}) == ({}, {})


def test_a_stored_host_that_is_not_right_any_more_counts_as_none() -> None:
    """The policy's author may pin the domains when there are connections already."""
    field = {"name": "a", "kind": "host"}
    stored = {"a": "elsewhere.test", "b": "kept"}
    allow = {"urls": ["https://{{ a }}/"]}
    assert with_defaults(policy(field, allow=allow), stored) == stored
    assert with_defaults(policy(field | {"domains": ["ok.test"]}, allow=allow), stored) == {"b": "kept"}
    assert with_defaults(
        policy({"name": "a", "choices": ["x"]}, allow={"urls": ["https://{{ a }}.ok.test"]}), stored
    ) == {"b": "kept"}


def test_an_unknown_field_is_an_error() -> None:
    assert validate_fields(policy(), {"x": "1"}) == ({}, {"x": "is no field of this app"})


@pytest.mark.parametrize("place", ["allow", "base_url", "token", "test"])
def test_a_field_in_a_host_is_a_label_whatever_its_pattern_says(place: str) -> None:
    url = "https://{{ site }}.ok.test/"
    keys: dict[str, Any] = {
        "allow": {"allow": {"urls": [url]}},
        "base_url": {"base_url": url},
        "token": {"auth": {"grant": "password", "token": {"url": url}}},
        "test": {"test": {"url": url}},
    }[place]
    app = policy({"name": "site", "pattern": ".*"}, **keys)
    assert validate_fields(app, {"site": "evil.com/"})[1].keys() == {"site"}
    assert validate_fields(app, {"site": "acme"}) == ({"site": "acme"}, {})


def test_a_label_is_made_of_the_name() -> None:
    app = policy({"name": "api_key"}, {"name": "b", "label": "Bee"})
    assert [field.label for field in app.fields] == ["Api key", "Bee"]


def test_stored_values_get_the_defaults_of_later_fields() -> None:
    assert with_defaults(policy({"name": "a", "default": "x"}, {"name": "b"}), {"b": "1"}) == {"a": "x", "b": "1"}


def test_the_base_and_test_urls_are_rendered() -> None:
    app = policy({"name": "r"}, base_url="https://{{ r }}.ok.test/v1", test={"url": "/me"})
    assert base_url(app, {"r": "EU"}) == "https://eu.ok.test/v1"
    assert test_url(app, Context(fields={"r": "eu"})) == "https://eu.ok.test/v1/me"
    assert base_url(policy(), {}) is None
    assert test_url(policy(), Context()) is None
    assert test_url(policy(test={"url": "https://ok.test/me"}), Context()) == "https://ok.test/me"
    with pytest.raises(UrlInvalid):
        test_url(policy(test={"url": "/me"}), Context())


@pytest.mark.parametrize(
    "text",
    ["[a-z0-9-]+", r"\d{8}(-[0-9a-f]{4}){3}", r"sk-[A-Za-z0-9_-]+", "(a|b)c?", r"[\w.]+@[\w.]+\.\w+", "(?i:x)y*"],
)
def test_patterns_that_people_write_are_fine(text: str) -> None:
    pattern.check(text)


@pytest.mark.parametrize("text", [r"(a)\1", "(?=a)a", "(?<!a)b", "(", "a{5,2}", "(a{1000}){1000}", "a\ud800"])
def test_patterns_that_re2_cannot_use_are_refused(text: str) -> None:
    with pytest.raises(pattern.PatternInvalid):
        pattern.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+b",
        "(a|aa)*b",
        "(a?){30}a{30}b",
        "a?" * 30 + "a" * 30 + "b",
        ".*.*.*.*=",
        "a*a*a*a{0,8}a{0,8}a{0,8}a{0,8}b",
    ],
)
def test_no_pattern_runs_away(text: str) -> None:
    """Each takes a backtracking engine from minutes to longer than there will be anybody to wait."""
    app = policy({"name": "a", "pattern": text})
    start = time.process_time()
    assert validate_fields(app, {"a": "a" * MAX_LENGTH})[1]
    assert time.process_time() - start < 2


def test_a_pattern_covers_the_whole_value_and_knows_unicode() -> None:
    assert pattern.matches("[^a]+", "é€")
    assert not pattern.matches("a", "a\n")
    assert not pattern.matches("a", "ab")
    assert not pattern.matches(".*", "\ud800")
