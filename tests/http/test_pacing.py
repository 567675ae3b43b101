"""What is understood of a service that wants less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.pacing import ResetField, ResetForm, pause_asked, retry_after, retry_after_line
from gateway.http.response import ResponseHead, read_response_head

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT


def head(status: int, *fields: bytes) -> ResponseHead:
    pairs = [(name, value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
    return read_response_head(
        status=status, reason=b"", version=lambda: "1.1", fields=pairs, method="GET", cookies=False
    )


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        (200, [], None),
        (200, [b"Retry-After: 5"], None),  # it answered all the same
        (429, [], 1.0),
        (429, [b"Retry-After: 5"], 5.0),
        (429, [b"retry-after:  5 "], 5.0),
        (429, [b"Retry-After: 2.5"], 2.5),
        (429, [b"Retry-After: 0"], None),
        (429, [b"Retry-After: 999999999"], 3600.0),
        (429, [b"Retry-After: -5"], 1.0),
        (429, [b"Retry-After: soon"], 1.0),
        (429, [b"Retry-After: 5", b"Retry-After: 5"], 1.0),
        (429, [b"Retry-After: " + b"5" * 300], 1.0),
        (429, [b"Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"], 10.0),
        (429, [b"Retry-After: Sunday, 06-Nov-94 08:49:47 GMT"], 10.0),
        (429, [b"Retry-After: Sun Nov  6 08:49:47 1994"], 10.0),
        (429, [b"Retry-After: Sun, 06 Nov 1994 08:49:27 GMT"], None),  # it is over
        (429, [b"Retry-After: Sun, 99 Nov 99994 08:49:47 GMT"], 1.0),
        (429, [b"Date: Sun, 06 Nov 1994 08:49:40 GMT", b"Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"], 7.0),
        (503, [b"Retry-After: 5"], 5.0),
        (503, [], None),
        (500, [b"Retry-After: 5"], None),
        (200, [b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: 30"], 30.0),
        (200, [b"X-RateLimit-Remaining: 1", b"X-RateLimit-Reset: 30"], None),
        (200, [b"X-RateLimit-Remaining: 0"], None),
        (200, [b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: 30s"], None),
        (403, [b"x-ratelimit-remaining: 0", b"x-ratelimit-reset: 1700000000"], 3600.0),
        (
            200,
            [b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: 1700000000", b"Date: Tue, 14 Nov 2023 22:13:00 GMT"],
            20.0,
        ),
        (
            200,
            [b"X-RateLimit-Remaining: 0", b"X-RateLimit-Reset: 1700000000500", b"Date: Tue, 14 Nov 2023 22:13:20 GMT"],
            0.5,
        ),
        (200, [b"x-rate-limit-remaining: 0", b"x-rate-limit-reset: 7"], 7.0),
        (200, [b"RateLimit-Remaining: 0", b"RateLimit-Reset: 7"], 7.0),
        (200, [b"RateLimit: limit=100, remaining=0, reset=50"], 50.0),
        (200, [b"RateLimit: limit=100, remaining=10, reset=50"], None),
        (200, [b'RateLimit: "default";r=0;t=30'], 30.0),
        (200, [b'RateLimit: "default";r=50;t=30'], None),
        (200, [b'RateLimit: "second";r=9;t=1, "day";r=0;t=600'], 600.0),
        (200, [b'RateLimit: "day";r=9;t=600, "second";r=0;t=1'], 1.0),
        (200, [b"RateLimit: remaining=0"], None),
        (429, [b"Retry-After: 2", b"RateLimit-Remaining: 0", b"RateLimit-Reset: 7"], 7.0),
        (429, [b"X-RateLimit-Remaining: 5", b"X-RateLimit-Reset: 7"], 1.0),
    ],
)
def test_a_service_is_left_alone_for_as_long_as_it_says(
    status: int, fields: list[bytes], seconds: float | None
) -> None:
    assert pause_asked(head(status, *fields), NOW) == seconds


def test_retry_after_is_read_from_any_answer() -> None:
    assert retry_after(head(502, b"Retry-After: 5"), NOW) == 5.0
    assert retry_after(head(502), NOW) is None


@given(
    st.sampled_from([200, 429, 503]),
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"Retry-After", b"Date", b"X-RateLimit-Remaining", b"X-RateLimit-Reset", b"RateLimit", b"Server"]
            ),
            st.one_of(
                st.binary(max_size=40),
                st.text('0123456789.=;,rt" remaining', max_size=20).map(str.encode),
                st.sampled_from([b"0", b"99999999999999", b"Sun, 06 Nov 1994 08:49:37 GMT", b'"a";r=0;t=1']),
            ),
        ),
        max_size=5,
    ),
)
def test_no_value_breaks_anything_and_none_stops_us_for_long(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    answer = read_response_head(
        status=status, reason=b"", version=lambda: "1.1", fields=fields, method="GET", cookies=False
    )
    asked = pause_asked(answer, NOW)
    assert asked is None or 0 < asked <= 3600
    told = retry_after(answer, NOW)
    assert told is None or told >= 0


@pytest.mark.parametrize(
    ("form", "value", "seconds", "said"),
    [
        ("seconds", b"30", 30.0, b"30"),
        ("seconds", b"1.2", 1.2, b"2"),
        ("seconds", b"0", None, b"0"),
        ("seconds", b"99999999999999", 3600.0, b"86400"),
        ("milliseconds", b"2500", 2.5, b"3"),
        ("at", b"784111787", 10.0, b"10"),
        ("at", b"784111770", None, b"0"),
        ("at_milliseconds", b"784111787500", 10.5, b"11"),
        ("date", b"Sun, 06 Nov 1994 08:49:47 GMT", 10.0, b"10"),
        ("date", b"soon", 1.0, None),
        ("at", b"soon", 1.0, None),
        ("seconds", b"-1", 1.0, None),
    ],
)
def test_the_policy_s_own_header_of_a_refusal_says_how_long_to_wait(
    form: ResetForm, value: bytes, seconds: float | None, said: bytes | None
) -> None:
    reset = ResetField(b"x-reset", form)
    for status, otherwise in ((429, 1.0), (503, None)):
        answer = head(status, b"X-Reset: " + value)
        assert pause_asked(answer, NOW, reset) == (seconds if said is not None else otherwise)
        assert retry_after_line(answer, NOW, reset) == (b"" if said is None else b"Retry-After: %b\r\n" % said)
    good = head(200, b"X-Reset: " + value)
    assert (pause_asked(good, NOW, reset), retry_after_line(good, NOW, reset)) == (None, b"")


def test_what_the_service_says_in_the_usual_way_stands_beside_it() -> None:
    """The longer of two is heeded, and the caller's Retry-After is upstream's own."""
    reset = ResetField(b"x-reset", "seconds")
    both = head(429, b"X-Reset: 5", b"Retry-After: 9")
    assert (pause_asked(both, NOW, reset), retry_after_line(both, NOW, reset)) == (9.0, b"")
    twice = head(429, b"X-Reset: 5", b"X-Reset: 5")
    assert (pause_asked(twice, NOW, reset), retry_after_line(twice, NOW, reset)) == (1.0, b"")
