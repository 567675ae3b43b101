"""A response's head: read once, relayed with our own framing (RFC 9112 §6.3, RFC 9110 §7.6, §15)."""

import re
from collections.abc import Callable
from http import HTTPStatus

from gateway.http.fields import Fields, Role, nominated
from gateway.http.shape import NOTHING, Shape, Shapes

_PRINTABLE = re.compile(rb"[\t -~\x80-\xff]*")
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_STANDARD_REASONS = frozenset(_PHRASES.values())
_COOKIES = frozenset({b"set-cookie", b"set-cookie2"})
_LOWEST_STATUS = 100  # RFC 9112 §4: three digits. Over 599 they have no class, but some services use them
_SWITCHING_PROTOCOLS = 101
_NOT_MODIFIED = 304
_NO_CONTENT = frozenset({204, _NOT_MODIFIED})


class ResponseInvalid(ValueError):
    """Upstream's head is not valid HTTP; the message says what."""


class ResponseShape(Shape):
    """The names of a response's fields. Raises `ResponseInvalid` where they say twice how long the content is."""

    __slots__ = ("chunked_at", "connection_at", "encoding_at", "length_at", "location_at")

    ends_here = frozenset(
        {
            Role.HOP_BY_HOP,
            Role.AMBIGUOUS,
            Role.CONNECTION,
            Role.CONTENT_LENGTH,
            Role.TRANSFER_ENCODING,
            Role.UPGRADE,
            Role.PROXY_AUTHORIZATION,
        }
    )

    def __init__(self, names: tuple[bytes, ...]) -> None:
        super().__init__(names)
        if len(self.all(Role.CONTENT_LENGTH)) > 1:
            raise ResponseInvalid("its Content-Length is ambiguous")
        if len(self.all(Role.TRANSFER_ENCODING)) + len(self.all(Role.CONTENT_LENGTH)) > 1:
            raise ResponseInvalid("its Transfer-Encoding is ambiguous")
        self.length_at = self.last(Role.CONTENT_LENGTH)
        self.chunked_at = self.last(Role.TRANSFER_ENCODING)
        self.connection_at = self.all(Role.CONNECTION)
        self.location_at = self.all(Role.LOCATION)
        self.encoding_at = self.all(Role.CONTENT_ENCODING)


_shapes = Shapes(ResponseShape)


class ResponseHead:
    """What upstream said before its content.

    `values` are the fields' values in the order of the shape's names. `content_length` is None where the content ends
    with the last chunk or the connection, which `chunked` tells apart; 0 where there is none.
    """

    __slots__ = (
        "_described",
        "_drop",
        "chunked",
        "content_length",
        "informational",
        "reason",
        "shape",
        "status",
        "values",
    )

    def __init__(self, status: int, reason: bytes, shape: ResponseShape, values: list[bytes]) -> None:
        self.status, self.reason, self.shape, self.values = status, reason, shape, values
        self.content_length: int | None = None
        self.chunked = False
        self.informational = 100 <= status < 200 and status != _SWITCHING_PROTOCOLS  # noqa: PLR2004 - the class of a status
        """A 1xx that isn't the final answer."""
        self._drop = NOTHING
        self._described: int | None = None  # what Content-Length says, also of content that is not sent

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection ends the content."""
        return self.content_length is None and not self.chunked

    @property
    def upgrade(self) -> bytes | None:
        """Every Upgrade, as one list."""
        places = self.shape.all(Role.UPGRADE)
        return b", ".join([self.values[at] for at in places]) if places else None

    @property
    def content_encoding(self) -> bytes:
        """Every Content-Encoding, as one list; empty for none."""
        return b",".join([self.values[at] for at in self.shape.encoding_at])

    def fields(self) -> bytes:
        """Return the field lines that are relayed, framing left out."""
        text, pick = self.shape.template(self._drop)
        return text % pick(self.values)

    def framing(self, *, chunked: bool) -> bytes:
        """Return the framing field for the caller: chunks follow, or what Content-Length says, or all until close."""
        if chunked:
            return b"Transfer-Encoding: chunked\r\n"
        return b"" if self._described is None else b"Content-Length: %d\r\n" % self._described

    def read(self, *, version: Callable[[], str], method: str, cookies: bool) -> None:
        """Read what the values say. Raises `ResponseInvalid`."""
        shape, values, status = self.shape, self.values, self.status
        if not cookies:
            self._drop = _COOKIES
        for at in shape.connection_at:
            if names := nominated(values[at]):
                self._drop |= names
        if shape.length_at >= 0:
            self.content_length = self._described = _length(values[shape.length_at])
        elif shape.chunked_at >= 0:
            _check_chunked(values[shape.chunked_at], version())
            self.chunked = True
        if method == "HEAD" or status in _NO_CONTENT or self.informational:
            if self.informational and (self.content_length or self.chunked):  # RFC 9110 §8.6, RFC 9112 §6.1: MUST NOT
                raise ResponseInvalid("it announces content in a 1xx")  # which llhttp would read, and others not
            self.content_length, self.chunked = 0, False
            if method != "HEAD" and status != _NOT_MODIFIED:
                self._described = None  # RFC 9110 §8.6: only those two may tell of content that isn't sent


def read_response_head(
    *, status: int, reason: bytes, version: Callable[[], str], fields: Fields, method: str, cookies: bool
) -> ResponseHead:
    """Read a parsed head. `cookies` lets Set-Cookie through; `version` is asked only where it matters.

    Raises `ResponseInvalid`.
    """
    if status < _LOWEST_STATUS:
        raise ResponseInvalid(f"{status} is not a status")
    shape, values = _shapes.of(fields)
    if reason not in _STANDARD_REASONS and not _PRINTABLE.fullmatch(reason):
        reason = _PHRASES.get(status, b"")
    head = ResponseHead(status, reason, shape, values)
    head.read(version=version, method=method, cookies=cookies)
    return head


def _length(value: bytes) -> int:
    if not value.isdigit():
        value = value.strip(b" \t")
        if not value.isdigit():
            raise ResponseInvalid("its Content-Length is ambiguous")
    return int(value)


def _check_chunked(value: bytes, version: str) -> None:
    if value.strip(b" \t").lower() != b"chunked" or version != "1.1":
        raise ResponseInvalid("its Transfer-Encoding is ambiguous")
