"""Writes of one turn go out in a row at its end, and what is large at once."""

from collections.abc import Callable

from gateway.proxy.outbox import LARGE, Outbox, send


class Wire:
    def __init__(self) -> None:
        self.writes: list[bytes | list[bytes]] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def writelines(self, list_of_data: list[bytes]) -> None:
        self.writes.append(list_of_data)


class Writer:
    def __init__(self, *, breaks: bool = False) -> None:
        self.flushed, self.breaks = 0, breaks

    def flush(self) -> None:
        self.flushed += 1
        if self.breaks:
            raise RuntimeError("the handler is closed")


def test_a_turn_flushes_each_writer_once_and_asks_the_loop_once() -> None:
    asked: list[Callable[[], None]] = []
    outbox, first, second = Outbox(asked.append), Writer(), Writer()
    outbox.add(first)
    outbox.add(second)
    assert (len(asked), first.flushed) == (1, 0)
    asked.pop()()
    assert (first.flushed, second.flushed) == (1, 1)
    outbox.add(first)
    assert len(asked) == 1


def test_a_writer_that_breaks_does_not_hold_up_the_others() -> None:
    asked: list[Callable[[], None]] = []
    outbox, broken, other = Outbox(asked.append), Writer(breaks=True), Writer()
    outbox.add(broken)
    outbox.add(other)
    asked.pop()()
    assert other.flushed == 1


def test_small_parts_are_one_write_and_a_large_one_is_not_copied() -> None:
    wire, large = Wire(), bytes(LARGE + 1)
    send(wire, [b"head", b"content"])
    send(wire, [b"head", large])
    send(wire, [large])
    assert wire.writes == [b"headcontent", [b"head", large], large]
    assert wire.writes[1][1] is large
    assert wire.writes[2] is large


def test_nothing_is_not_written() -> None:
    """An answer's piece that is held back whole, as the beginning of a secret may be, leaves nothing to send."""
    wire = Wire()
    send(wire, [b""])
    send(wire, [b"", b""])
    assert wire.writes == []
