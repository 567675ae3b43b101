"""A response's head: read once, relayed with our own framing (RFC 9112 §6.3, RFC 9110 §7.6, §15)."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.http.fields import ORDINARY, Headers, Role, list_members, read_name

_PRINTABLE = re.compile(rb"[\t -~\x80-\xff]*")
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
NO_CONTENT = frozenset({204, 304})

_RELAYED = frozenset(
    {ORDINARY, Role.CONTENT_TYPE, Role.VIA, Role.EXPECT, Role.AUTHORIZATION, Role.API_KEY, Role.ACCEPT_ENCODING}
)


class ResponseInvalid(ValueError):
    """Upstream's head is not valid HTTP; the message says what."""


@dataclass(slots=True, kw_only=True)
class ResponseHead:
    """What upstream said before its content.

    `lines` are whole field lines to relay. `content_length` is None where the content ends with the last chunk or the
    connection, which `chunked` tells apart; 0 where there is none.
    """

    status: int
    reason: bytes
    lines: list[bytes] = field(default_factory=list)
    content_length: int | None = None
    chunked: bool = False
    upgrade: bytes | None = None
    location_at: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    content_encoding: bytes = b""

    @property
    def informational(self) -> bool:
        """A 1xx that isn't the final answer."""
        return 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS  # noqa: PLR2004 - the class of a status

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection ends the content."""
        return self.content_length is None and not self.chunked


def read_response_head(  # noqa: C901, PLR0912 - one ladder, one idea
    *, status: int, reason: bytes, version: str, headers: Headers, method: str, cookies: bool
) -> ResponseHead:
    """Read a parsed head. `cookies` lets Set-Cookie through. Raises `ResponseInvalid`."""
    head = ResponseHead(status=status, reason=_clean_reason(status, reason))
    nominated: frozenset[bytes] = frozenset()
    kept: list[tuple[bytes, bytes]] = []
    for name_bytes, value in headers:
        name = read_name(name_bytes)
        if name.role in _RELAYED:
            kept.append((name.folded, b"%b: %b\r\n" % (name_bytes, value)))
            continue
        match name.role:
            case Role.CONNECTION:
                nominated |= frozenset(member.replace(b"_", b"-") for member in list_members(value))
            case Role.CONTENT_LENGTH:
                _set_length(head, value)
            case Role.TRANSFER_ENCODING:
                _set_chunked(head, value, version)
            case Role.UPGRADE:
                head.upgrade = value
            case Role.SET_COOKIE if not cookies:
                pass
            case Role.HOP_BY_HOP | Role.PROXY_AUTHORIZATION | Role.AMBIGUOUS:
                pass
            case Role.LOCATION:
                head.location_at.append((len(kept), name_bytes, value))
                kept.append((name.folded, b"%b: %b\r\n" % (name_bytes, value)))
            case role:
                if role == Role.CONTENT_ENCODING:
                    head.content_encoding += b"," + value if head.content_encoding else value
                kept.append((name.folded, b"%b: %b\r\n" % (name_bytes, value)))
    if nominated:
        kept = [(folded, line if folded not in nominated else b"") for folded, line in kept]
    head.lines = [line for _, line in kept]
    if method == "HEAD" or status in NO_CONTENT or head.informational:
        _without_content(head, method)
    return head


def _set_length(head: ResponseHead, value: bytes) -> None:
    value = value.strip(b" \t")
    if not value.isdigit() or head.content_length is not None or head.chunked:
        raise ResponseInvalid("its Content-Length is ambiguous")
    head.content_length = int(value)


def _set_chunked(head: ResponseHead, value: bytes, version: str) -> None:
    if value.strip(b" \t").lower() != b"chunked" or version != "1.1" or head.content_length is not None or head.chunked:
        raise ResponseInvalid("its Transfer-Encoding is ambiguous")
    head.chunked = True


def _without_content(head: ResponseHead, method: str) -> None:
    """A HEAD's or 304's Content-Length describes what isn't sent (RFC 9110 §8.6): relay it as an ordinary field."""
    if head.content_length is not None and (method == "HEAD" or head.status == HTTPStatus.NOT_MODIFIED):
        head.lines.append(b"Content-Length: %d\r\n" % head.content_length)
    head.content_length, head.chunked = 0, False


def _clean_reason(status: int, reason: bytes) -> bytes:
    return reason if _PRINTABLE.fullmatch(reason) else _PHRASES.get(status, b"")


def framing_line(head: ResponseHead, *, method: str, chunked: bool) -> bytes:
    """Return the framing field for the caller: `head.content_length` bytes follow, or chunks, or all until close."""
    if chunked:
        return b"Transfer-Encoding: chunked\r\n"
    if head.content_length is None or method == "HEAD" or head.status in NO_CONTENT or head.informational:
        return b""
    return b"Content-Length: %d\r\n" % head.content_length
