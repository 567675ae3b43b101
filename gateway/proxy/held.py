"""An answer that is held back while it is not known yet whether the caller is to see it: a 401, during the refresh."""

from gateway.http.response import ResponseHead

_MAX_HELD = 64 * 1024  # bytes of content that wait: then upstream waits too


class Held:
    """One answer: its head, what has come of its content, and whether upstream left before it was complete."""

    __slots__ = ("cut_off", "head", "pieces", "size")

    def __init__(self, head: ResponseHead) -> None:
        self.head = head
        self.pieces: list[bytes] = []
        self.cut_off = False
        self.size = 0

    def add(self, pieces: list[bytes]) -> bool:
        """Keep pieces of content. False: that is enough for now."""
        self.pieces += pieces
        self.size += sum(map(len, pieces))
        return self.size <= _MAX_HELD
