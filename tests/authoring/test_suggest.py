"""What was refused can be allowed by as little as covers it."""

import pytest
from hypothesis import given

from gateway.authoring.suggest import entries_for, is_elsewhere
from gateway.authoring.words import covers
from gateway.http.target import TargetInvalid, parse_target
from gateway.policy.match import Allowed, Matcher
from gateway.policy.model import Allow
from tests import near_misses


@pytest.mark.parametrize(
    ("url", "entries"),
    [
        (
            "https://api.example.com/v1/users/123/posts?page=1#x",
            ["https://api.example.com/v1/users", "https://api.example.com/v1", "https://api.example.com"],
        ),
        (
            "https://slack.com/api/chat.postMessage",
            ["https://slack.com/api/chat.postMessage", "https://slack.com/api", "https://slack.com"],
        ),
        (
            "https://api.twilio.com/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json",
            [
                "https://api.twilio.com/2010-04-01/Accounts",
                "https://api.twilio.com/2010-04-01",
                "https://api.twilio.com",
            ],
        ),
        (
            "https://api.pushover.net/1/x.json",
            ["https://api.pushover.net/1/x.json", "https://api.pushover.net/1", "https://api.pushover.net"],
        ),
        ("https://a.test/drive/0b5f1b9e-0000-4000-8000-000000000001", ["https://a.test/drive", "https://a.test"]),
        ("https://a.test/users/me%40example.com/x", ["https://a.test/users", "https://a.test"]),
        ("https://a.test/repos/deadbeef01", ["https://a.test/repos", "https://a.test"]),
        ("https://a.test/", ["https://a.test"]),
        ("https://a.test/v1/", ["https://a.test/v1", "https://a.test"]),
        ("https://a.test/x*/y", ["https://a.test"]),
        ("https://a.test/x/{{y}}/z", ["https://a.test/x", "https://a.test"]),
        ("http://a.test:8080/x", ["https://a.test:8080/x", "https://a.test:8080"]),
        ("http://a.test/x", ["https://a.test/x", "https://a.test"]),
        ("http://localhost:9000/x", ["http://localhost:9000/x", "http://localhost:9000"]),
        ("https://192.0.2.1/x", ["https://192.0.2.1/x", "https://192.0.2.1"]),
        ("https://github.io/x", []),
        ("https://co.uk/", []),
        ("https://com/", []),
        ("https://user@a.test/", []),
        ("ftp://a.test/", []),
        ("a.test", []),
        ("", []),
    ],
)
def test_the_narrowest_entry_comes_first(url: str, entries: list[str]) -> None:
    assert list(entries_for(url)) == entries


def test_a_long_path_has_few_entries_and_its_origin_among_them() -> None:
    found = entries_for("https://a.test/" + "/".join("abcdefghijklmnopq"))
    assert len(found) == 8
    assert found[-1] == "https://a.test"


def test_an_endless_path_is_covered_by_its_beginning() -> None:
    found = entries_for("https://a.test/" + "b/" * 20_000)
    assert (len(found), found[0]) == (8, "https://a.test" + "/b" * 50)


@given(near_misses.URLS)
def test_each_entry_is_right_covers_the_url_and_is_on_its_host(url: str) -> None:
    for entry in entries_for(url):
        target = parse_target(url.partition("#")[0].partition("?")[0])
        found = covers(entry)
        assert found.wrong is None
        assert (found.host, found.below) == (target.host, False)
        assert isinstance(Matcher.compile(Allow(urls=(entry,)), {}).decide("GET", target), Allowed)


def test_the_property_has_urls_to_hold_for() -> None:
    with pytest.raises(TargetInvalid):
        parse_target("https://a.test\\x")
    assert entries_for("https://ok.test/v1")


@pytest.mark.parametrize(
    ("url", "entries", "elsewhere"),
    [
        ("https://files.example.com/x", ["https://api.example.com/v1"], False),
        ("https://example.com.evil.test/", ["example.com"], True),
        ("https://example.org/", ["example.com"], True),
        ("https://ann.github.io/", ["https://bob.github.io"], True),
        ("https://eves.s3.amazonaws.com/x", ["https://ours.s3.amazonaws.com"], True),
        ("https://x.eves.s3.amazonaws.com/x", ["https://s3.amazonaws.com/ours"], True),
        ("https://y.ours.s3.amazonaws.com/x", ["https://ours.s3.amazonaws.com"], False),
        ("https://a.example.co.uk/", ["*.example.co.uk"], False),
        ("http://127.0.0.1:8000/", ["http://127.0.0.1:9000"], False),
        ("https://example.com/", ["com"], True),
        ("nonsense", ["example.com"], True),
        ("https://example.com/", [], True),
    ],
)
def test_another_site_than_what_is_allowed_is_told(url, entries, elsewhere):
    assert is_elsewhere(url, entries) is elsewhere
