"""Device codes (RFC 8628): what is asked, and what each answer comes to, as literal bodies."""

import json
from typing import Any

import pytest

from gateway.oauth.answer import TokenAnswer, TokenRefused
from gateway.oauth.device import DeviceCode, Pending, device_request, poll_request, read_device_code, read_poll
from gateway.oauth.endpoint import ClientCredentials, Endpoint
from gateway.oauth.message import Answer
from gateway.secret import Secret

NOW = 1_700_000_000.0
ENDPOINT = Endpoint(url="https://service.test/device")
CLIENT = ClientCredentials(client_id="app 1", client_secret=Secret("s3cr3t"))
RFC = {  # §3.2
    "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://example.com/device",
    "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
    "expires_in": 1800,
    "interval": 5,
}


def read(**changes: Any) -> Any:
    body = json.dumps({name: value for name, value in (RFC | changes).items() if value is not None})
    return read_device_code(Answer(status=200, body=body.encode()), ENDPOINT, now=NOW)


def poll(body: bytes, *, status: int = 400, interval: float = 5.0) -> Any:
    return read_poll(Answer(status=status, body=body), ENDPOINT, interval=interval, now=NOW)


def test_the_client_names_itself_beside_how_it_shows_who_it_is() -> None:
    """§3.1 wants the name of a client that doesn't authenticate; most providers want it of every one."""
    request = device_request(ENDPOINT, CLIENT, scope="read write")
    assert request.body == b"client_id=app+1&scope=read+write"
    assert dict(request.headers)["Authorization"].startswith("Basic ")


def test_a_poll_carries_the_grant_and_the_code_and_shows_neither() -> None:
    request = poll_request(ENDPOINT, CLIENT, device_code=Secret("dc-secret"))
    assert request.body == b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc-secret"
    assert Secret("dc-secret") in request.secrets
    assert "dc-secret" not in repr(request)


def test_the_answer_of_the_rfc() -> None:
    assert read() == DeviceCode(
        device_code=Secret("GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"),
        user_code="WDJB-MJHT",
        verification_uri="https://example.com/device",
        link="https://example.com/device?user_code=WDJB-MJHT",
        host="example.com",
        expires_in=1800.0,
        interval=5.0,
    )
    assert "GmRhmhcx" not in repr(read())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"interval": None, "expires_in": None}, {"interval": 5.0, "expires_in": 600.0}),
        ({"interval": 0.01}, {"interval": 1.0}),
        ({"interval": 86_400}, {"interval": 60.0}),
        ({"user_code": 123456}, {"user_code": "123456"}),
        ({"user_code": " 1 2-3 "}, {"user_code": "1 2-3"}),
        (
            {"verification_uri": None, "verification_url": "https://g.test/device", "verification_uri_complete": None},
            {"verification_uri": "https://g.test/device", "link": "https://g.test/device", "host": "g.test"},
        ),
        # A URL with the code in it leads nowhere else than the one that a person reads.
        (
            {"verification_uri_complete": "https://evil.test/device?user_code=WDJB-MJHT"},
            {"link": "https://example.com/device", "host": "example.com"},
        ),
        ({"verification_uri_complete": ["x"]}, {"link": "https://example.com/device"}),
        ({"verification_uri": "http://127.0.0.1:8/d", "verification_uri_complete": None}, {"host": "127.0.0.1:8"}),
    ],
)
def test_what_an_answer_leaves_out_or_says_otherwise(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    code = read(**changes)
    assert {name: getattr(code, name) for name in expected} == expected


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/device",
        "javascript:alert(1)",
        "https://good.test@evil.test/",
        "https://good.test\\@evil.test/",
        "//evil.test/device",
        "example.com/device",
        "data:text/html,x",
    ],
)
def test_a_uri_that_is_not_https_is_text_and_no_link(uri: str) -> None:
    code = read(verification_uri=uri)
    assert (code.link, code.host, code.verification_uri) == ("", "", uri)


def test_a_uri_is_one_line_without_the_device_code() -> None:
    code = read(verification_uri=f"https://a.test/?d={RFC['device_code']}\x1b[2J\r\nx", verification_uri_complete=None)
    assert code.verification_uri == "https://a.test/?d=*** [2J x"
    assert code.link == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device_code": None}, "has no device_code"),
        ({"device_code": "d\n"}, "has no device_code"),
        ({"user_code": None}, "has no user_code"),
        ({"user_code": True}, "has no user_code"),
        ({"user_code": "a\x1b[2J"}, "has no user_code"),
        ({"user_code": "x" * 65}, "has no user_code"),
        ({"verification_uri": None}, "has no verification_uri"),
        ({"verification_uri": 7}, "has no verification_uri"),
        ({"verification_uri": "https://a.test/" + "x" * 2000}, "has no verification_uri"),
        ({"error": "invalid_scope", "error_description": "No such"}, "answered 200: invalid_scope: No such"),
    ],
)
def test_an_answer_that_is_of_no_use_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    refused = read(**changes)
    assert isinstance(refused, TokenRefused)
    assert words in refused.detail


@pytest.mark.parametrize(
    ("body", "status", "interval"),
    [
        (b'{"error":"authorization_pending"}', 400, 5.0),
        (b'{"error":"authorization_pending"}', 200, 5.0),  # GitHub's
        (b'{"error":"authorization_pending"}', 428, 5.0),  # Google's
        (b"error=authorization_pending", 400, 5.0),
        (b'{"error":"slow_down"}', 400, 10.0),
        (b'{"error":"slow_down"}', 429, 10.0),
        (b"<html>Bad gateway</html>", 502, 10.0),
        (b'{"error":"server_error"}', 500, 10.0),
        (b'{"error":"x"}', 429, 10.0),
    ],
)
def test_a_poll_goes_on_at_the_same_pace_or_slower(body: bytes, status: int, interval: float) -> None:
    came = poll(body, status=status)
    assert isinstance(came, Pending)
    assert came.interval == interval


def test_polls_are_never_more_than_a_minute_apart() -> None:
    assert poll(b'{"error":"slow_down"}', interval=58.0) == Pending(interval=60.0)


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant", "invalid_client", "x"])
def test_every_other_error_ends_it(error: str) -> None:
    came = poll(json.dumps({"error": error}).encode())
    assert isinstance(came, TokenRefused)
    assert came.error == error


def test_tokens_end_it_well() -> None:
    came = poll(b'{"access_token":"at","refresh_token":"rt","expires_in":60}', status=200)
    assert isinstance(came, TokenAnswer)
    assert (came.access_token, came.refresh_token, came.expires_at) == (Secret("at"), Secret("rt"), NOW + 60)
