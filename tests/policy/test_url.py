"""URLs with values: what may stand in a host, and that a value never leaves its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.context import Context
from gateway.policy.url import UrlInvalid, UrlTemplate, join
from gateway.secret import Secret


def render(text: str, **values: object) -> str:
    return UrlTemplate.parse(text, relative=True).render(Context(**values))


def test_a_field_in_a_host_is_the_person_s_and_not_the_provider_s() -> None:
    """A token endpoint that answers `region` too must not move the next call to another host."""
    assert (
        render("https://{{ region }}.ok.test/x", fields={"region": "EU"}, token={"region": "evil"})
        == "https://eu.ok.test/x"
    )


def test_values_in_path_and_query_are_percent_encoded() -> None:
    url = render("https://ok.test/{{ id }}?q={{ q }}", token={"id": "a/b?c#d"}, fields={"q": Secret("1&x=2 +")})
    assert url == "https://ok.test/a%2Fb%3Fc%23d?q=1%26x%3D2%20%2B"


def test_a_value_that_would_climb_is_refused() -> None:
    with pytest.raises(UrlInvalid, match="no clean URL"):
        render("https://ok.test/v1/{{ id }}", token={"id": "../admin"})


@given(st.text(min_size=1))
def test_no_value_leaves_its_place(value: str) -> None:
    """Whatever the value: the host stays, the path gets one segment and the query one parameter, or it is refused."""
    try:
        url = render("https://api.ok.test/v1/{{ v }}?a={{ v }}", fields={"v": value})
    except (UrlInvalid, UnicodeEncodeError):
        return
    assert url.startswith("https://api.ok.test/v1/")
    path, _, query = url.removeprefix("https://api.ok.test/v1/").partition("?")
    assert "/" not in path
    assert not set(query) & set("&#;+")


@pytest.mark.parametrize(
    "text",
    [
        "{{ base }}x",
        "{{ base }}.ok.test/",
        "{{ base }}:8443/x",
        "{{ base }}@ok.test/",
        "{{ base }}{{ more }}/x",
        "https://{{ host }}:{{ port }}/",
        "https://{{ token.x }}.ok.test/",
        "https://{{ x ~ 'a' }}.ok.test/",
        "https://{{ x | urlencode }}.ok.test/",
        "x",
        "mailto:a@b.test",
        "https://{{ user }}@ok.test/",
        "{{ scheme }}://ok.test/",
    ],
)
def test_a_value_elsewhere_in_the_authority_is_refused(text: str) -> None:
    with pytest.raises(UrlInvalid):
        UrlTemplate.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "url"),
    [
        ("https://open{{ x }}.ok.test/a", "EU", "https://openeu.ok.test/a"),
        ("https://{{ x }}-api.ok.test/a", "eu", "https://eu-api.ok.test/a"),
        ("https://mail.ok.{{ x }}/a", "co.uk", "https://mail.ok.co.uk/a"),
        ("https://{{ x }}/a", "Jira.Acme.test:8443", "https://jira.acme.test:8443/a"),
        ("https://{{ x }}/a", "10.0.0.7", "https://10.0.0.7/a"),
        ("{{ x }}/a", "https://acme.test/base/", "https://acme.test/base/a"),
        ("{{ x }}", "https://acme.test:8443", "https://acme.test:8443/"),
        ("{{ x }}/a", "http://127.0.0.1:8000", "http://127.0.0.1:8000/a"),
    ],
)
def test_a_value_stands_in_a_host_as_its_place_says(text: str, value: str, url: str) -> None:
    assert render(text, fields={"x": value}) == url


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("https://open{{ x }}.ok.test/", "a.evil.test/"),
        ("https://open{{ x }}.ok.test/", "-"),
        ("https://{{ x }}-api.ok.test/", "-a"),
        ("https://ok.{{ x }}/", "test/@evil.test"),
        ("https://ok.{{ x }}/", "test:8443"),
        ("https://ok.{{ x }}/", ".test"),
        ("https://{{ x }}/a", "ok.test/b"),
        ("https://{{ x }}/a", "u:p@ok.test"),
        ("https://{{ x }}/a", "ok.test?b"),
        ("https://{{ x }}/a", "ok.test#b"),
        ("https://{{ x }}/a", "https://ok.test"),
        ("https://{{ x }}:8443/a", "ok.test:1"),
        ("{{ x }}/a", "http://ok.test"),
        ("{{ x }}/a", "ok.test"),
        ("{{ x }}/a", "https://ok.test/?b="),
        ("{{ x }}/a", "https://ok.test/#"),
        ("{{ x }}/a", "https://u@ok.test"),
        ("{{ x }}/a", "https://ok.test/../b"),
    ],
)
def test_what_its_place_does_not_take_is_refused(text: str, value: str) -> None:
    with pytest.raises(UrlInvalid):
        render(text, fields={"x": value})


def test_a_port_is_no_field_and_what_to_do_is_said() -> None:
    with pytest.raises(UrlInvalid, match="has a value for its port; a field of kind host may have its port behind it"):
        UrlTemplate.parse("https://{{ host }}:{{ port }}/api")


@given(st.text(min_size=1), st.sampled_from(["open{{ v }}.ok.test", "{{ v }}.ok.test", "{{ v }}-{{ v }}.ok.test"]))
def test_no_value_of_a_label_or_a_part_leaves_the_site(value: str, host: str) -> None:
    try:
        url = render(f"https://{host}/v1", fields={"v": value})
    except (UrlInvalid, UnicodeEncodeError):
        return
    authority, _, path = url.removeprefix("https://").partition("/")
    assert authority.endswith(".ok.test")
    assert path == "v1"


def test_a_relative_url_goes_under_the_base_s_own_path() -> None:
    assert join("https://ok.test/v1/", "/me?a=1") == "https://ok.test/v1/me?a=1"
    assert join("https://ok.test", "//evil/x") == "https://ok.test/evil/x"
    assert render("/users/{{ id }}", token={"id": 7}) == "/users/7"
