"""What holds of every target and every secret, whatever an attacker or a service writes."""

import base64
import json
import re
from itertools import pairwise
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.scrub import MIN_SECRET, Scrubber
from gateway.http.target import TargetInvalid, parse_authority, parse_target
from gateway.secret import Secret
from tests import near_misses
from tests.fuzz import targets


@given(near_misses.URLS)
def test_a_target_leads_where_others_would_read_it_to_lead_or_is_refused(url: str) -> None:
    targets.check(b"\0" + url.encode())


@given(near_misses.slipped(near_misses.AUTHORITIES), st.sampled_from(b"\3\5"))
def test_an_authority_and_a_host_are_read_as_in_a_url_or_refused(text: str, kind: int) -> None:
    targets.check(bytes([kind]) + text.encode())


@given(near_misses.slipped(near_misses.PATHS))
def test_an_origin_form_is_read_as_in_a_url_or_refused(text: str) -> None:
    targets.check(b"\4" + text.encode())


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.integers(0, 7))
def test_any_text_is_read_or_refused(text: str, kind: int) -> None:
    targets.check(bytes([kind]) + text.encode())


@given(near_misses.URLS)
def test_a_target_of_a_connect_and_of_a_url_are_the_same_origin(url: str) -> None:
    """What a tunnel is decided on is what the requests inside it are held against."""
    try:
        target = parse_target(url)
    except TargetInvalid:
        return
    text = (
        target.authority if target.origin.authority.endswith(f":{target.port}") else f"{target.authority}:{target.port}"
    )
    assert parse_authority(text) == (target.host, target.port)


HEADER_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=MIN_SECRET, max_size=24).filter(
    lambda text: text == text.strip(" \t") and len(text.encode()) >= MIN_SECRET
)
AROUND = st.binary(max_size=7)


def _base64(secret: bytes, before: bytes, after: bytes) -> bytes:
    return base64.b64encode(before + secret + after)


def _base64url(secret: bytes, before: bytes, after: bytes) -> bytes:
    return base64.urlsafe_b64encode(before + secret + after)


def _lower_hex(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(text, safe=""))


SPELLED = {
    "plain": lambda secret, before, after: before + secret.encode() + after,
    "percent": lambda secret, before, after: before + quote(secret, safe="").encode() + after,
    "percent but slashes": lambda secret, before, after: before + quote(secret).encode() + after,
    "percent in lower case": lambda secret, before, after: before + _lower_hex(secret).encode() + after,
    "form": lambda secret, before, after: before + quote_plus(secret).encode() + after,
    "json": lambda secret, before, after: before + json.dumps(secret)[1:-1].encode() + after,
    "base64": lambda secret, before, after: _base64(secret.encode(), before, after),
    "base64url": lambda secret, before, after: _base64url(secret.encode(), before, after),
}


@given(HEADER_TEXT, st.sampled_from(sorted(SPELLED)), AROUND, AROUND, st.lists(st.integers(0, 80), max_size=4))
def test_a_secret_in_any_spelling_cut_anywhere_never_passes(
    secret: str, kind: str, before: bytes, after: bytes, cuts: list[int]
) -> None:
    """Bytes of it that base64 shares with what stands beside it are left; they are no secret by themselves."""
    data = SPELLED[kind](secret, before, after)
    scrubber = Scrubber([Secret(secret)])
    stream = scrubber.stream()
    edges = [0, *sorted(cuts), len(data)]
    out = b"".join(stream.feed(data[start:end]) for start, end in pairwise(edges)) + stream.flush()
    assert out == scrubber.text(data)
    assert len(out) == len(data)
    assert not _is_readable(out, secret, kind)


def _is_readable(out: bytes, secret: str, kind: str) -> bool:
    """Whether somebody who knows how it is spelled can still read it."""
    raw = secret.encode()
    if not kind.startswith("base64"):
        return SPELLED[kind](secret, b"", b"") in out
    decode = base64.b64decode if kind == "base64" else base64.urlsafe_b64decode
    return len(raw) > 5 and raw in decode(out.replace(b"*", b"A"))


PIECES = ("abcd", "abcde", "abcdefgh", "cdef", "a", "b", "ab", "ef", "gh", " ", "*", "bcda")


@given(
    st.lists(
        st.sampled_from(["abcd", "abcde", "abcdefgh", "cdefghij", "bcda", "aaaa", "aaaaaa"]), min_size=1, max_size=3
    ),
    st.lists(st.sampled_from(PIECES), max_size=8),
)
def test_secrets_that_begin_alike_are_found_in_pieces_as_in_the_whole(secrets: list[str], pieces: list[str]) -> None:
    scrubber = Scrubber([Secret(one) for one in secrets])
    stream = scrubber.stream()
    out = b"".join(stream.feed(piece.encode()) for piece in pieces) + stream.flush()
    assert out == scrubber.text("".join(pieces).encode())
