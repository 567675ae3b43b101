"""HTTP/1.1 by the letter of RFC 9112, and nothing forgiven: the judge of every vector.

It shares no code with the gateway. What two readers could read in two ways, it doesn't read at all: so where it finds
three requests, every other reader finds the same three.
"""

import re
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/1\.1" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [\t -~\x80-\xff]*")
_FIELD = re.compile(rb"(%b):[ \t]*([\t -~\x80-\xff]*)" % _TOKEN)
_LENGTH = re.compile(rb"0|[1-9][0-9]*")
_CHUNK = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]*)\r\n")
_LAST_CHUNK = b"0\r\n\r\n"
_END = b"\r\n\r\n"


class Unclear(ValueError):
    """Two readers could read this in two ways; the message says where."""


class Message(NamedTuple):
    """`start` is the method and target, or the status; `end` is where the next message begins."""

    start: tuple[str, ...]
    fields: list[tuple[str, str]]
    content: bytes
    end: int

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for field, value in self.fields if field.lower() == name]


def read_request(data: bytes, at: int = 0) -> Message | None:
    """The request that begins at `at`; None: it isn't all there yet. Raises `Unclear`."""
    head = _head(data, at, _REQUEST_LINE)
    if head is None:
        return None
    start, fields, at = head
    if len([name for name, _ in fields if name.lower() == "host"]) != 1:
        raise Unclear("Host stands not once")
    return _with_content(data, start, fields, at)


def read_answer(data: bytes, at: int = 0, *, method: str = "GET", ended: bool = False) -> Message | None:
    """The answer that begins at `at`; None: it isn't all there yet. `ended` is whether no more comes."""
    head = _head(data, at, _STATUS_LINE)
    if head is None:
        return None
    start, fields, at = head
    framing = [name.lower() for name, _ in fields if name.lower() in {"content-length", "transfer-encoding"}]
    if start[0].startswith("1") or start[0] == "204":
        if framing:
            raise Unclear(f"a {start[0]} has {framing[0]}")
        return Message(start, fields, b"", at)
    if method == "HEAD" or start[0] == "304":
        return Message(start, fields, b"", at)
    if not framing:
        return Message(start, fields, data[at:], len(data)) if ended else None
    return _with_content(data, start, fields, at)


_Head = tuple[tuple[str, ...], list[tuple[str, str]], int]


def _head(data: bytes, at: int, first: re.Pattern[bytes]) -> _Head | None:
    end = data.find(_END, at)
    if end < 0:
        return None
    line, *rest = data[at:end].split(b"\r\n")
    start = first.fullmatch(line)
    if start is None:
        raise Unclear(f"the first line is {line[:80]!r}")
    fields = []
    for text in rest:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise Unclear(f"a field is {text[:80]!r}")
        fields.append((field[1].decode(), field[2].rstrip(b" \t").decode("latin-1")))
    return tuple(part.decode() for part in start.groups()), fields, end + len(_END)


def _with_content(data: bytes, start: tuple[str, ...], fields: list[tuple[str, str]], at: int) -> Message | None:
    lengths = [value.encode("latin-1") for name, value in fields if name.lower() == "content-length"]
    codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise Unclear("its length is given more than once")
    if codings:
        if codings != ["chunked"]:
            raise Unclear(f"Transfer-Encoding is {codings[0]!r}")
        return _chunks(data, start, fields, at)
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise Unclear(f"Content-Length is {lengths[0]!r}")
    end = at + (int(lengths[0]) if lengths else 0)
    return Message(start, fields, data[at:end], end) if len(data) >= end else None


def _chunks(data: bytes, start: tuple[str, ...], fields: list[tuple[str, str]], at: int) -> Message | None:
    content = b""
    while not data.startswith(_LAST_CHUNK, at):
        size = _CHUNK.match(data, at)
        if size is None:
            if b"\r\n" in data[at : at + len(_LAST_CHUNK)]:
                raise Unclear(f"a chunk begins with {data[at : at + 20]!r}")
            return None
        at, end = size.end(), size.end() + int(size[1], 16)
        if len(data) < end + 2:
            return None
        if data[end : end + 2] != b"\r\n":
            raise Unclear("a chunk doesn't end where it says")
        content, at = content + data[at:end], end + 2
    return Message(start, fields, content, at + len(_LAST_CHUNK))
