"""A second reader of HTTP/1.1, by RFC 9112's grammar and nothing else: what the data plane's bytes are held against.

It shares no code with the gateway, and is slow and literal on purpose.
"""

import re
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t -~\x80-\xff]*"  # field-value with obs-text (RFC 9110 §5.5), OWS still around it
_REQUEST_LINE = re.compile(
    rb"(%b) +([!-~\x80-\xff]+) +HTTP/(\d\.\d)" % _TOKEN
)  # §3: "parse on whitespace-delimited word boundaries"
_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) (\d{3}) (%b)" % _VALUE)
_ANY_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) (\d{3})(?: (.*))?", re.DOTALL)
_FIELD = re.compile(rb"(%b):[ \t]*(%b?)[ \t]*" % (_TOKEN, _VALUE))
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;%b)?" % _VALUE)  # what an extension says is nobody's business here
_NO_CONTENT = {204, 304}


class Malformed(ValueError):
    """These bytes are no message."""


class Incomplete(Malformed):
    """These bytes are the beginning of a message."""


class Message(NamedTuple):
    """One message. `start` are the words of its first line; names are lower case; trailers are left out."""

    start: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    content: bytes

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of that name, `_` and `-` being the same."""
        return [value for found, value in self.fields if found.replace(b"_", b"-") == name]


def requests(data: bytes) -> list[Message]:
    """Return the requests that stand in a row, up to the first that can't be read."""
    found: list[Message] = []
    while True:
        data = data.lstrip(b"\r\n")  # §2.2: empty lines before a request are passed over
        try:
            message, data = request(data)
        except Malformed:
            return found
        found.append(message)


def request(data: bytes) -> tuple[Message, bytes]:
    """Read one request. Returns it and what is behind it."""
    first, fields, rest = _head(data, _REQUEST_LINE)
    if _says_both(fields):
        raise Malformed("two lengths")
    content, rest = _content(fields, rest, otherwise=b"")
    return Message(first.groups(), fields, content), rest


def response(data: bytes, *, method: bytes, ended: bool, any_reason: bool = False) -> tuple[Message, bytes]:
    """Read one answer to a request of that method; `ended` is whether nothing comes behind these bytes.

    With `any_reason`, its reason phrase may hold whatever it likes: nobody is led by it.
    """
    first, fields, rest = _head(data, _ANY_STATUS_LINE if any_reason else _STATUS_LINE)
    status = int(first[2])
    if method == b"HEAD" or status in _NO_CONTENT or status < 200:
        return Message(first.groups(), fields, b""), rest
    if _says_both(fields):
        raise Malformed("two lengths")
    content, rest = _content(fields, rest, otherwise=None)
    if content is None:
        if not ended:
            raise Incomplete("ends with the connection")
        content, rest = rest, b""
    return Message(first.groups(), fields, content), rest


def _head(data: bytes, start_line: re.Pattern[bytes]) -> tuple[re.Match[bytes], list[tuple[bytes, bytes]], bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete("no end of the head")
    first, *lines = head.split(b"\r\n")
    start = start_line.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if start is None or not all(fields):
        raise Malformed(first)
    return start, [(one[1].lower(), one[2].rstrip(b" \t")) for one in fields if one], rest


def _says_both(fields: list[tuple[bytes, bytes]]) -> bool:
    return len([name for name, _ in fields if name in (b"content-length", b"transfer-encoding")]) > 1


def _content(fields: list[tuple[bytes, bytes]], rest: bytes, *, otherwise: bytes | None) -> tuple[bytes, bytes]:
    for name, value in fields:
        if name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise Malformed(value)
            return _chunks(rest)
        if name == b"content-length":
            if not re.fullmatch(rb"[0-9]+", value):
                raise Malformed(value)
            if len(rest) < int(value):
                raise Incomplete("content")
            return rest[: int(value)], rest[int(value) :]
    return otherwise, rest  # type: ignore[return-value]


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    content = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = _CHUNK.fullmatch(line)
        if not end:
            raise Incomplete("a chunk's line")
        if size is None:
            raise Malformed(line)
        length = int(size[1], 16)
        if not length:
            return content, _behind_trailers(data)
        if len(data) < length + 2:
            raise Incomplete("a chunk")
        if data[length : length + 2] != b"\r\n":
            raise Malformed("no end of a chunk")
        content, data = content + data[:length], data[length + 2 :]


def _behind_trailers(data: bytes) -> bytes:
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            raise Incomplete("trailers")
        if not line:
            return data
        if not _FIELD.fullmatch(line):
            raise Malformed(line)
