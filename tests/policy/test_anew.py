"""What is made for one request: which value it is, what it is made of, and in which order."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from gateway.http.target import parse_target
from gateway.policy.anew import Made
from gateway.policy.context import Context
from gateway.policy.header import InjectionInvalid
from gateway.policy.inject import render
from gateway.policy.model import Policy
from gateway.policy.request import CONTENT, ENTROPY, MADE_OF, URL, RequestValues
from gateway.policy.sign import SignInvalid
from gateway.policy.template import MissingValue
from gateway.secret import Secret

NOW = 1_795_688_100.75
RANDOM = bytes(range(ENTROPY))
KEY = {"api_key": Secret("k-1234")}
HMAC = {"scheme": "hmac", "key": "{{ api_key }}", "text": "{{ request.path_and_query }}|{{ request.body }}"}


def policy(*, sign: dict[str, str] | None = None, optional: tuple[str, ...] = (), **inject: Any) -> Policy:
    fields = [{"name": name, "required": False} for name in optional]
    rest = {"name": "X", "allow": {"urls": ["ok.test"]}, "auth": {"grant": "api_key"}, "fields": fields}
    return Policy.model_validate({**rest, "inject": inject} | ({"sign": sign} if sign else {}))


def request(body: bytes = b"", *, method: str = "POST", url: str = "https://ok.test/a%20b?x=1&y=%2F") -> RequestValues:
    return RequestValues(method=method, target=parse_target(url), body=body, now=NOW, random=RANDOM)


def make(one: Policy, asked: RequestValues | None = None, *, kind: bytes | None = None, **fields: Any) -> Made:
    injection = render(one, Context(fields={**KEY, **fields}))
    assert injection.anew is not None
    asked = asked or request()
    return injection.anew.make(
        injection, asked, fields=[], present=set(), content_type=kind, has_content=bool(asked.body)
    )


def signed(text: str, algorithm: str = "sha256") -> bytes:
    return hmac.new(b"k-1234", text.encode(), algorithm).digest()


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "method": "POST",
        "url": "https://ok.test/a%20b?x=1&y=%2F",
        "host": "ok.test",
        "path": "/a%20b",
        "query": "x=1&y=%2F",
        "path_and_query": "/a%20b?x=1&y=%2F",
        "body": "höre",
        "body_sha256": hashlib.sha256("höre".encode()).hexdigest(),
        "body_md5": hashlib.md5("höre".encode()).hexdigest(),
        "time": "1795688100",
        "time_ms": "1795688100750",
        "date": "Thu, 26 Nov 2026 10:15:00 GMT",
        "iso": "20261126T101500Z",
        "random": "000102030405060708090a0b0c0d0e0f",
        "uuid": "10111213-1415-4617-9819-1a1b1c1d1e1f",
    }.items(),
)
def test_each_value_of_a_request(name: str, value: str) -> None:
    made = make(policy(headers={"A": f"<{{{{ request.{name} }}}}>"}), request("höre".encode()))
    assert made.headers == [(b"A", f"<{value}>".encode())]


def test_every_name_is_tried_above_and_those_that_need_more_are_among_them() -> None:
    assert len(MADE_OF) == 15
    assert set(MADE_OF) > URL | CONTENT


def test_a_name_that_is_none_is_missing() -> None:
    with pytest.raises(MissingValue, match=r"request\.nothing"):
        request().text(("request", "nothing"))


def test_the_values_of_one_request_are_the_same_wherever_they_stand() -> None:
    made = make(policy(headers={"A": "{{ request.random }}", "B": "{{ request.random }}"}))
    assert made.headers[0][1] == made.headers[1][1]


def test_a_signature_is_over_query_and_content_as_they_leave_and_stands_last_in_them() -> None:
    one = policy(
        sign=HMAC,
        query={"sig": "{{ signature }}", "t": "{{ request.time }}", "v": "2"},
        body={"sig": ["{{ signature }}"], "n": {"id": "{{ request.random }}"}, "v": 2},
        headers={"X-Url": "{{ request.url }}"},
    )
    body = b'{"a": 1, "SIG": "mine", "V": 3}'
    made = make(one, request(body, url="https://ok.test/p?sig=mine&t=mine&a=b"), kind=b"application/json")
    query = "a=b&v=2&t=1795688100"
    content = '{"a": 1,"v":2,"n":{"id":"000102030405060708090a0b0c0d0e0f"}}'
    signature = signed(f"/p?{query}|{content}").hex()
    assert made.query == f"{query}&sig={signature}"
    assert made.body == f'{content[:-1]},"sig":["{signature}"]}}'.encode()
    assert made.headers == [(b"X-Url", f"https://ok.test/p?{made.query}".encode())]
    assert made.secrets == (Secret(signature),)


@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_each_algorithm_in_each_encoding(algorithm: str, encoding: str) -> None:
    sign = {**HMAC, "algorithm": algorithm, "encoding": encoding}
    made = make(policy(sign=sign, headers={"A": "{{ signature }}"}))
    digest = signed("/a%20b?x=1&y=%2F|", algorithm)
    encode = {"hex": bytes.hex, "base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}[encoding]
    wanted = encode(digest)  # type: ignore[operator]
    assert made.headers[0][1] == (wanted.encode() if isinstance(wanted, str) else wanted)


@pytest.mark.parametrize(
    ("encoding", "key"),
    [
        ("text", "k-1234"),
        ("hex", "6b2D31323334"),
        ("base64", "ay0xMjM0"),
        ("base64", " ay0xMjM0\n"),
        ("base64", "ay0xMjM0===="),
    ],
)
def test_a_key_is_read_as_it_is_written(encoding: str, key: str) -> None:
    made = make(policy(sign={**HMAC, "key_encoding": encoding}, headers={"A": "{{ signature }}"}), api_key=Secret(key))
    assert made.headers[0][1] == signed("/a%20b?x=1&y=%2F|").hex().encode()


@pytest.mark.parametrize(("encoding", "key"), [("hex", "zz-secret"), ("base64", "not b64 secret"), ("text", "\udc80")])
def test_a_key_that_can_not_be_read_is_refused_and_not_shown(encoding: str, key: str) -> None:
    one = policy(sign={**HMAC, "key_encoding": encoding}, headers={"A": "{{ signature }}"})
    with pytest.raises(SignInvalid, match=f"sign.key is not {encoding}") as raised:
        render(one, Context(fields={"api_key": Secret(key)}))
    assert "secret" not in str(raised.value)


def test_content_that_is_no_text_is_signed_byte_for_byte() -> None:
    made = make(policy(sign=HMAC, headers={"A": "{{ signature }}"}), request(b"\xff\x00\xe9"))
    wanted = hmac.new(b"k-1234", b"/a%20b?x=1&y=%2F|\xff\x00\xe9", "sha256").hexdigest()
    assert made.headers == [(b"A", wanted.encode())]


def test_what_comes_out_empty_is_left_out() -> None:
    one = policy(headers={"A": "{{ request.query }}", "B": "x"}, body={"q": "{{ request.query }}"})
    made = make(one, request(b"{}", url="https://ok.test/"), kind=b"application/json")
    assert (made.headers, made.body) == ([(b"B", b"x")], b"{}")


def test_a_value_that_needs_a_field_which_may_stay_empty_is_left_out_and_no_copy_of_it_leaves() -> None:
    one = policy(
        optional=("tenant",),
        headers={"A": "{{ tenant }}-{{ request.time }}", "B": "{{ request.time }}"},
        query={"q": "{{ tenant }}{{ request.time }}"},
    )
    made = make(one, request(url="https://ok.test/?q=mine&r=1"))
    assert ([name for name, _ in made.headers], made.query) == ([b"B"], "r=1")
    assert render(one, Context()).header_names == {b"a", b"b"}
    with pytest.raises(MissingValue, match=r"inject\.headers\.A needs it"):
        render(policy(headers={"A": "{{ other }}{{ request.time }}"}), Context())


def test_a_line_break_in_what_a_caller_sends_makes_no_header() -> None:
    with pytest.raises(InjectionInvalid, match=r"inject\.headers\.A has control characters"):
        make(policy(headers={"A": "{{ request.body }}"}), request(b"a\r\nHost: evil"))


def test_what_is_the_same_in_every_request_is_rendered_once_and_what_is_not_shows_no_secret() -> None:
    injection = render(
        policy(headers={"A": "{{ api_key }}", "B": "{{ (api_key ~ request.time) | lower | b64encode }}"}),
        Context(fields={"api_key": Secret("K-1234")}),
    )
    assert injection.headers == ((b"A", b"K-1234"),)
    assert set(injection.secrets) == {Secret("K-1234"), Secret("k-1234")}
    assert "1234" not in repr(injection) + repr(injection.anew)
    assert render(policy(headers={"A": "{{ api_key }}"}), Context(fields=KEY)).anew is None


@pytest.mark.parametrize(
    ("inject", "sign", "kind", "needed"),
    [
        ({"headers": {"A": "{{ request.time }}"}}, None, b"text/plain", False),
        ({"headers": {"A": "{{ request.body_md5 }}"}}, None, b"text/plain", True),
        ({"defaults": {"A": "{{ request.body_sha256 }}"}}, None, b"text/plain", True),
        ({"headers": {"A": "{{ signature }}"}}, {**HMAC, "text": "{{ request.url }}"}, b"text/plain", False),
        ({"headers": {"A": "{{ signature }}"}}, HMAC, None, True),
    ],
)
def test_content_is_gathered_only_where_something_needs_it(
    inject: dict[str, Any], sign: dict[str, str] | None, kind: bytes, *, needed: bool
) -> None:
    anew = render(policy(sign=sign, **inject), Context(fields=KEY)).anew
    assert anew is not None
    assert anew.needs_content(kind) is needed
