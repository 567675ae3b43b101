"""Scrubbing: an injected secret is found in every spelling a server is likely to echo, whole or in pieces."""

import base64
import json
import random
import time
import tracemalloc
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.scrub import Scrubber
from gateway.secret import Secret

VALUE = 'tök"en /+abc=='
SPELLINGS = {
    "plain": VALUE.encode(),
    "percent-encoded": quote(VALUE, safe="").encode(),
    "percent-encoded in lower case": quote(VALUE, safe="").lower().encode().replace(b"t%c3%b6k", b"t%c3%b6k"),
    "form-encoded": quote_plus(VALUE).encode(),
    "in JSON": json.dumps(VALUE)[1:-1].encode(),
    "in JSON as UTF-8": json.dumps(VALUE, ensure_ascii=False)[1:-1].encode(),
    "base64": base64.b64encode(VALUE.encode()),
    "base64 behind one byte": base64.b64encode(b"u" + VALUE.encode()),
    "base64 behind two bytes": base64.b64encode(b"u:" + VALUE.encode() + b"!"),
    "base64url": base64.urlsafe_b64encode(b"???" + VALUE.encode()),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_blanked_out_and_the_length_stays(spelling: bytes) -> None:
    data = b"before " + spelling + b" after"
    scrubbed = Scrubber([Secret(VALUE)]).text(data)
    assert spelling not in scrubbed
    assert b"*****" in scrubbed
    assert len(scrubbed) == len(data)
    assert scrubbed.startswith(b"before ")
    assert scrubbed.endswith(b" after")


MARKED = 'a+b/c=d"e ä😀%~\\f'


def ways(mark: str) -> list[str]:
    """How one character that is no letter may be written by somebody."""
    utf_16 = mark.encode("utf-16-be").hex()
    escaped = "".join("\\u" + utf_16[at : at + 4] for at in range(0, len(utf_16), 4))
    percent = "".join(f"%{byte:02x}" for byte in mark.encode())
    twice = percent.replace("%", "%25")
    return [mark, f"\\{mark}", escaped, escaped.upper().replace("U", "u"), percent, percent.upper(), twice]


@given(st.data())
def test_each_mark_may_be_written_in_its_own_way_and_the_pieces_be_cut_anywhere(data: st.DataObject) -> None:
    r"""PHP writes \/, .NET \u002B, Gson \u003d, and JavaScript's encodeURIComponent leaves !'()* alone."""
    plain = [char.isascii() and char.isalnum() for char in MARKED]
    written = "".join(
        char if is_plain else data.draw(st.sampled_from(ways(char)))
        for char, is_plain in zip(MARKED, plain, strict=True)
    )
    body = f"x a+ {written} a+b".encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    stream = Scrubber([Secret(MARKED)]).stream()
    out = b"".join(stream.feed(body[start:end]) for start, end in pairwise([0, *cuts, len(body)])) + stream.flush()
    assert out == b"x a+ %b a+b" % (b"*" * len(written.encode()))


@pytest.mark.parametrize("written", [r"\u002b\u002F\u003d\u003D", r"%2b%2F%3d%3D", r"+\/=="])
def test_a_secret_that_has_no_letters_is_found_too(written: str) -> None:
    assert Scrubber([Secret("+/==")]).text(written.encode()) == b"*" * len(written)


@pytest.mark.parametrize("end", [b"\n", b"data: a+b\n\n", b"{}", b" ", b"a-"])
def test_what_is_no_beginning_of_a_secret_waits_for_nothing(end: bytes) -> None:
    assert Scrubber([Secret(MARKED)]).stream().feed(end) == end


def test_a_short_value_is_left_alone_because_it_would_blank_out_ordinary_text() -> None:
    assert Scrubber([Secret("abc")]).text(b"abcdef abc") == b"abcdef abc"


def test_no_secrets_change_nothing() -> None:
    assert Scrubber([]).text(b"data") == b"data"
    assert Scrubber([]).stream().feed(b"data") == b"data"


@given(st.lists(st.integers(0, 60), max_size=6))
def test_a_stream_cut_anywhere_is_scrubbed_like_the_whole(cuts: list[int]) -> None:
    scrubber = Scrubber([Secret("tok_abcdefgh"), Secret("zzzz-yyyy")])
    data = b"x tok_abcdefgh tok_abc zzzz-yyyytok_abcdefgh zzzz-zzzz-yyyy tok_"
    stream = scrubber.stream()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    out = b"".join(stream.feed(data[start:end]) for start, end in pairwise(edges)) + stream.flush()
    assert out == scrubber.text(data)


@given(st.sampled_from(["abab", "aaaab", "abcabcabd", "a" * 30]), st.text("abcd", max_size=80), st.integers(0, 80))
def test_a_secret_that_repeats_itself_is_found_across_pieces(secret: str, text: str, cut: int) -> None:
    scrubber = Scrubber([Secret(secret)])
    data = (text[:cut] + secret + text[cut:]).encode()
    stream = scrubber.stream()
    assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.flush() == scrubber.text(data)


def test_what_a_long_secret_takes_grows_with_its_length_alone() -> None:
    """Of a private key of 16 KiB, every beginning of every spelling would be a gigabyte."""
    secret = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=16_384))
    stream = Scrubber([Secret(secret)]).stream()
    tracemalloc.start()
    start = time.process_time()
    for _ in range(50):
        assert stream.feed(b"y" * 16_384) == b"y" * 16_384
    assert time.process_time() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_an_event_that_holds_no_beginning_of_a_secret_is_not_held_back() -> None:
    stream = Scrubber([Secret("tok_abcdefgh")]).stream()
    assert stream.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert stream.feed(b"data: tok_abc") == b"data: "
    assert stream.feed(b"x\n\n") == b"tok_abcx\n\n"


def test_a_secret_that_begins_with_another_is_not_taken_for_that_one_at_the_end_of_a_piece() -> None:
    stream = Scrubber([Secret("tok_abcd"), Secret("tok_abcdefgh")]).stream()
    assert stream.feed(b"x tok_abcd") == b"x "
    assert stream.feed(b"efgh.") == b"************."
    assert stream.feed(b"tok_abcd") == b""
    assert stream.flush() == b"********"


@pytest.mark.parametrize("padding", [b"", b"-" * 2000])
def test_a_scrubber_with_more_for_one_answer_finds_both_and_the_first_is_as_it_was(padding: bytes) -> None:
    first = Scrubber((Secret("tok_abcdefgh"),))
    both = first.joined((Secret("se+cret/now="),))
    text = b"tok_abcdefgh se%2Bcret%2fnow= c2UrY3JldC9ub3c9 " + padding
    assert both.text(text) == b"*" * 12 + b" " + b"*" * 16 + b" " + b"*" * 16 + b" " + padding
    assert first.text(text) == b"*" * 12 + text[12:]
    assert both.masked(b"se+cret/now=", b"?") == b"?"
    stream = both.stream()
    assert stream.feed(b"xse+cr") + stream.feed(b"et/now=y") + stream.flush() == b"x" + b"*" * 12 + b"y"
    assert Scrubber(()).joined((Secret("abcd"),)).text(b"xabcd") == b"x****"
    assert both.joined(()).text(text) == both.text(text)
