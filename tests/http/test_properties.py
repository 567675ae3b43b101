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


@given(near_misses.AUTHORITIES | st.sampled_from(near_misses.HOSTS), st.sampled_from(b"\3\5"))
def test_an_authority_and_a_host_are_read_as_in_a_url_or_refused(text: str, kind: int) -> None:
    targets.check(bytes([kind]) + text.encode())


@given(near_misses.PATHS)
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


HEADER_TEXT = st.text(
    st.sampled_from('aZ0?>ÿ~/+=%"\\ é€') | st.characters(codec="utf-8", exclude_categories=["Cc"]),
    min_size=MIN_SECRET,
    max_size=24,
).filter(lambda text: text == text.strip(" \t") and len(text.encode()) >= MIN_SECRET)
AROUND = st.binary(max_size=7)
CUTS = st.lists(st.integers(0, 80), max_size=4)
IN_TEXT = {
    "plain": str,
    "percent": lambda secret: quote(secret, safe=""),
    "percent but slashes": quote,
    "percent in lower case": lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
    "form": quote_plus,
    "json": lambda secret: json.dumps(secret)[1:-1],
}
IN_BASE64 = {
    "standard": (base64.b64encode, base64.b64decode),
    "for URLs": (base64.urlsafe_b64encode, base64.urlsafe_b64decode),
}


def scrubbed(secret: str, data: bytes, cuts: list[int]) -> bytes:
    """What is left of it, cut into pieces; the same as of the whole, and as long."""
    scrubber = Scrubber([Secret(secret)])
    stream = scrubber.stream()
    out = (
        b"".join(stream.feed(data[start:end]) for start, end in pairwise([0, *sorted(cuts), len(data)]))
        + stream.flush()
    )
    assert out == scrubber.text(data)
    assert len(out) == len(data)
    return out


@given(HEADER_TEXT, st.sampled_from(sorted(IN_TEXT)), AROUND, AROUND, CUTS)
def test_a_secret_that_is_spelled_in_text_and_cut_anywhere_never_passes(
    secret: str, kind: str, before: bytes, after: bytes, cuts: list[int]
) -> None:
    spelled = IN_TEXT[kind](secret).encode()
    assert spelled not in scrubbed(secret, before + spelled + after, cuts)


@given(
    HEADER_TEXT.filter(lambda text: len(text.encode()) > 4), st.sampled_from(sorted(IN_BASE64)), AROUND, AROUND, CUTS
)
def test_a_secret_in_base64_between_other_bytes_and_cut_anywhere_never_passes(
    secret: str, kind: str, before: bytes, after: bytes, cuts: list[int]
) -> None:
    """Characters that it shares with what stands beside it are left: a few bits of its ends."""
    encode, decode = IN_BASE64[kind]
    out = scrubbed(secret, encode(before + secret.encode() + after), cuts)
    assert secret.encode() not in decode(out.replace(b"*", b"A"))


@given(
    st.sampled_from([("abcd", "abcdef"), ("abcd", "abcdefgh", "cdefg"), ("aaaa", "aaaaaa")]),
    st.lists(st.sampled_from(["abcd", "abcd", "ef", "gh", "ab", "cd", "aa"]), max_size=5),
)
def test_secrets_that_begin_alike_are_found_in_pieces_as_in_the_whole(
    secrets: tuple[str, ...], pieces: list[str]
) -> None:
    scrubber = Scrubber([Secret(one) for one in secrets])
    stream = scrubber.stream()
    out = b"".join(stream.feed(piece.encode()) for piece in pieces) + stream.flush()
    assert out == scrubber.text("".join(pieces).encode())
