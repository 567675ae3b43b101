"""Shapes: what names come to, remembered within bounds, and never more than names."""

import tracemalloc

import pytest

from gateway.http.fields import Fields
from gateway.http.request import RequestRejected, RequestShape, read_request_head
from gateway.http.shape import _MAX_BYTES, _MAX_SHAPES, _MAX_TEMPLATES, NOTHING, Shape, Shapes

FIELDS = [(b"Host", b"ok.test"), (b"X-A", b"1"), (b"x_a", b"2"), (b"Accept", b"*/*")]


def test_the_same_names_are_the_same_shape_whatever_their_values() -> None:
    shapes = Shapes(Shape)
    first, values = shapes.of(FIELDS)
    second, others = shapes.of([(name, value + b"!") for name, value in FIELDS])
    assert first is second
    assert (values, others) == ([b"ok.test", b"1", b"2", b"*/*"], [b"ok.test!", b"1!", b"2!", b"*/*!"])


@pytest.mark.parametrize("names", [[b"A", b"B"], [b"B", b"A"], [b"a", b"B"], [b"A", b"B", b"B"], [b"A"], []])
def test_other_names_another_order_or_another_case_are_other_shapes(names: list[bytes]) -> None:
    shapes = Shapes(Shape)
    known = {shapes.of([(name, b"") for name in (b"X", *names)])[0], shapes.of([(b"X", b"")])[0]}
    assert len(known) == (2 if names else 1)


def test_a_template_drops_every_spelling_of_a_name_and_keeps_the_order() -> None:
    shape, values = Shapes(Shape).of(FIELDS)
    text, pick = shape.template(frozenset({b"x-a"}))
    assert text % pick(values) == b"Host: ok.test\r\nAccept: */*\r\n"
    text, pick = shape.template(frozenset({b"x-a", b"host", b"accept"}))
    assert text % pick(values) == b""


def test_a_percent_sign_in_a_name_is_a_percent_sign() -> None:
    shape, values = Shapes(Shape).of([(b"X-%b-%s%%", b"%d%%")])
    text, pick = shape.template(NOTHING)
    assert text % pick(values) == b"X-%b-%s%%: %d%%\r\n"


def test_memory_is_bounded_whatever_names_come() -> None:
    shapes = Shapes(Shape)
    for number in range(_MAX_SHAPES + 10):
        shapes.of([(b"X-%d" % number, b"")])
    assert len(shapes) <= _MAX_SHAPES
    before = len(shapes)
    shapes.of([(b"x" * (_MAX_BYTES + 1), b"")])
    assert len(shapes) == before


def test_templates_of_a_shape_are_bounded_too() -> None:
    shape = Shape((b"A",))
    for number in range(_MAX_TEMPLATES * 3):
        shape.template(frozenset({b"x-%d" % number}))
    assert len(shape._templates) <= _MAX_TEMPLATES


def test_no_shape_takes_much_memory_whatever_is_dropped_from_it() -> None:
    """A caller chooses the names, and which of them `Connection` nominates; there are 1,024 shapes of each kind."""
    names = tuple(b"x-a-long-name-%d" % number for number in range(126))
    Shape(names)  # the names themselves are remembered elsewhere, within bounds of their own
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    shape = Shape(names)
    for number in range(8):
        shape.template(frozenset(names[number : number + 16]))
        shape.template(frozenset(names[number : number + 100]))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 80_000


def test_a_shape_that_is_refused_is_refused_again() -> None:
    shapes = Shapes(RequestShape)
    for _ in range(2):
        with pytest.raises(RequestRejected):
            shapes.of([(b"Host", b"a"), (b"Host", b"b")])
    assert len(shapes) == 0


def test_a_head_read_before_does_not_change_the_next_of_its_shape() -> None:
    """Framing and nominations stand in values: they are read in every message."""

    def read(length: bytes, connection: bytes) -> tuple[int | None, frozenset[bytes]]:
        fields = [(b"Host", b"ok.test"), (b"Content-Length", length), (b"Connection", connection)]
        head = read_request_head(method="POST", raw_target=b"/", version="1.1", keep_alive=True, fields=fields)
        return head.content_length, head.nominated

    assert read(b"3", b"X-Hop") == (3, frozenset({b"x-hop"}))
    assert read(b"0", b"keep-alive") == (0, frozenset())
    with pytest.raises(RequestRejected):
        read(b"3, 3", b"close")
    assert read(b"7", b"close") == (7, frozenset())


def shape_of(fields: Fields) -> Shape:
    shape, _values = Shapes(Shape).of(fields)
    return shape


@pytest.mark.timeout(3)
def test_a_head_of_very_many_fields_is_read_in_a_time_that_grows_with_their_number() -> None:
    assert len(shape_of([(b"a", b"")] * 100_000).folded) == 100_000


def test_a_head_of_many_fields_is_not_remembered() -> None:
    shapes = Shapes(Shape)
    shapes.of([(b"a", b"")] * 128)
    shapes.of([(b"b", b"")] * 129)
    shapes.of([(b"c" * 2049, b"")])
    assert len(shapes) == 1


def test_as_many_names_as_a_connection_field_can_nominate_are_dropped_and_not_remembered() -> None:
    """Else each answer of a service could leave as much as a head's limit in the memory, and more."""
    shape = shape_of([(b"X-Hop", b"1"), (b"X-Kept", b"2")])
    nominated = frozenset({b"x-hop", *(b"%d" % number for number in range(10_000))})
    text, _pick = shape.template(nominated)
    assert text == b"X-Kept: %b\r\n"
    assert nominated not in shape._templates
    shape.template(frozenset({b"x-hop"}))
    assert frozenset({b"x-hop"}) in shape._templates
