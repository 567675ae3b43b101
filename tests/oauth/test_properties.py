"""What holds of a provider's answers, whatever a provider, or whoever stands in for it, says."""

import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.answer import TokenAnswer, TokenRefused, read_revocation, read_token
from gateway.oauth.authorize import CallbackRefused, CodeReceived, read_callback
from gateway.oauth.endpoint import ClientCredentials, Endpoint, build_request
from gateway.oauth.expiry import LONGEST, end
from gateway.oauth.message import Answer
from gateway.oauth.redact import SHOWN_LENGTH, redact
from gateway.secret import Secret

SECRET = "s3cr3t/v+lue"
NAMES = st.sampled_from(
    [
        "access_token",
        "refresh_token",
        "expires_in",
        "error",
        "error_description",
        "message",
        "errors",
        "data",
        "code",
        "ok",
        "detail",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 3600, 2**63, 10**400, 0.5, 1e300, float("inf"), float("nan")])
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "tok",
            "a\r\nb",
            "\ud800",
            "\u202e",
            "3600",
            "PT1H",
            "2024-02-30T25:61:00Z",
            "Wed, 21 Oct 2099 07:28:00",
            "1e999",
            "nan",
            "invalid_grant",
            SECRET,
            f"no {SECRET}.",
            "e30.e30.x",
            "x" * 400,
        ]
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=5
)


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _as_form(value: Any) -> bytes:
    pairs = value.items() if isinstance(value, dict) else [("access_token", value)]
    return urlencode([(name, str(item).encode("utf-8", "replace")) for name, item in pairs]).encode()


BODIES = (
    st.fixed_dictionaries({"access_token": LEAVES}, optional={"refresh_token": LEAVES, "expires_in": LEAVES}).map(
        _as_json
    )
    | st.dictionaries(NAMES, VALUES, max_size=5).map(_as_json)
    | st.dictionaries(NAMES, LEAVES, max_size=4).map(_as_form)
    | VALUES.map(_as_json)
    | st.binary(max_size=40)
    | st.sampled_from([b"", b"<html>", b"[" * 5000, b"\xef\xbb\xbf{}", b'{"a":' * 5000, b"a=b&" * 200])
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["application/json", "text/html; x", "application/x-www-form-urlencoded", "", ";", "\x00"]
        ),
        "retry-after": st.sampled_from(
            ["1", "-1", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99", "\u0661", "1e3", ""]
        )
        | st.text(max_size=6),
    },
)
ENDPOINTS = st.builds(
    Endpoint,
    url=st.just("https://service.test/token"),
    response=st.sampled_from([{}, {"access_token": "data.access_token"}, {"expires_in": "errors.0.code"}]),
    success_when=st.sampled_from([None, "ok", "data.ok"]),
    error=st.sampled_from([None, "message", "errors.0.detail", "errors.99999999999999999999.x"]),
    default_ttl=st.sampled_from([None, 60.0]),
    expires=st.sampled_from(["seconds", "milliseconds", "at", "at_milliseconds", "date", "duration"]),
)
DATES = st.text("0123456789-:TZPHMSDW+., ", max_size=24) | st.sampled_from(
    ["Tue, 99", "1h", "P1D", "2024-02-30T25:61Z"]
)


@given(st.sampled_from([200, 201, 302, 400, 401, 429, 500, 599]), HEADERS, BODIES, ENDPOINTS)
def test_any_answer_is_tokens_fit_for_a_header_or_a_refusal_fit_to_be_shown(
    status: int, headers: dict[str, str], body: bytes, endpoint: Endpoint
) -> None:
    answer = Answer(status=status, headers=headers, body=body)
    for got in (
        read_token(answer, endpoint, now=1000.0, secrets=[Secret(SECRET)]),
        read_revocation(answer, endpoint, now=1000.0, secrets=[Secret(SECRET)]),
    ):
        if isinstance(got, TokenAnswer):
            for token in (got.access_token, got.refresh_token):
                assert token is None or all(" " <= char <= "~" for char in token.reveal())
            assert got.expires_at is None or 1000.0 < got.expires_at < 1e12
        elif got is not None:
            assert isinstance(got, TokenRefused)
            _check_shown(got.error)
            _check_shown(got.detail)
            assert got.retry_after is None or 0 <= got.retry_after <= 3600
            assert not (got.final and status >= 429)


@given(DATES, st.sampled_from(["at", "date", "duration"]))
def test_any_text_is_an_end_that_is_still_to_come_or_none(text: str, written: Any) -> None:
    got = end(text, written, 1000.0)
    assert got is None or 1000.0 < got <= 1000.0 + LONGEST


def _check_shown(text: str) -> None:
    assert SECRET not in text
    assert text.isprintable()
    assert len(text) <= 2 * SHOWN_LENGTH + 100
    text.encode()


@given(
    st.dictionaries(
        st.sampled_from(["code", "error", "error_description", "iss", "state"]),
        st.text(max_size=12) | st.sampled_from(["x\r\n", "https://id.test"]),
    )
)
def test_any_callback_brings_a_plain_code_or_words_fit_to_be_shown(params: dict[str, str]) -> None:
    got = read_callback(params, issuer="https://id.test")
    if isinstance(got, CodeReceived):
        assert got.code.reveal() == params["code"]
        assert all(" " <= char <= "~" for char in params["code"])
        assert params.get("iss", "https://id.test") == "https://id.test"
        assert not params.get("error")
        return
    assert isinstance(got, CallbackRefused)
    _check_shown(got.error)
    _check_shown(got.detail)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.sampled_from(["basic", "body", "none"]),
    st.sampled_from(["form", "json"]),
)
def test_what_is_sent_to_a_provider_stands_in_the_body_whatever_it_holds(
    client_id: str, secret: str, params: dict[str, str], auth: Any, form: Any
) -> None:
    """No value becomes another parameter, a header or a part of the URL."""
    endpoint = Endpoint(url="https://service.test/token", client_auth=auth, format=form, params=params)
    client = ClientCredentials(client_id=client_id, client_secret=Secret(secret))
    request = build_request(endpoint, {"grant_type": "password"}, client)
    assert request.url == "https://service.test/token"
    assert urlsplit(request.url).query == ""
    assert all("\r" not in value and "\n" not in value for _, value in request.headers)
    assert {name for name, _ in request.headers} <= {"Accept", "Content-Type", "Authorization"}
    expected = {"grant_type": "password", **({"client_id": client_id} if auth != "basic" else {})}
    expected |= {"client_secret": secret} if auth == "body" else {}
    expected |= params
    if form == "json":
        assert json.loads(request.body) == expected
    else:
        assert request.body == urlencode(expected).encode()


@given(st.text(max_size=30), st.text(min_size=4, max_size=12), st.text(max_size=8))
def test_what_is_redacted_is_one_line_without_the_secret(before: str, secret: str, after: str) -> None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    text = redact(before + secret + after, [Secret(secret)])
    assert len(text) <= SHOWN_LENGTH
    assert text.isprintable()
    assert secret not in text or secret in "***" + " ".join(before.split()) + " ".join(after.split()) + "***"
