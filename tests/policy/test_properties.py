"""What holds of a policy and of what it adds, whatever stands in its file, in a field or in the caller's request."""

import base64
import json
import re
import time
from urllib.parse import parse_qsl, quote, unquote_plus

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import pattern
from gateway.policy.context import Context
from gateway.policy.fields import MAX_LENGTH
from gateway.policy.inject import Injection, InjectionInvalid, render
from gateway.policy.load import load
from gateway.policy.merge import BodyInvalid, merge_body, merge_query
from gateway.policy.template import MissingValue, Template, TemplateInvalid
from gateway.policy.url import UrlInvalid, UrlTemplate
from gateway.secret import Secret
from tests import near_misses
from tests.fuzz import targets
from tests.policy.test_load import REFERENCE

STEMS: tuple[near_misses.Parts, ...] = (
    ("https", "", "*.ok.test", "", (), ""),
    ("https", "", "*.ok.test", ":8443", ("v1",), ""),
    ("https", "", "ok.test", "", ("v1", "fetch", "https:", "", "other.test"), ""),
    ("http", "", "192.0.2.1", ":8080", ("v1", ""), ""),
    ("https", "", "{{ region }}.ok.test", "", ("{{ team }}",), ""),
)
ENTRIES = near_misses.near(STEMS) | near_misses.near(STEMS).map(lambda url: url.partition("://")[2].partition("/")[0])


@given(near_misses.slipped(ENTRIES))
def test_an_entry_is_read_shown_and_matched_as_one_or_refused(text: str) -> None:
    targets.check(b"\7" + text.encode())


@given(near_misses.slipped(st.one_of(ENTRIES, near_misses.URLS, near_misses.PATHS)))
def test_a_policy_s_url_is_read_as_a_target_is_or_refused(text: str) -> None:
    targets.check(b"\6" + text.encode())


@given(st.text(max_size=20) | st.sampled_from(near_misses.HOSTS) | near_misses.slipped(st.just("eu")))
def test_a_field_in_a_host_is_one_label_of_it(value: str) -> None:
    try:
        url = UrlTemplate.parse("https://{{ region }}.ok.test/{{ region }}").render(Context(fields={"region": value}))
    except (UrlInvalid, MissingValue, UnicodeEncodeError):
        return
    host, _, path = url.removeprefix("https://").partition("/")
    assert re.fullmatch(r"[a-z0-9-]{1,63}\.ok\.test", host)
    assert path == value


LINES = REFERENCE.read_text().splitlines()
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(LINES) - 1),
        st.sampled_from(["drop", "twice", "cut", "join", "put"]),
        st.integers(0, 40),
        st.sampled_from(
            ['"', "[", "]", "{", "{{", "}}", "=", "\\", "'''", "\n", "*", "://", "..", "| lower", "\0", "é", "1", "#"]
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(EDITS)
def test_an_edited_policy_is_right_or_has_findings_and_never_raises(edits: list[tuple[int, str, int, str]]) -> None:
    lines = list(LINES)
    for number, what, at, piece in edits:
        line = lines[number]
        lines[number] = {
            "drop": "",
            "twice": f"{line}\n{line}",
            "cut": line[:at],
            "join": line + lines[number - 1],
            "put": line[:at] + piece + line[at:],
        }[what]
    loaded = load("\n".join(lines), app="x", file="x.toml")
    assert loaded.policy is not None or loaded.findings


TEMPLATE_PIECES = (
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "fields",
        "token",
        ".",
        "api_key",
        "[",
        "]",
        "'",
        '"',
        "0",
        "999999999999",
        "|",
        "lower",
    ),
    *(
        "b64encode",
        "urlencode",
        "default(",
        "'us'",
        ")",
        "(",
        "~",
        " ",
        "\n",
        "-",
        "+",
        "__class__",
        "items",
        "text",
        "é",
        "\\",
        "if",
        "for",
    ),
    *("x in y", "raw", "endraw", "**", "//", ",", ":", "lambda", "True", "none", "1.5", "a:b"),
)


@given(st.lists(st.sampled_from(TEMPLATE_PIECES), max_size=14).map("".join) | st.text(max_size=30))
def test_any_text_is_a_template_that_renders_or_says_why_not(text: str) -> None:
    try:
        template = Template.parse(text)
        out = template.render(Context(fields={"api_key": Secret("k"), "x": "y"}, token={"items": ["a"]}))
    except (TemplateInvalid, MissingValue):
        return
    assert isinstance(out, str)
    if "{" not in text:
        assert out == text


@given(
    st.lists(
        st.sampled_from([*"ab().*+?{}[]|^$\\", "(?:", "{2,9}", "\\d", "(?=", "\\1", "[^", "{,99999999999}", "(?i)"]),
        max_size=12,
    ).map("".join)
)
def test_any_pattern_is_quick_or_refused(text: str) -> None:
    try:
        pattern.check(text)
    except pattern.PatternInvalid:
        return
    start = time.process_time()
    pattern.matches(text, "a" * MAX_LENGTH + "b")
    assert time.process_time() - start < 1


POLICY = load(
    'name = "X"\n[allow]\nurls = ["ok.test"]\n[[fields]]\nname = "k"\nsecret = true\n[auth]\ngrant = "api_key"\n'
    '[inject.headers]\nAuthorization = "Bearer {{ k }}"\nX-K = "{{ k }}"\n[inject.query]\nkey = "{{ k }}"\n'
    '[inject.body]\nversion = "{{ k }}"\nn = { m = ["{{ k }}"] }\n',
    app="x",
    file="x.toml",
).policy


@given(
    st.text(min_size=1, max_size=20)
    | st.lists(
        st.sampled_from(["\r\n", "\n", "\r", "\0", "a", ":", " ", "\t", "é", "\ud800", "&", "x=", "%"]),
        min_size=1,
        max_size=6,
    ).map("".join)
)
def test_a_value_that_is_injected_adds_what_the_policy_says_and_nothing_else(value: str) -> None:
    """A credential with a line break in it must not become a field of its own."""
    assert POLICY is not None
    try:
        added = render(POLICY, Context(fields={"k": Secret(value)}))
    except (InjectionInvalid, MissingValue, UnicodeEncodeError):
        return
    lines = added.header_lines.split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines] == [b"Authorization", b"X-K", b""]
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", b"".join(lines))
    assert parse_qsl(added.query_suffix, keep_blank_values=True, encoding="utf-8") == [("key", value)]
    assert json.loads(b"{" + added.json_suffix + b"}") == {"version": value, "n": {"m": [value]}}
    assert parse_qsl(added.form_suffix.decode(), keep_blank_values=True)[0] == ("version", value)
    assert {Secret(value), Secret(f"Bearer {value}")} <= set(added.secrets)


OURS = Injection(
    query=((b"key", b"k1"), (b"access_token", b"t")),
    query_names=frozenset({b"key", b"access_token"}),
    body={"version": "v2", "access_token": "t"},
)
NAMES = (
    "key",
    "KEY",
    "Key",
    "version",
    "VerSion",
    "ver\u017fion",
    "access_token",
    "access-token",
    "\u212aey",
    "a",
    "",
    "keys",
    "xkey",
    "key.",
)


def _escaped(name: str, marks: list[int]) -> str:
    """A JSON string of it: each character as itself or as an escape, in capitals or not."""
    forms = [lambda char: char, lambda char: f"\\u{ord(char):04x}", lambda char: f"\\u{ord(char):04X}"]
    return '"' + "".join(forms[mark % 3](char) for char, mark in zip(name, marks, strict=False)) + '"'


MARKS = st.lists(st.integers(0, 5), min_size=12, max_size=12)
VALUES = st.sampled_from(
    [
        '"x"',
        "1",
        "1.0e5",
        "null",
        '{"version":1}',
        '["version", {"a": "}"}]',
        '"\\"version\\":2"',
        '""',
        '"\\\\"',
        '",\\"n"',
    ]
)
BLANKS = st.sampled_from(["", "", " ", "\n", "\t\r\n"])


@given(st.lists(st.tuples(st.sampled_from(NAMES), MARKS, VALUES, BLANKS, BLANKS), max_size=5), BLANKS)
def test_however_a_member_s_name_is_escaped_and_repeated_ours_is_the_only_one(
    members: list[tuple[str, list[int], str, str, str]], around: str
) -> None:
    """As every reader sees it: the one that takes the first of two members, and the one that takes the last."""
    body = "{" + ",".join(f"{a}{_escaped(name, marks)}{b}:{a}{value}{b}" for name, marks, value, a, b in members) + "}"
    merged = merge_body(OURS, b"application/json", f"{around}{body}{around}".encode())
    assert merged is not None
    pairs = json.loads(merged, object_pairs_hook=lambda found: found)
    assert [(name, value) for name, value in pairs if name.casefold() in ("version", "access_token")] == [
        ("version", "v2"),
        ("access_token", "t"),
    ]
    theirs = [(name, json.loads(value, object_pairs_hook=lambda found: found)) for name, _, value, _, _ in members]
    assert pairs[:-2] == [one for one in theirs if one[0].casefold() not in ("version", "access_token")]
    assert orjson.loads(merged)["version"] == "v2"


def _percent(name: str, marks: list[int]) -> str:
    """It in a query: each character as itself, percent-encoded, or percent-encoded in capitals."""

    def one(char: str, mark: int) -> str:
        encoded = "".join(f"%{byte:02x}" for byte in char.encode())
        plain = char.isalnum() and char.isascii()
        return char if mark % 3 == 0 and plain else encoded.upper() if mark % 3 == 1 else encoded

    return "".join(one(char, mark) for char, mark in zip(name, marks, strict=False))


BEFORE_NAME = st.sampled_from(["", "", "", "+", "%20", "%09", "%00", " "])
BEHIND_NAME = st.sampled_from(["", "", "[]", "%5B%5D", "[0][a]", "%00x", "+", "%20", ".x"])
PARAMETERS = st.lists(
    st.tuples(
        BEFORE_NAME,
        st.sampled_from(NAMES),
        MARKS,
        BEHIND_NAME,
        st.sampled_from(["", "=", "=1", "==", "=%zz", "=%26key%3D2"]),
        st.sampled_from("&&;"),
    ),
    max_size=5,
).map(
    lambda parts: "".join(
        f"{before}{_percent(name, marks)}{behind}{value}{mark}" for before, name, marks, behind, value, mark in parts
    )
)


def _readings(text: str) -> list[list[tuple[str, str]]]:
    """The parameters as servers read them: parted by `;` too or not, with what PHP cuts off a name, and with blanks."""
    found = []
    for separators in ("&", "&;"):
        pairs = [one.partition("=")[::2] for one in re.split(f"[{separators}]", text) if one]
        plain = [(unquote_plus(name, errors="replace"), value) for name, value in pairs]
        found += [
            plain,
            [(name.strip(), value) for name, value in plain],
            [(name.lstrip().partition("[")[0].partition("\0")[0], value) for name, value in plain],
        ]
    return found


@given(PARAMETERS)
def test_however_a_parameter_s_name_is_written_ours_is_the_only_one(query: str) -> None:
    merged = merge_query(OURS, query)
    assert merged is not None
    for pairs in _readings(merged):
        assert [pair for pair in pairs if pair[0].casefold() in ("key", "access_token")] == [
            ("key", "k1"),
            ("access_token", "t"),
        ]
    kept = iter(query)
    assert all(char in kept for char in merged.removesuffix("key=k1&access_token=t").removesuffix("&"))


@given(PARAMETERS)
def test_however_a_form_s_field_is_written_ours_is_the_only_one(form: str) -> None:
    try:
        merged = merge_body(OURS, b"application/x-www-form-urlencoded", form.encode())
    except BodyInvalid:
        return
    if merged is None:
        assert not form
        return
    for pairs in _readings(merged.decode()):
        assert [pair for pair in pairs if pair[0].casefold() in ("version", "access_token")] == [
            ("version", "v2"),
            ("access_token", "t"),
        ]


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"{", b"}", b"[", b'"version"', b'"', b":", b",", b"1", b"\\", b"\\u0076", b" ", b"\xff", b"\0", b"null"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_any_body_is_merged_refused_or_left_alone(body: bytes) -> None:
    """What is left alone is no object to any JSON reader."""
    try:
        merged = merge_body(OURS, b"application/json", body)
    except BodyInvalid:
        return
    if merged is None:
        assert not body or not isinstance(json.loads(body), dict)
        return
    assert json.loads(merged)["version"] == "v2"


@given(
    st.text(st.characters(codec="ascii"), max_size=12),
    st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain", ""]),
    st.text(st.characters(codec="latin-1"), max_size=12),
)
def test_any_content_type_is_read_or_refused(before: str, kind: str, after: str) -> None:
    """What a forgiving server might take for JSON never goes out without our member."""
    field = (before + kind + after).encode("latin-1")
    try:
        merged = merge_body(OURS, field, b'{"version":"v1"}')
    except BodyInvalid:
        return
    first = field.partition(b";")[0].strip(b" \t").lower()
    if first in (b"application/json", b"application/x-www-form-urlencoded"):
        assert merged is not None
        assert b'"version":"v2"' in merged or merged.endswith(b"version=v2&access_token=t")


@given(st.binary(max_size=30))
def test_basic_is_what_the_standard_says(value: bytes) -> None:
    """`b64encode` of any text a field may hold is RFC 4648's."""
    text = value.decode("latin-1")
    out = Template.parse("{{ k | b64encode }}").render(Context(fields={"k": text or "x"}))
    assert base64.b64decode(out, validate=True).decode() == (text or "x")
    assert quote(text or "x", safe="-._~") == Template.parse("{{ k | urlencode }}").render(
        Context(fields={"k": text or "x"})
    )
