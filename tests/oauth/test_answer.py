"""What a token endpoint may answer, as literal bodies, and what we make of it."""

import base64
import json
from typing import Any

import pytest

from gateway.oauth.answer import TokenAnswer, TokenRefused, dig, laid_over, read_revocation, read_token
from gateway.oauth.endpoint import Endpoint
from gateway.oauth.expiry import end, expiry, jwt_expiry, lifetime, renewal
from gateway.oauth.message import Answer
from gateway.oauth.redact import redact
from gateway.secret import Secret

NOW = 1_700_000_000.0
JSON = {"content-type": "application/json"}
ENDPOINT = Endpoint(url="https://service.test/token")


def read(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None, **endpoint: Any) -> Any:
    described = Endpoint(url="https://service.test/token", **endpoint)
    return read_token(
        Answer(status=status, headers=headers or JSON, body=body), described, now=NOW, secrets=[Secret("s3cr3t-value")]
    )


def jwt(claims: dict[str, Any]) -> str:
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode() + ".sig"


def test_words_that_are_the_code_are_said_once() -> None:
    """A policy's `error = "error"` points at the code itself."""
    got = read(b'{"error":"server_error"}', status=500, error="error")
    assert got.detail == "The provider answered 500: server_error"


def test_the_answer_of_rfc_6749() -> None:
    got = read(b'{"access_token":"at","token_type":"bearer","expires_in":3600,"refresh_token":"rt","example":"x"}')
    assert got.access_token == Secret("at")
    assert got.refresh_token == Secret("rt")
    assert got.expires_at == NOW + 3600
    assert got.raw["example"] == "x"


def test_a_token_answer_shows_nothing_in_its_repr() -> None:
    assert "at-secret" not in repr(read(b'{"access_token":"at-secret"}'))


def test_mapped_names_lie_on_top_of_the_providers_own() -> None:
    """Slack's answer: the bot's token is at the top, the person's in authed_user."""
    got = read(
        b'{"ok":true,"access_token":"bot","authed_user":{"access_token":"person","expires_in":"43200"}}',
        response={"access_token": "authed_user.access_token", "expires_in": "authed_user.expires_in"},
        success_when="ok",
    )
    assert got.access_token == Secret("person")
    assert got.raw["access_token"] == "person"
    assert got.expires_at == NOW + 43200


def test_a_form_is_read_too() -> None:
    """GitHub's default, and Facebook's of old."""
    got = read(b"access_token=at&scope=&expires_in=60", headers={"content-type": "application/x-www-form-urlencoded"})
    assert got.access_token == Secret("at")
    assert got.expires_at == NOW + 60


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3600, 3600.0),
        ("3600", 3600.0),
        (59.5, 59.5),
        (None, None),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        ("nan", None),
        ("1e999", None),
        ([], None),
        (10**400, None),
        (10**12, 10 * 366 * 86400.0),
    ],
)
def test_expires_in(given: Any, seconds: float | None) -> None:
    assert lifetime(given) == seconds


LATER = 1_700_003_600  # an hour after NOW


@pytest.mark.parametrize(
    ("written", "given", "seconds"),
    [
        ("seconds", 3600, 3600),
        ("milliseconds", "3600000", 3600),
        ("milliseconds", 10**13, 10**10),
        ("milliseconds", 10**30, 10 * 366 * 86400),
        ("milliseconds", 0, None),
        ("at", LATER, 3600),
        ("at", str(LATER), 3600),
        ("at", 1_700_000_000, None),
        ("at", 10**400, None),
        ("at", 10**30, 10 * 366 * 86400),
        ("at", True, None),
        ("at_milliseconds", LATER * 1000, 3600),
        ("at_milliseconds", "soon", None),
        ("date", "2023-11-14T23:13:20Z", 3600),
        ("date", "2023-11-14t23:13:20.999z", 3600),
        ("date", "2023-11-15 00:13:20+01:00", 3600),
        ("date", "2023-11-14T18:43:20-0430", 3600),
        ("date", "2023-11-14T23:13:20", 3600),
        ("date", "2023-11-14T23:14", 3640),
        ("date", "Tue, 14 Nov 2023 23:13:20 GMT", 3600),
        ("date", "2023-11-14T22:13:20Z", None),
        ("date", "2023-13-14T23:13:20Z", None),
        ("date", "0000-01-01T00:00:00Z", None),
        ("date", "9999-12-31T23:59:59Z", 10 * 366 * 86400),
        ("date", "tomorrow", None),
        ("date", LATER, None),
        ("duration", "PT1H", 3600),
        ("duration", "P1DT1H1M1.5S", 90061.5),
        ("duration", "p2w", 14 * 86400),
        ("duration", "1h", 3600),
        ("duration", "P", None),
        ("duration", "P1Y", None),
        ("duration", "PT" + "9" * 400 + "S", None),
        ("duration", 3600, None),
        ("duration", None, None),
    ],
)
def test_an_end_in_each_of_its_forms(written: Any, given: Any, seconds: float | None) -> None:
    assert end(given, written, NOW) == (None if seconds is None else NOW + min(seconds, 10 * 366 * 86400))


def test_what_lasts_longer_keeps_the_token_that_stands_and_counts_anew() -> None:
    standing = Secret("old")
    for body in (b'{"expires_in":60}', b'{"expires_in":60,"access_token":null}'):
        got = read_token(Answer(status=200, headers=JSON, body=body), ENDPOINT, now=NOW, standing=standing)
        assert isinstance(got, TokenAnswer)
        assert (got.access_token, got.raw["access_token"], got.expires_at) == (standing, "old", NOW + 60)
    empty = read_token(Answer(status=204), Endpoint(url="https://x.test", default_ttl=9), now=NOW, standing=standing)
    assert isinstance(empty, TokenAnswer)
    assert (empty.access_token, empty.expires_at) == (standing, NOW + 9)
    newer = read_token(
        Answer(status=200, headers=JSON, body=b'{"access_token":"new"}'), ENDPOINT, now=NOW, standing=standing
    )
    assert isinstance(newer, TokenAnswer)
    assert newer.access_token == Secret("new")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"access_token":""}'),
        (200, b'{"access_token":7}'),
        (500, b""),
        (400, b'{"error":"no"}'),
        (200, b"<html>"),
    ],
)
def test_no_bad_answer_lets_a_token_last_longer(status: int, body: bytes) -> None:
    answer = Answer(status=status, headers=JSON, body=body)
    assert isinstance(read_token(answer, ENDPOINT, now=NOW, standing=Secret("old")), TokenRefused)


def test_an_exchange_lies_over_what_it_was_made_of_but_for_its_end() -> None:
    first = read(b'{"access_token":"short","refresh_token":"rt","expires_in":60,"team":"t","scope":"a"}')
    second = read(b'{"access_token":"long","scope":"b"}')
    got = laid_over(first, second)
    assert got.raw == {"access_token": "long", "refresh_token": "rt", "team": "t", "scope": "b"}
    assert (got.access_token, got.refresh_token, got.expires_at) == (Secret("long"), Secret("rt"), None)


def test_expiry_is_what_the_answer_says_else_the_policy_else_the_jwt_else_unknown() -> None:
    token = jwt({"exp": NOW + 900})
    assert expiry(expires_in="60", access_token=token, now=NOW, default_ttl=120) == NOW + 60
    assert expiry(expires_in=None, access_token=token, now=NOW, default_ttl=120) == NOW + 120
    assert expiry(expires_in=None, access_token=token, now=NOW, default_ttl=None) == NOW + 900
    assert expiry(expires_in=None, access_token="opaque", now=NOW, default_ttl=None) is None


def test_a_jwt_that_is_expired_when_issued_tells_about_the_clocks_and_not_about_the_token() -> None:
    assert expiry(expires_in=None, access_token=jwt({"exp": NOW - 1}), now=NOW, default_ttl=None) is None


@pytest.mark.parametrize("exp", [1e300, 253_402_300_800, 10**300], ids=["float", "year 10000", "integer"])
def test_no_token_lasts_beyond_the_calendar(exp: float) -> None:
    """A connection whose time nobody can write down would take the whole list of connections with it."""
    ten_years = NOW + 10 * 366 * 86400
    assert expiry(expires_in=None, access_token=jwt({"exp": exp}), now=NOW, default_ttl=None) == ten_years
    assert expiry(expires_in=None, access_token="opaque", now=NOW, default_ttl=float(exp)) == ten_years


@pytest.mark.parametrize(
    "token",
    ["a.b", "a.!!!.c", "a.e30.c", "é.é.é", "a.WzFd.c", *(jwt({"exp": exp}) for exp in ("1", True, 10**400))],
)
def test_what_is_no_jwt_with_an_exp_has_none(token: str) -> None:
    assert jwt_expiry(token) is None


def test_renewal_comes_a_margin_ahead_but_never_before_half_of_the_life() -> None:
    assert renewal(issued_at=0, expires_at=3600, margin=60, jitter=0) == 3540
    assert renewal(issued_at=0, expires_at=3600, margin=60, jitter=1) == 3534
    assert renewal(issued_at=0, expires_at=3600, margin=60, jitter=-1) == 3546
    assert renewal(issued_at=0, expires_at=10, margin=60, jitter=0) == 5
    assert renewal(issued_at=0, expires_at=3600, margin=None, jitter=0) == 3540


def test_only_invalid_grant_is_final() -> None:
    got = read(b'{"error":"invalid_grant","error_description":"Token was revoked"}', status=400)
    assert got.final
    assert got.detail == "The provider answered 400: invalid_grant: Token was revoked"


@pytest.mark.parametrize(
    "error", ["invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "temporarily_unavailable"]
)
def test_every_other_error_is_not(error: str) -> None:
    assert not read(json.dumps({"error": error}).encode(), status=401).final


@pytest.mark.parametrize("status", [429, 500, 503])
def test_invalid_grant_from_a_provider_in_trouble_is_not_final(status: int) -> None:
    assert not read(b'{"error":"invalid_grant"}', status=status).final


def test_an_error_with_status_200_is_an_error() -> None:
    got = read(b'{"error":"invalid_grant","access_token":"at"}')
    assert isinstance(got, TokenRefused)
    assert got.final


def test_success_when_must_hold() -> None:
    got = read(b'{"ok":false,"error":"bad_code","access_token":"at"}', success_when="ok")
    assert isinstance(got, TokenRefused)
    assert isinstance(read(b'{"access_token":"at"}', success_when="ok"), TokenRefused)
    assert isinstance(read(b'{"ok":true,"access_token":"at"}', success_when="ok"), TokenAnswer)


def test_the_message_is_where_the_policy_says() -> None:
    got = read(b'{"fault":{"text":"Clock off"},"message":"no"}', status=400, error="fault.text")
    assert got.detail == "The provider answered 400: Clock off"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"Why not","code":"x1"}}',
        b'{"errors":[{"message":"Why not"}]}',
        b'{"message":"Why not"}',
        b'{"title":"Why not"}',
        b'{"error":"x","error_description":"Why not"}',
    ],
)
def test_the_message_is_found_where_most_put_it(body: bytes) -> None:
    assert "Why not" in read(body, status=400).detail


def test_the_providers_text_is_shown_without_secrets_and_control_characters_and_bounded() -> None:
    text = "bad s3cr3t-value \r\n\x1b[31m" + "x" * 999
    got = read(json.dumps({"error": "e", "error_description": text}).encode(), status=400)
    assert "s3cr3t" not in got.detail
    assert "bad ***" in got.detail
    assert got.detail.isprintable()
    assert len(got.detail) < 400


def test_a_secret_is_removed_in_every_spelling() -> None:
    secret = Secret("p&ss wörd/1")
    spelled = (
        "p&ss wörd/1 | p%26ss%20w%C3%B6rd%2F1 | p%26ss+w%C3%B6rd%2F1 | "
        + base64.b64encode("p&ss wörd/1".encode()).decode()
    )
    assert redact(spelled, [secret]) == "*** | *** | *** | ***"


def test_a_secret_is_removed_where_it_stands_in_what_was_sent() -> None:
    """Providers quote the request: JSON in JSON, a Basic header, percent signs in lower case."""
    key = Secret("-----BEGIN KEY-----\nMIIB/abc+def=\n-----END KEY-----")
    assert redact(json.dumps({"key": key.reveal()}), [key]) == '{"key": "***"}'
    basic = base64.b64encode(b"user-1:pass/word-2").decode()
    assert base64.b64encode(b"word-2")[:-3].decode() not in redact(f"Basic {basic}", [Secret("pass/word-2")])
    assert redact("q=pass%2fword-2", [Secret("pass/word-2")]) == "q=***"


def test_what_is_no_text_in_a_secret_is_no_fault() -> None:
    assert redact("half \ud800 a pair, s3cr3t", [Secret("x\ud800yz1"), Secret("s3cr3t")]) == "half a pair, ***"


def test_a_redirect_is_refused_and_its_place_is_not_shown() -> None:
    got = read(b"", status=307, headers={"location": "https://evil.test/?token=1"})
    assert got.error == "redirect"
    assert "evil" not in got.detail


@pytest.mark.parametrize(
    ("body", "media_type", "kind"),
    [
        (b"<!doctype html><h1>Login</h1>", "text/html; charset=utf-8", "an HTML page"),
        (b"  <html>", "application/json", "an HTML page"),
        (b"", "application/json", "nothing"),
        (b"[1]", "application/json", "neither JSON nor a form"),
        (b'{"access_token":', "application/json", "neither JSON nor a form"),
        (b"\xff\xfe", "application/json", "neither JSON nor a form"),
        (b"[" * 100_000, "application/json", "neither JSON nor a form"),
        (b'{"access_token":"a","x":' + b"[" * 64 + b"]" * 64 + b"}", "application/json", "neither JSON nor a form"),
        (b"plain words", "text/plain", "neither JSON nor a form"),
    ],
    ids=["html", "html-as-json", "empty", "list", "cut-off", "not-utf-8", "deep", "too-deep-to-seal", "words"],
)
def test_what_cannot_be_read_is_named(body: bytes, media_type: str, kind: str) -> None:
    got = read(body, headers={"content-type": media_type})
    assert got.error == "unreadable"
    assert got.detail == f"The provider answered 200 with {kind}."
    assert not got.final


@pytest.mark.parametrize("body", [b"{}", b'{"access_token":""}', b'{"access_token":null}', b'{"access_token":7}'])
def test_no_token_is_named(body: bytes) -> None:
    got = read(body)
    assert got.error == "no_token"
    assert "access_token" in got.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"a\\r\\nX-Evil: 1"}',
        b'{"access_token":"a\\u0000b"}',
        b'{"access_token":"caf\\u00e9"}',
        b'{"access_token":"a","refresh_token":"r\\n"}',
        b'{"access_token":"a","refresh_token":{"x":1}}',
    ],
)
def test_a_token_with_control_characters_is_refused(body: bytes) -> None:
    got = read(body)
    assert got.error == "bad_token"
    assert "Evil" not in got.detail


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("999999", 3600.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2000 22:14:20 GMT", None),
        ("later", None),
        ("-5", None),
    ],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    assert read(b"{}", status=503, headers={"retry-after": header}).retry_after == seconds


def test_dig_goes_through_objects_and_lists() -> None:
    data = {"a": [{"b": 1}]}
    assert dig(data, "a.0.b") == 1
    assert dig(data, "a.1.b") is None
    assert dig(data, "a.b") is None
    assert dig(data, "x.y") is None


@pytest.mark.parametrize(
    ("status", "body", "done"),
    [
        (200, b"", True),
        (204, b"", True),
        (400, b'{"error":"invalid_token"}', True),
        (400, b'{"error":"unsupported_token_type"}', False),
        (503, b"busy", False),
        (302, b"", False),
    ],
)
def test_revocation(status: int, body: bytes, *, done: bool) -> None:
    refused = read_revocation(Answer(status=status, headers=JSON, body=body), ENDPOINT, now=NOW)
    assert (refused is None) is done
