"""Merging into the caller's query and body: no copy of an injected name survives, all other bytes do."""

import contextlib
import itertools
import json
import time
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.inject import Injection
from gateway.policy.merge import (
    BodyInvalid,
    _kept_members,
    _without_members,
    merge_body,
    merge_query,
    mergeable,
)

QUERY = Injection(query=((b"api_key", b"k%201"),), query_names=frozenset({b"api_key"}))
BODY = Injection(body={"version": "v2", "n": 3})
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
OURS = b'"version":"v2","n":3'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (None, "api_key=k%201"),
        ("", "api_key=k%201"),
        ("a=1", "a=1&api_key=k%201"),
        ("a=1&&b=%zz&c", "a=1&&b=%zz&c&api_key=k%201"),
        ("api_key=evil", "api_key=k%201"),
        ("api_key", "api_key=k%201"),
        ("a=1&api_key=x&b=2&api_key=y", "a=1&b=2&api_key=k%201"),
        ("API_KEY=x&Api_Key=y", "api_key=k%201"),
        ("%61pi_key=x&api%5Fkey=y&api%5fkey=z", "api_key=k%201"),
        ("a=1;api_key=x;b=2", "a=1;b=2&api_key=k%201"),
        ("api_key=x;b=2", "b=2&api_key=k%201"),
        ("api_key[]=x&api_key%5B0%5D=y&api_key[a][b]=z", "api_key=k%201"),
        ("+api_key=x&%20api_key=y&api_key%00z=1", "api_key=k%201"),
        ("xapi_key=1&api_keyx=2&a=api_key", "xapi_key=1&api_keyx=2&a=api_key&api_key=k%201"),
        ("a=b=api_key=c", "a=b=api_key=c&api_key=k%201"),
        ("ap\u0131_key=1", "ap\u0131_key=1&api_key=k%201"),
        ("api_%E2%84%AAey=1", "api_key=k%201"),
    ],
)
def test_the_caller_s_copies_in_a_query_are_replaced(query: str | None, expected: str) -> None:
    assert merge_query(QUERY, query) == expected


def test_without_injection_nothing_is_touched() -> None:
    nothing = Injection()
    assert merge_query(nothing, "a=1&") == "a=1&"
    assert merge_query(nothing, None) is None
    assert merge_body(nothing, JSON, b"not json") is None


CASES_OF_A_NAME = ["".join(letters) for letters in itertools.product(*((c, c.upper()) for c in "abcdefghijklmno"))]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'{"' + b'\\"' * 500_000),
        (JSON, b'{"' + b"\\" * 999_999),
        (JSON, b'{"a":' * 200_000),
        (JSON, ("{" + ",".join(f'"{name}":1' for name in CASES_OF_A_NAME) + "}").encode()),
        (JSON, b"{" + b" " * 500_000 + b'"abcdefghijklmno"' + b" " * 400_000 + b":1}"),
        (JSON, b'{"\\u0061bcdefghijklmno":1' + b',"a":1' * 350_000 + b"}"),
        (FORM, "&".join(f"{name}=1" for name in CASES_OF_A_NAME).encode()),
        (FORM, b"&" * 1_000_000),
        (JSON + b";" * 60_000, b"{}"),
        (JSON + b" ;" * 30_000 + b"x", b"{}"),
        (JSON + b';a="' * 15_000, b"{}"),
        (b"json," * 12_000, b"{}"),
    ],
    ids=[
        *["escapes", "backslashes", "deep", "cases", "blanks", "members"],
        *["form cases", "empty", "; type", " ; type", "=", "types"],
    ],
)
def test_no_body_takes_longer_than_its_length_is_worth(kind: bytes, body: bytes) -> None:
    """A megabyte, the limit of what is rewritten, or two, made to be gone over again and again."""
    injection = Injection(body={"abcdefghijklmno": 1})
    start = time.process_time()
    with contextlib.suppress(BodyInvalid):
        merge_body(injection, kind, body)
    assert time.process_time() - start < 3


NAMES = st.one_of(st.sampled_from(["api_key", "API_KEY", "a", "b", ""]), st.text(max_size=8))


def _spelling(draw: st.DrawFn, name: str) -> str:
    """One of the ways to write a name: each character plain, or percent-encoded where it may be."""
    return "".join(
        quote(char, safe="") if not char.isascii() or not char.isalnum() or draw(st.booleans()) else char
        for char in name
    )


@st.composite
def queries(draw: st.DrawFn) -> str:
    pairs = [
        _spelling(draw, draw(NAMES)) + draw(st.sampled_from(["", "=", "=1", "=%zz"]))
        for _ in range(draw(st.integers(0, 6)))
    ]
    return "".join(pair + draw(st.sampled_from("&;")) for pair in pairs)


@given(queries())
def test_an_injected_name_never_survives_from_the_caller(query: str) -> None:
    """As the strictest and the most forgiving of two readers see it: only our value is left, the rest in order."""
    merged = merge_query(QUERY, query)
    assert merged is not None
    for separator in "&;":
        seen = [
            value
            for name, value in parse_qsl(merged, separator=separator, keep_blank_values=True)
            if name.lower() == "api_key"
        ]
        assert seen in (["k 1"], []) if separator == ";" else seen == ["k 1"]
    assert merged.endswith("api_key=k%201")
    kept = iter(query)
    assert all(char in kept for char in merged.removesuffix("api_key=k%201").removesuffix("&"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', b'{"a":1,' + OURS + b"}"),
        (b"{}", b"{" + OURS + b"}"),
        (b" { } \n", b" { " + OURS + b"} \n"),
        (
            b'{"a" : 1.000, "big":123456789012345678901234567890, "e":1E400 }\r\n',
            b'{"a" : 1.000, "big":123456789012345678901234567890, "e":1E400 ,' + OURS + b"}\r\n",
        ),
        (b'{"version":"v1"}', b"{" + OURS + b"}"),
        (b'{"a":1.0,"version":"v1", "b":[{"version":1}] }', b'{"a":1.0, "b":[{"version":1}] ,' + OURS + b"}"),
        (b'{"\\u0076ersion":"v1","version":2,"VERSION":3,"ver\\u017fion":4,"x":5}', b'{"x":5,' + OURS + b"}"),
        (b'{"a":"}","version":{"b":["]",",\\"",{}]},"c":"\\\\"}', b'{"a":"}","c":"\\\\",' + OURS + b"}"),
        (b'{"a":{"version":1}}', b'{"a":{"version":1},' + OURS + b"}"),
        (b'{"a":"version"}', b'{"a":"version",' + OURS + b"}"),
        (b'{"a":"\\ud800","version":1}', b'{"a":"\\ud800",' + OURS + b"}"),
        (b'{"a":' + b"9" * 5000 + b"}", b'{"a":' + b"9" * 5000 + b"," + OURS + b"}"),
        (b'{"a":1,"a":2,"n":0}', b'{"a":1,"a":2,' + OURS + b"}"),
    ],
)
def test_a_json_object_gets_our_members_and_keeps_its_own_bytes(body: bytes, expected: bytes) -> None:
    assert merge_body(BODY, JSON, body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b'"version"',
        b"null",
        b"1",
    ],
)
def test_json_that_is_no_object_and_an_empty_body_pass_untouched(body: bytes) -> None:
    assert merge_body(BODY, JSON, body) is None


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b'{"a":1}}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":1,}',
        b'{"a":01}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\xff"}',
        b'{"a":1}{"version":1}',
        b'{"a":1}\0',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"a=1&version=2",
        b'{"a":"\x00"}',
        b"/**/{}",
    ],
)
def test_what_is_declared_as_json_and_can_not_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(BodyInvalid):
        merge_body(BODY, JSON, body)


@pytest.mark.parametrize(
    ("kind", "merged"),
    [
        (b"application/json", True),
        (b"Application/JSON ; Charset=UTF-8", True),
        (b'application/json;charset="utf-8"', True),
        (b"application/vnd.api+json", True),
        (b"application/problem+json; a=b; charset=us-ascii", True),
        (b"text/json", True),
        (b"application/json;", True),
        (b"text/plain", False),
        (b"application/jsonl", False),
        (b"application/x-ndjson", False),
        (b"multipart/form-data; boundary=x", False),
        (None, False),
        (b"", False),
        (b"nonsense", False),
        (b"application/octet-stream; name=application/json", False),
    ],
)
def test_the_content_type_says_what_is_json(kind: bytes | None, *, merged: bool) -> None:
    assert (merge_body(BODY, kind, b"{}") is not None) == merged


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json; charset=utf-16",
        b"application/json; charset=utf-8; charset=utf-16",
        b'application/json; charset="utf-7"',
        b"application/json, text/plain",
        b"text/plain, application/json",
        b"application/json; charset",
        b"application/json\x00",
        b"application/x-www-form-urlencoded; charset=ibm037",
        b"application/x-www-form-urlencoded;charset=utf-16le",
    ],
)
def test_a_content_type_that_two_readers_would_read_differently_is_refused(kind: bytes) -> None:
    with pytest.raises(BodyInvalid):
        merge_body(BODY, kind, b"{}")
    assert mergeable(kind)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1", b"a=1&version=v2&n=3"),
        (b"a=%zz&b=\xc3\xa9&c", b"a=%zz&b=\xc3\xa9&c&version=v2&n=3"),
        (b"version=1&a=1&%76ersion=2;VERSION=3&n[]=4\r\n", b"a=1&version=v2&n=3"),
    ],
)
def test_a_form_gets_our_parameters_and_keeps_its_own_bytes(body: bytes, expected: bytes) -> None:
    assert merge_body(BODY, FORM, body) == expected


@pytest.mark.parametrize("body", [b"a=1\0", "a=1".encode("utf-16"), b"\xef\xbb\xbfversion=1"])
def test_a_form_in_another_encoding_is_refused(body: bytes) -> None:
    with pytest.raises(BodyInvalid):
        merge_body(BODY, FORM, body)


def test_form_values_that_are_no_texts_are_json() -> None:
    injection = Injection(body={"a": True, "b": {"c": [1]}, "d e": "x&y"})
    assert merge_body(injection, FORM, b"z=1") == b"z=1&a=true&b=%7B%22c%22%3A%5B1%5D%7D&d%20e=x%26y"


KEYS = st.one_of(
    st.sampled_from(["version", "VERSION", "n", "a"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=6), st.sampled_from(["escape", ""]), st.sampled_from(["", " ", "\n\t"])
)
def test_merged_json_is_ours_and_what_was_not_ours(members: list[tuple[str, object]], escape: str, blank: str) -> None:
    """Each injected name is there once, with our value; every other member keeps its place and bytes."""
    write = json.JSONEncoder(ensure_ascii=bool(escape)).encode
    texts = [
        (
            key,
            f"{blank}{write(key)}{blank}:{blank}{write(value)}{blank}",
        )
        for key, value in members
    ]
    body = ("{" + ",".join(text for _, text in texts) + "}").encode()
    merged = merge_body(BODY, JSON, body)
    assert merged is not None
    kept = [text for key, text in texts if key.casefold() not in ("version", "n")]
    separator = "," if kept else ""
    assert merged.decode() == "{" + ",".join(kept) + separator + OURS.decode() + "}"
    pairs = json.loads(merged, object_pairs_hook=lambda found: found)
    assert [value for key, value in pairs if key.casefold() == "version"] == ["v2"]


BLANK = st.text(" \t\n\r", max_size=2)
TEXTS = st.recursive(
    st.sampled_from(["1", "-2.50e3", '"x"', '"version"', '"b,}"', '"\\u0041"', "null", '"é"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{' , '.join(items)}]")
        | st.lists(st.tuples(st.sampled_from("vnxy"), inner), max_size=3).map(
            lambda members: "{" + ",".join(f'"{name}" : {value}' for name, value in members) + "}"
        )
    ),
    max_leaves=6,
)
MEMBERS = st.lists(st.tuples(BLANK, st.sampled_from("vnxyz"), BLANK, TEXTS, BLANK), min_size=1, max_size=5)


@given(MEMBERS)
def test_a_member_dropped_by_its_one_place_leaves_the_bytes_that_reading_them_all_leaves(
    members: list[tuple[str, str, str, str, str]],
) -> None:
    text = "{" + ",".join(f'{a}"{name}"{b}: {value}{c}' for a, name, b, value, c in members) + "} "
    value = json.loads(text)
    ours = [name for name in value if name in "vn"]
    without = _without_members(text, ours)
    assert json.loads(without) == {name: one for name, one in value.items() if name not in ours}
    if ours:
        assert without == _kept_members(text, frozenset(ours))


def test_a_collision_too_deep_to_be_read_is_refused() -> None:
    deep = b'{"n": 1, "a": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    with pytest.raises(BodyInvalid, match="deep"):
        merge_body(BODY, JSON, deep.replace(b'"a"', b'"version"'))


@pytest.mark.parametrize("name", [",", ":", "},{", " , ", ""])
def test_a_name_that_looks_like_what_stands_between_strings_is_found_where_it_is(name: str) -> None:
    injection = Injection(body={name: 1})
    body = json.dumps({"a": "b", "c": ["d", "e"], name: "theirs", "f": {"g": "h"}})
    merged = merge_body(injection, JSON, body.encode())
    assert merged is not None
    assert json.loads(merged) == {"a": "b", "c": ["d", "e"], "f": {"g": "h"}, name: 1}


LEFT_OUT = Injection(query_names=frozenset({b"gone"}), body_names=frozenset({"gone"}))


@pytest.mark.parametrize(
    ("query", "expected"),
    [(None, None), ("", ""), ("gone=1", None), ("a=1&GONE[]=2&b", "a=1&b"), ("a", "a")],
)
def test_of_what_is_left_out_no_copy_in_the_query_stays(query: str | None, expected: str | None) -> None:
    assert merge_query(LEFT_OUT, query) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (b"application/json", b'{"gone": 1}', b"{}"),
        (b"application/json", b'{"a": 1, "Gone": 1}', b'{"a": 1}'),
        (b"application/json", b'{"a": 1}', b'{"a": 1}'),
        (b"application/x-www-form-urlencoded", b"gone=1&a=2", b"a=2"),
        (b"application/x-www-form-urlencoded", b"gone=1", b""),
    ],
)
def test_of_what_is_left_out_no_copy_in_the_body_stays(kind: bytes, body: bytes, expected: bytes) -> None:
    assert merge_body(LEFT_OUT, kind, body) == expected
