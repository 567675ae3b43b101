"""W3C Trace Context is read strictly, or not at all."""

import pytest

from gateway.http.trace_context import TraceParent, is_tracestate, read_traceparent

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
RIGHT = b"00-" + TRACE + b"-" + SPAN + b"-01"
READ = TraceParent(TRACE.decode(), SPAN.decode(), 1)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (RIGHT, READ),
        (RIGHT[:-2] + b"00", READ._replace(flags=0)),
        (RIGHT[:-2] + b"ff", READ._replace(flags=255)),
        (b"01" + RIGHT[2:], READ),
        (b"cc" + RIGHT[2:] + b"-what-will-be", READ),
    ],
)
def test_what_is_right_is_read(value: bytes, read: TraceParent) -> None:
    assert read_traceparent(value) == read


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ff" + RIGHT[2:],
        RIGHT + b"-more",
        RIGHT + b"-",
        b"01" + RIGHT[2:] + b"more",
        RIGHT + b"\n",
        RIGHT.upper(),
        RIGHT[:-1],
        RIGHT[1:],
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        RIGHT.replace(b"-", b"_"),
        RIGHT.replace(b"4b", b"4g"),
        b" " + RIGHT,
        RIGHT + b", " + RIGHT,
        b"00-\xd9\xa4bf92f3577b34da6a3ce929d0e0e473" + RIGHT[35:],  # a four, in Arabic
    ],
)
def test_what_is_not_quite_right_is_as_if_it_were_not_there(value: bytes) -> None:
    assert read_traceparent(value) is None


@pytest.mark.parametrize(
    "value",
    [
        b"congo=t61rcWkgMzE",
        b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        b"rojo=1 ,\tcongo=2,,",
        b"fw529a3039@dt=FfFf",
        b"a=" + b"x" * 256,
        b"a/b_c-d*e=f g",
        b",".join(b"k%d=1" % number for number in range(32)),
    ],
)
def test_a_list_that_is_right_may_go_on(value: bytes) -> None:
    assert is_tracestate(value)


@pytest.mark.parametrize(
    "value",
    [
        b"a",
        b"a=",
        b"=1",
        b"A=1",
        b"a=1,a=2",
        b"a=1=2",
        b"a=\x01",
        b"a=\xe9",
        b"a =1",
        b"a=" + b"x" * 257,
        b"a" * 257 + b"=1",
        b",".join(b"k%d=1" % number for number in range(33)),
    ],
)
def test_a_list_that_is_not_goes_no_further(value: bytes) -> None:
    assert not is_tracestate(value)
