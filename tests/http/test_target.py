"""Targets: one clean http(s) URL or a refusal, never a repair (http-rules.md, "Vectors to start from")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.target import (
    TargetInvalid,
    canonical_host,
    origin_of,
    parse_authority,
    parse_origin_form,
    parse_target,
)

REFUSED = [
    "http://ok.test@evil/",
    "http://ok.test:80@evil/",
    "http://evil\\@ok.test/",
    "http://evil#@ok.test/",
    "http://ok.test%2eevil/",
    "http://evil%23.ok.test/",
    "http://evil;ok.test/",
    "http://ok.test\t.evil/",
    "http://[ok.test]/",
    "http://ｏｋ.test/",  # noqa: RUF001 - the fullwidth letters are the vector
    "http://ok。test/",
    "http://faß.de/",
    "http://ok.test:0/",
    "http://ok.test:00443/",
    "http://ok.test:４４３/",  # noqa: RUF001
    "http://ok.test:/",
    "http://ok.test:65536/",
    "http://ok.test/a/../b",
    "http://ok.test/a/./b",
    "http://ok.test/a/..",
    "http://ok.test/.",
    "http://ok.test/a/%2e%2e/b",
    "http://ok.test/a/%2E./b",
    "http://ok.test/a/..;/b",
    "http://ok.test/a/..;x=1/b",
    "http://ok.test/a%2f..%2fb",
    "http://ok.test/a/..%5cb",
    "http://ok.test/a%5cb",
    "http://ok.test/a%00",
    "http://ok.test/a/%252e%252e/b",
    "http://ok.test/a/%25252e%25252e/b",
    "http://ok.test/%2525252525252e",
    "http://ok.test//evil/x",
    "http://ok.test/a#b",
    "http://ok.test/a\\b",
    "http://ok.test/?a\\b",
    "http://ok.test/a b",
    "http://ok.test/ä",
    "http://ok.test/\x7f",
    "http://ok.test/\r\nHost: evil",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://x.0x/",
    "http://①②⑦.⓪.⓪.①/",
    "http://[fe80::1%25eth0]/",
    "http://[::1/",
    "http://-a.test/",
    "http://a..b/",
    "http:///x",
    "//ok.test/",
    "ok.test/",
    "ftp://ok.test/",
    "javascript:alert(1)",
    "",
    "http://" + "a" * 64 + ".test/",
    "http://" + "a." * 127 + "test/",
]

READ = [
    ("http://OK.TEST", "http://ok.test/"),
    ("http://ok.test.", "http://ok.test/"),
    ("HTTP://ok.test:8080?x=1", "http://ok.test:8080/?x=1"),
    ("https://ok.test:443/", "https://ok.test/"),
    ("http://ok.test:443/", "http://ok.test:443/"),
    ("http://100.63.255.254/", "http://100.63.255.254/"),
    ("http://100.128.0.1/", "http://100.128.0.1/"),
    ("http://[::FFFF:127.0.0.1]:80/", "http://[::ffff:7f00:1]/"),
    ("https://[2001:DB8::0:1]:8443/", "https://[2001:db8::1]:8443/"),
    ("http://a/g%2Fp/x%2ejson", "http://a/g%2Fp/x%2ejson"),
    ("http://a/.well-known/..x/...", "http://a/.well-known/..x/..."),
    ("http://a/b?../%2e%2e/&c=//d", "http://a/b?../%2e%2e/&c=//d"),
    ('http://a/|"<>{}^`', 'http://a/|"<>{}^`'),
    ("http://under_score.test/", "http://under_score.test/"),
    ("http://a/b//c", "http://a/b//c"),
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_two_parsers_might_read_differently_is_refused(url: str) -> None:
    with pytest.raises(TargetInvalid):
        parse_target(url)


@pytest.mark.parametrize(("url", "canonical"), READ)
def test_a_clean_url_is_read_and_its_path_and_query_are_kept_byte_for_byte(url: str, canonical: str) -> None:
    assert parse_target(url).url == canonical


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://u:secret@ok.test/", "userinfo"),
        ("http://ok.test/#x", "fragment"),
        ("http://ok.test\\x", "backslash"),
        ("http://ok.test:99999999/", "port"),
        ("http:///", "no host"),
        ("gopher://x/", "http://"),
        ("http://ok.test/a b", "percent-encode"),
    ],
)
def test_the_reason_names_what_is_wrong_and_never_repeats_the_url(url: str, why: str) -> None:
    with pytest.raises(TargetInvalid, match=why) as caught:
        parse_target(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["ok.test", "ok.test:", "ok.test:0", "http://ok.test:443", "ok.test:443/", "@ok.test:443", ":443"]
)
def test_connect_takes_a_host_and_an_explicit_port_and_nothing_else(text: str) -> None:
    with pytest.raises(TargetInvalid):
        parse_authority(text)


@pytest.mark.parametrize("text", ["[fe80::1%eth0]", "[::ffff:127.0.0.1%eth0]", "[::1%25eth0]", "[::f%6bey=:1.2.3.4]"])
def test_an_address_with_a_zone_is_no_host(text: str) -> None:
    """Host is read without the URL around it, and a zone would be dropped from a mapped address."""
    with pytest.raises(TargetInvalid):
        canonical_host(text)


def test_an_authority_is_canonical() -> None:
    assert parse_authority("OK.Test.:8443") == ("ok.test", 8443)
    assert parse_authority("[::1]:443") == ("::1", 443)


def test_origin_form_is_read_against_its_origin() -> None:
    target = parse_origin_form("/a?b", origin_of("https", "::1", 443))
    assert target.url == "https://[::1]/a?b"
    for text in ("a", "*", "/../a", "/a#b", "//evil/x"):
        with pytest.raises(TargetInvalid):
            parse_origin_form(text, origin_of("https", "ok.test", 443))


def test_a_denied_path_is_compared_as_a_forgiving_server_reads_it() -> None:
    assert parse_target("http://a/V1//%61dmin;x=1/b").path_as_served == "/v1/admin/b"
    assert parse_target("http://a/v1%2Fadmin").path_as_served == "/v1/admin"


@given(st.text(max_size=40))
def test_parsing_any_text_gives_a_target_or_a_reason_and_is_stable(text: str) -> None:
    try:
        target = parse_target("http://ok.test/" + text)
    except TargetInvalid:
        return
    assert target.host == "ok.test"
    assert target.path_and_query == "/" + text
    assert parse_target(target.url) == target


@given(st.text(alphabet="aA0.-_[]:xX%1", max_size=20))
def test_a_host_has_one_spelling(text: str) -> None:
    try:
        host = canonical_host(text)
    except TargetInvalid:
        return
    assert canonical_host(f"[{host}]" if ":" in host else host) == host
