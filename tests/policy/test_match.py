"""Matching: the table of entries, line by line, and what an attacker tries against it."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.target import TargetInvalid, parse_target
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.match import Allowed, Decision, Denied, Matcher
from gateway.policy.model import Allow
from gateway.policy.template import MissingValue
from gateway.policy.url import UrlInvalid


def matcher(*urls: str, deny: tuple[str, ...] = (), fields: dict[str, str] | None = None, **rules: object) -> Matcher:
    return Matcher.compile(Allow.model_validate({"urls": list(urls), "deny": list(deny), **rules}), fields or {})


def decide(rules: Matcher, url: str, method: str = "GET") -> Decision:
    return rules.decide(method, parse_target(url), upgrade=False)


@pytest.mark.parametrize(
    ("entry", "allowed", "denied"),
    [
        (
            "ok.test",
            [
                "https://ok.test/",
                "https://OK.TEST",
                "https://ok.test./x",
                "https://a.b.ok.test/v1/users?x=1",
                "https://ok.test:443/",
            ],
            [
                "http://ok.test/",
                "https://ok.test:8443/",
                "https://notok.test/",
                "https://ok.test.evil/",
                "https://okztest/",
            ],
        ),
        ("*.ok.test", ["https://a.ok.test/", "https://a.b.ok.test/"], ["https://ok.test/", "https://xok.test/"]),
        (
            "https://api.ok.test",
            ["https://api.ok.test/any/path"],
            ["https://ok.test/", "https://x.api.ok.test/", "http://api.ok.test/"],
        ),
        (
            "https://api.ok.test/v1",
            [
                "https://api.ok.test/v1",
                "https://api.ok.test/v1/",
                "https://api.ok.test/v1/x",
                "https://api.ok.test/v1?q",
            ],
            [
                "https://api.ok.test/v1beta",
                "https://api.ok.test/",
                "https://api.ok.test/V1",
                "https://api.ok.test/%761",
                "https://api.ok.test/v1;x",
            ],
        ),
        (
            "https://api.ok.test/v1/",
            ["https://api.ok.test/v1", "https://api.ok.test/v1/x"],
            ["https://api.ok.test/v1beta"],
        ),
        ("https://*.ok.test/v1", ["https://a.ok.test/v1/x"], ["https://ok.test/v1", "https://a.ok.test/v2"]),
        ("http://ok.test:8080", ["http://ok.test:8080/"], ["http://ok.test/", "https://ok.test:8080/"]),
        ("ok.test:8443", ["https://ok.test:8443/", "https://a.ok.test:8443/"], ["https://ok.test/"]),
        ("https://10.0.0.1", ["https://10.0.0.1/"], ["https://x.10.0.0.1.test/", "https://10.0.0.2/"]),
        ("10.0.0.1", ["https://10.0.0.1/"], ["http://10.0.0.1/"]),
        ("http://[::1]:9/", ["http://[0:0::1]:9/x"], ["http://[::2]:9/x"]),
    ],
)
def test_an_entry_covers_what_the_table_says(entry: str, allowed: list[str], denied: list[str]) -> None:
    rules = matcher(entry)
    for url in allowed:
        assert decide(rules, url) == Allowed(entry, parse_target(url)), url
    for url in denied:
        assert isinstance(decide(rules, url), Denied), url


@pytest.mark.parametrize(
    "url",
    [
        "https://ok.test@evil/",
        "https://ok.test:443@evil/",
        "https://evil\\@ok.test/",
        "https://evil#@ok.test/",
        "https://ok.test%2eevil/",
        "https://evil%23.ok.test/",
        "https://evil;ok.test/",
        "https://ok.test\t.evil/",
        "https://\uff4f\uff4b.test/",
        "https://ok。test/",
        "https://ok.test:0/",
        "https://ok.test:00443/",
        "https://ok.test/a/%2e%2e/b",
        "https://ok.test/a/..;/b",
        "https://ok.test/a%2f..%2fb",
        "https://ok.test/a/..%5cb",
        "https://ok.test//evil/x",
        "https://notok.test/",
        "https://ok.test.evil/",
        "https://2130706433/",
        "https://[ok.test]/",
        "//ok.test/",
        "https:ok.test",
    ],
)
def test_no_disguise_of_another_target_is_allowed(url: str) -> None:
    """Each is refused when it is read, or denied when it is matched."""
    with contextlib.suppress(TargetInvalid):
        assert isinstance(decide(matcher("ok.test"), url), Denied)


def test_a_field_is_one_label_of_the_host() -> None:
    rules = matcher("https://{{ team }}.ok.test/", fields={"team": "ACME"})
    assert decide(rules, "https://acme.ok.test/x").rule == "https://{{ team }}.ok.test/"
    assert isinstance(decide(rules, "https://other.ok.test/x"), Denied)


@pytest.mark.parametrize(
    "value", ["evil.com/", "a.b", "a/b", "@evil", "-a", "a-", "a" * 64, "é", "a\n", "{{ x }}", "%61", "", " "]
)
def test_a_field_that_is_no_label_compiles_to_nothing(value: str) -> None:
    with pytest.raises((UrlInvalid, MissingValue)):
        matcher("https://{{ team }}.ok.test/", fields={"team": value})


def test_a_field_may_be_a_segment_of_the_path() -> None:
    rules = matcher("https://ok.test/Accounts/{{ sid }}/", fields={"sid": "AC/1"})
    assert isinstance(decide(rules, "https://ok.test/Accounts/AC%2F1/Calls"), Allowed)
    assert isinstance(decide(rules, "https://ok.test/Accounts/AC/1"), Denied)
    with pytest.raises(UrlInvalid):
        matcher("https://ok.test/Accounts/{{ sid }}/", fields={"sid": ".."})


@pytest.mark.parametrize("path", ["/{{team}}", "/{%raw%}team{%endraw%}", "/{%25"])
def test_what_a_person_types_is_never_read_as_a_template(path: str) -> None:
    rules = matcher("{{ server }}/api", fields={"server": f"https://own.test{path}"})
    assert isinstance(decide(rules, f"https://own.test{path}/api/me"), Allowed)
    assert isinstance(decide(rules, "https://own.test/team/api/me"), Denied)


def test_deny_wins_over_urls_in_every_spelling_of_its_path() -> None:
    rules = matcher("ok.test", deny=("https://ok.test/v1/admin",))
    for path in (
        "/v1/admin",
        "/v1/admin/",
        "/v1/admin/x",
        "/v1/%61dmin",
        "/v1/%2561dmin",
        "/v1/Admin",
        "/v1//admin",
        "/v1/admin;a=b/x",
    ):
        decision = decide(rules, f"https://ok.test{path}")
        assert isinstance(decision, Denied), path
        assert decision.rule == "https://ok.test/v1/admin"
    assert isinstance(decide(rules, "https://ok.test/v1/administrators"), Allowed)
    assert isinstance(decide(rules, "https://a.ok.test/v1/admin"), Allowed)


def test_deny_without_a_scheme_covers_http_and_https_and_every_port() -> None:
    rules = matcher("ok.test", "http://ok.test", "https://ok.test:8443", deny=("ok.test/admin",))
    for origin in ("https://ok.test", "http://ok.test", "https://ok.test:8443", "https://a.ok.test"):
        assert isinstance(decide(rules, f"{origin}/admin"), Denied)
    assert isinstance(decide(rules, "http://ok.test/"), Allowed)


def test_http_is_upgraded_where_only_https_is_allowed() -> None:
    rules = matcher("ok.test", "https://ok.test:8443/v2", "http://plain.test")
    assert rules.decide("GET", parse_target("http://ok.test/v1?a=%41")).target.url == "https://ok.test/v1?a=%41"
    assert rules.decide("GET", parse_target("http://ok.test:8443/v2")).target.url == "https://ok.test:8443/v2"
    assert rules.decide("GET", parse_target("http://plain.test/")).target.url == "http://plain.test/"
    assert isinstance(rules.decide("GET", parse_target("http://ok.test/"), upgrade=False), Denied)
    assert isinstance(rules.decide("GET", parse_target("http://ok.test:8080/")), Denied)


def test_a_denied_path_stays_denied_through_the_upgrade() -> None:
    rules = matcher("ok.test", deny=("https://ok.test/admin",))
    decision = rules.decide("GET", parse_target("http://ok.test/admin"))
    assert isinstance(decision, Denied)
    assert decision.rule == "https://ok.test/admin"


def test_methods_left_out_are_all_but_trace_and_connect() -> None:
    rules = matcher("ok.test")
    assert isinstance(decide(rules, "https://ok.test/", "PURGE"), Allowed)
    assert isinstance(decide(rules, "https://ok.test/", "TRACE"), Denied)
    assert isinstance(decide(rules, "https://ok.test/", "CONNECT"), Denied)


def test_listed_methods_are_the_only_ones() -> None:
    rules = matcher("ok.test", methods=["GET", "POST"])
    assert isinstance(decide(rules, "https://ok.test/", "POST"), Allowed)
    for decision in (decide(rules, "https://ok.test/", "get"), rules.decide("DELETE", parse_target("http://ok.test/"))):
        assert isinstance(decision, Denied)
        assert decision.hint == "Allowed methods: GET, POST."


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://api.ok.test/v1beta", "Allowed on this host: https://api.ok.test/v1."),
        ("https://api.okk.test/v1", "Closest allowed URLs: https://api.ok.test/v1, eu.other.test."),
        ("https://ok.test/v1", "Closest allowed URLs: https://api.ok.test/v1, eu.other.test."),
    ],
)
def test_a_denial_shows_the_entries_that_came_closest(url: str, hint: str) -> None:
    decision = decide(matcher("eu.other.test", "https://api.ok.test/v1"), url)
    assert decision == Denied(f"{url} is not in the allowed URLs.", hint, None)


def test_a_denial_never_holds_the_query() -> None:
    decision = decide(matcher("ok.test"), "https://evil.test/x?token=hunter2")
    assert "hunter2" not in f"{decision}"


def test_a_hint_shows_all_of_an_entry_whose_path_holds_a_url() -> None:
    rules = matcher("https://ok.test/fetch/https://other.test/")
    assert decide(rules, "https://ok.test/").hint == "Allowed on this host: https://ok.test/fetch/https://other.test/."


def test_hints_show_a_field_s_value_and_rules_show_what_is_written() -> None:
    rules = matcher("https://{{ team }}.ok.test/", fields={"team": "acme"})
    assert decide(rules, "https://other.ok.test/").hint == "Closest allowed URLs: https://acme.ok.test/."


def test_connect_is_for_allowed_hosts_and_ports_443_80_and_those_written_out() -> None:
    rules = matcher("ok.test", "https://api.test:8443")
    for host, port in (("ok.test", 443), ("a.ok.test", 80), ("api.test", 8443)):
        assert isinstance(rules.decide_connect(host, port), Allowed)
    assert rules.decide_connect("ok.test", 22).hint == "Allowed ports for CONNECT: 80, 443, 8443."
    assert isinstance(rules.decide_connect("evil.test", 443), Denied)


def test_connect_ports_narrow_and_widen() -> None:
    rules = matcher("ok.test", "https://api.test:8443", connect_ports=[9443])
    assert isinstance(rules.decide_connect("ok.test", 9443), Allowed)
    assert isinstance(rules.decide_connect("ok.test", 443), Denied)
    assert isinstance(rules.decide_connect("api.test", 8443), Denied)


def test_connect_to_a_host_that_is_denied_whole_is_refused() -> None:
    rules = matcher("ok.test", deny=("admin.ok.test",))
    assert rules.decide_connect("admin.ok.test", 443).rule == "admin.ok.test"
    assert isinstance(rules.decide_connect("ok.test", 443), Allowed)


def test_what_is_remembered_of_origins_is_bounded() -> None:
    rules = matcher("*.ok.test")
    for number in range(3000):
        assert isinstance(decide(rules, f"https://h{number}.ok.test/"), Allowed)
        assert isinstance(decide(rules, f"https://h{number}.evil.test/"), Denied)
    assert len(rules._origins) == 1024


@given(st.text(st.characters(codec="ascii"), max_size=30), st.text(st.characters(codec="ascii"), max_size=20))
def test_an_allowed_target_is_on_an_allowed_host_and_is_sent_as_it_came(before: str, after: str) -> None:
    """Whatever surrounds an allowed name, what comes out is on that host, byte for byte as it came in."""
    url = f"https://{before}ok.test{after}"
    try:
        target = parse_target(url)
    except TargetInvalid:
        return
    decision = matcher("ok.test").decide("GET", target, upgrade=False)
    assert isinstance(decision, Allowed) == (
        (target.host == "ok.test" or target.host.endswith(".ok.test")) and target.port == 443
    )
    if isinstance(decision, Allowed):
        assert decision.target is target
        assert (
            url.endswith(target.path_and_query)
            or target.path_and_query == "/"
            or target.path_and_query.startswith("/?")
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/v1",
        "{{ a }}b",
        "*.{{ a }}",
        "https://",
        "a.*.test",
        "a*.test",
        "ok.test/v1",
        "ok.test?x",
        "https://a@b/",
    ],
)
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(EntryInvalid):
        EntryTemplate.parse(text)


def test_a_deny_for_http_alone_is_not_passed_by_the_upgrade() -> None:
    rules = matcher("ok.test", deny=("http://ok.test/admin",))
    assert rules.decide("GET", parse_target("http://ok.test/admin")).rule == "http://ok.test/admin"
    assert isinstance(decide(rules, "https://ok.test/admin"), Allowed)


def test_trace_and_connect_are_never_allowed_whatever_is_listed() -> None:
    rules = matcher("ok.test", methods=["GET", "TRACE", "CONNECT"])
    assert isinstance(decide(rules, "https://ok.test/", "TRACE"), Denied)
    assert isinstance(decide(rules, "https://ok.test/", "CONNECT"), Denied)


def test_a_hint_costs_little_however_long_the_host_is() -> None:
    """Whoever may use a connection may ask for hosts that aren't allowed all day long."""
    rules = matcher(*(f"https://service{number}.example-company{number}.com" for number in range(100)))
    target = parse_target(f"https://{'a.' * 126}a/")
    start = time.process_time()
    for _ in range(100):
        assert isinstance(rules.decide("GET", target), Denied)
    assert time.process_time() - start < 1.2
