"""A request's content on its way from the caller to upstream, kept while it may be needed a second time."""

from collections.abc import Callable
from typing import Protocol

_MOST_PIECES = 4096  # kept of one content: pieces of a byte each would take forty times their size
_UNCLAIMED = 64 * 1024  # bytes that may wait before anybody takes them: then the caller is paused


class Sink(Protocol):
    """Where content goes: an upstream connection, or a collector."""

    def write_content(self, data: bytes) -> None:
        """Take the next piece."""

    def end_content(self) -> None:
        """Take note that it is complete."""


class Content:
    """One request's content. Pieces go to the sink as they come; the first `keep` bytes are kept for a replay."""

    __slots__ = ("_keep", "_kept", "_pause", "_resume", "_sink", "complete", "replayable", "size")

    def __init__(self, *, keep: int, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._keep = keep
        self._kept: list[bytes] = []
        self._pause, self._resume = pause, resume
        self._sink: Sink | None = None
        self.size = 0
        self.complete = False
        self.replayable = True

    def feed(self, data: bytes) -> None:
        """Take a piece from the caller."""
        self.size += len(data)
        if self._sink is None:
            self._kept.append(data)
            if self.size > _UNCLAIMED:
                self._pause()
            return
        if self.replayable:
            self._kept.append(data)
            self._forget_if_over()
        self._sink.write_content(data)

    def end(self) -> None:
        """Take note that the caller has sent it all."""
        self.complete = True
        if self._sink is not None:
            self._sink.end_content()

    def flow_to(self, sink: Sink) -> None:
        """Send what is kept, and all that follows, to this sink. Only while `replayable`."""
        self._sink = sink
        pieces = list(self._kept)
        self._forget_if_over()
        if not self.complete:
            self._resume()  # first: the sink may find that these pieces are enough for now
        for piece in pieces:
            sink.write_content(piece)
        if self.complete:
            sink.end_content()

    def keep_at_most(self, size: int) -> None:
        """Keep no more than so many bytes for a replay."""
        self._keep = min(self._keep, size)

    def stop(self) -> None:
        """Let what still comes go nowhere, and keep none of it."""
        self._sink = _NOWHERE
        self._kept.clear()
        self.replayable = False

    def hold(self) -> None:
        """Keep what comes, for the next sink: this one is gone."""
        self._sink = None

    def _forget_if_over(self) -> None:
        if self.size > self._keep or len(self._kept) > _MOST_PIECES:
            self._kept.clear()
            self.replayable = False


class _Nowhere:
    def write_content(self, data: bytes) -> None:
        pass

    def end_content(self) -> None:
        pass


_NOWHERE = _Nowhere()


class Collector:
    """A sink that gathers the whole content, up to a limit, and then calls back once."""

    def __init__(self, *, limit: int, done: Callable[[bytes | None], None]) -> None:
        self._limit = limit
        self._done: Callable[[bytes | None], None] | None = done
        self._pieces: list[bytes] = []
        self._size = 0

    def write_content(self, data: bytes) -> None:
        """Gather a piece; past the limit, report None."""
        self._size += len(data)
        if self._size > self._limit:
            self._report(None)
            return
        self._pieces.append(data)
        if len(self._pieces) > _MOST_PIECES:
            self._pieces = [b"".join(self._pieces)]

    def end_content(self) -> None:
        """Report all of it."""
        self._report(b"".join(self._pieces))

    def _report(self, content: bytes | None) -> None:
        if self._done is not None:
            done, self._done = self._done, None
            done(content)
