"""Merging: our parameters into the caller's query and body, so that no copy of the caller's survives.

What an attacker controls is everything but our own names: so each name is read as a forgiving server might read it
(decoded, case folded, behind ";" as well as "&", with PHP's brackets), and what can't be read for sure is refused.
What is not removed stays as the caller wrote it, byte for byte: numbers keep their digits, members their order and
blanks.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, unquote_plus

import orjson

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  RFC 9110 §5.6.2: a word, not a password
_MEDIA_TYPE = re.compile(
    rf'[ \t]*({_TOKEN}/{_TOKEN})((?:[ \t]*;(?:[ \t]*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))?)*)[ \t]*', re.ASCII
)  # §8.3.1
_CHARSET = re.compile(r"""[;\s]charset=("?)([^";\s]*)\1""", re.ASCII | re.IGNORECASE)
_FORM = "application/x-www-form-urlencoded"
_JSON = re.compile(r"(?:application|text)/json|[^/]+/[^/]+\+json", re.ASCII)
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_FORM_CHARSETS = _UTF_8 | {"iso-8859-1", "latin1", "windows-1252"}  # ASCII's bytes mean ASCII; in IBM037 they would not
_NAMES_OURS = re.compile(r"json|x-www-form-urlencoded", re.IGNORECASE)
_DEEPEST = 900  # below what Python's reader takes in any version
_USUAL = 64  # bytes of a Content-Type that is remembered
_BLANKS = b" \t\n\r"  # RFC 8259 §2
_BLANK_TEXT = _BLANKS.decode()
_BLANK = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_VALUES = json.JSONDecoder(parse_int=str, parse_float=str)  # what a number is worth doesn't matter, where it ends does
_WORD = re.compile(r"[\w.-]+")
_in_json = json.JSONEncoder(ensure_ascii=False).encode
# Possessive, and a string may be cut off: nothing is ever gone over a second time, whatever a body is made of.
_STRING_OR_MARK = re.compile(rb'"(?:[^"\\]+|\\.?)*+"?|[{}\[\],]', re.DOTALL)
_FEW = 8  # members that are taken out one by one; more of them are sorted out in one go


class BodyInvalid(ValueError):
    """The body is declared as JSON or a form and can't be read as one, so what it says can't be known."""


class _Injection(Protocol):
    """What merging needs of an `Injection`."""

    @property
    def query_keys(self) -> frozenset[str]: ...
    @property
    def body_keys(self) -> frozenset[str]: ...
    @property
    def form_keys(self) -> frozenset[str]: ...
    @property
    def query_suffix(self) -> str: ...
    @property
    def json_suffix(self) -> bytes: ...
    @property
    def form_suffix(self) -> bytes: ...


def merge_query(injection: _Injection, query: str | None) -> str | None:
    """Return the query with the caller's copies of injected names removed and ours appended; all else as it was."""
    if not injection.query_keys:
        return query
    kept = _without(query, injection.query_keys) if query else ""
    ours = injection.query_suffix
    if not kept and not ours:  # all that there was is left out, and we have nothing either
        return None if query else query
    return f"{kept}&{ours}" if kept and ours else kept or ours


def merge_body(injection: _Injection, content_type: bytes | None, body: bytes) -> bytes | None:
    """Return the body with our members in it, or None where it stays untouched. Raises `BodyInvalid`.

    `content_type` is the one Content-Type field; `body` the whole content, not encoded. Untouched are an empty body,
    other content types, and JSON that is no object.
    """
    if not injection.body_keys or not body or content_type is None:
        return None
    kind, charset = _media_type(content_type)
    if kind == _FORM:
        return _merge_form(injection, charset, body)
    if _JSON.fullmatch(kind):
        return _merge_json(injection, charset, body)
    return None


def mergeable(content_type: bytes | None) -> bool:
    """Whether a body of this type takes parameters; others pass untouched. A malformed type is said on merging."""
    if content_type is None:
        return False
    try:
        kind, _ = _media_type(content_type)
    except BodyInvalid:
        return True
    return kind == _FORM or _JSON.fullmatch(kind) is not None


def is_form(content_type: bytes | None) -> bool:
    """Whether a body of this type is a form."""
    if content_type is None:
        return False
    try:
        return _media_type(content_type)[0] == _FORM
    except BodyInvalid:
        return False


def json_suffix(members: Mapping[str, Any]) -> bytes:
    """Our members as JSON, without the braces; empty for none."""
    return orjson.dumps(dict(members))[1:-1]


def form_suffix(members: Mapping[str, Any]) -> bytes:
    """Our members as a form; numbers, lists and tables as JSON has them."""
    return "&".join(f"{_quoted(name)}={_quoted(_form_text(value))}" for name, value in members.items()).encode("ascii")


def parameter_name(raw: str) -> str:
    """A parameter's name as a forgiving server reads it: decoded, without what PHP cuts off, case folded."""
    if "%" in raw or "+" in raw:
        raw = unquote_plus(raw, errors="replace")
    return raw.partition("[")[0].partition("\0")[0].strip().casefold()


def _media_type(field: bytes) -> tuple[str, str | None]:
    return _usual_media_type(field) if len(field) <= _USUAL else _read_media_type(field)


@lru_cache(maxsize=256)
def _usual_media_type(field: bytes) -> tuple[str, str | None]:
    return _read_media_type(field)


def _read_media_type(field: bytes) -> tuple[str, str | None]:
    text = field.decode("latin-1")
    match = _MEDIA_TYPE.fullmatch(text)
    if match is None:
        if any(_NAMES_OURS.search(kind.partition(";")[0]) for kind in text.split(",")):
            raise BodyInvalid("the Content-Type is malformed")
        return "", None
    charsets = [found[2].lower() for found in _CHARSET.finditer(match[2])]
    if len(charsets) > 1:
        return match[1].lower(), "several"
    return match[1].lower(), charsets[0] if charsets else None


def _merge_form(injection: _Injection, charset: str | None, body: bytes) -> bytes:
    if charset is not None and charset not in _FORM_CHARSETS:
        raise BodyInvalid(f"a form in the charset {charset!r} can't be merged; send utf-8")
    if b"\0" in body or body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise BodyInvalid("the form has NUL bytes or a byte order mark; send plain utf-8")
    kept = _without(body.decode("latin-1").rstrip("\r\n"), injection.form_keys).encode("latin-1")
    return kept + b"&" + injection.form_suffix if kept and injection.form_suffix else kept or injection.form_suffix


def _without(text: str, names: frozenset[str]) -> str:
    """Drop the parameters with these names, with one separator each. Nothing dropped: the same text."""
    pieces = re.split("([&;])", text)  # parameter, separator, parameter, …
    if not any(parameter_name(piece.partition("=")[0]) in names for piece in pieces[::2]):
        return text
    kept: list[str] = []
    for index in range(0, len(pieces), 2):
        if parameter_name(pieces[index].partition("=")[0]) not in names:
            kept += [pieces[index - 1], pieces[index]] if kept else [pieces[index]]
    return "".join(kept)


def _merge_json(injection: _Injection, charset: str | None, body: bytes) -> bytes | None:
    if charset is not None and charset not in _UTF_8:
        raise BodyInvalid(f"JSON in the charset {charset!r} can't be merged; send utf-8 (RFC 8259 §8.1)")
    value = _read_json(body)
    if not isinstance(value, dict):
        return None
    ours = [key for key in value if key.casefold() in injection.body_keys]
    if ours:
        body = _without_members(body.decode(), ours).encode()
    head = body.rstrip(_BLANKS)[:-1]
    separator = b"," if len(value) > len(ours) and injection.json_suffix else b""
    return head + separator + injection.json_suffix + body[len(head) :]


def _read_json(body: bytes) -> Any:
    """Read JSON by RFC 8259's grammar. orjson is fast, but refuses some numbers and escapes that are valid."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = error.msg
    if _depth(body) > _DEEPEST:
        raise BodyInvalid(f"the body nests more than {_DEEPEST} levels deep")
    try:
        return json.loads(body.decode(), parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BodyInvalid(f"the body is declared as JSON and is none: {reason}") from None


def _depth(text: bytes) -> int:
    """Return how deep objects and arrays nest: Python's own limit differs from version to version."""
    depth = deepest = 0
    for found in _STRING_OR_MARK.finditer(text):
        if found[0] in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in b"}]":
            depth -= 1
    return deepest


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _without_members(text: str, names: list[str]) -> str:
    """Drop an object's members with these (decoded) names; the rest stays as it was, blanks and order too."""
    if len(names) > _FEW:
        return _kept_members(text, frozenset(names))
    for name in names:
        literal = _in_json(name)
        if "\\" in text or text.count(literal) > 1 or not _WORD.fullmatch(name):
            # It may be spelled in another way, or stand elsewhere too: what is between two strings is no word.
            return _kept_members(text, frozenset(names))
        name_at = text.index(literal)
        start, end = len(text[:name_at].rstrip(_BLANK_TEXT)), _end(text, name_at + len(literal))
        if text[end] == "}" and text[start - 1] == ",":
            start -= 1
        text = text[:start] + text[end + 1 if text[end] == "," else end :]
    return text


def _kept_members(text: str, names: frozenset[str]) -> str:
    """The same, for any object: by reading each of its members."""
    brace = end = text.index("{")
    kept: list[str] = []
    while text[end] != "}":
        start = end + 1
        name, colon = _VALUES.raw_decode(text, _behind(_BLANK, text, start))
        end = _end(text, colon)
        if name not in names:
            kept.append(text[start:end])
    return text[: brace + 1] + ",".join(kept) + text[end:]


def _end(text: str, colon: int) -> int:
    """Return where a member ends, at the comma or brace behind it. `colon` is right behind its name."""
    try:
        _, end = _VALUES.raw_decode(text, _behind(_COLON, text, colon))
    except RecursionError:
        raise BodyInvalid(f"the body nests more than {_DEEPEST} levels deep") from None
    return _behind(_BLANK, text, end)


def _behind(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match is not None else at


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="-._~")
