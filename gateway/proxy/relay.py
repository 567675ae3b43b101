"""How an upstream's answer goes back to the caller: framing, scrubbing, `Location` (http-rules.md 12 to 15)."""

import re
from urllib.parse import urljoin

from gateway.http.request import RequestHead
from gateway.http.response import ResponseHead
from gateway.http.scrub import ScrubbedStream
from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.match import Allowed
from gateway.vault import Live

_REFERENCE = re.compile(r"(?!(?:[A-Za-z][A-Za-z0-9+.-]*:)?///)[!-\[\]-~]*", re.ASCII)
"""What RFC 3986 and a browser read alike: visible ASCII without a backslash, and no path where a browser has a host."""
_LAST_CHUNK = b"0\r\n\r\n"
_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"


class Relay:
    """One final answer on its way back: `take` is given its content, and returns what to send."""

    __slots__ = ("_chunked", "_head", "_stream", "close")

    def __init__(self, response: ResponseHead, request: RequestHead, live: Live, *, via: bytes, close: bool) -> None:
        length, modern = response.content_length, request.version == "1.1"
        self._chunked = length is None and modern
        self.close = close or (length is None and not modern)
        self._stream: ScrubbedStream | None = live.scrubber.stream() if live.scrub_body and length != 0 else None
        framing = response.framing(chunked=self._chunked)
        end = _CLOSE if self.close else b"\r\n" if modern else _KEEP_ALIVE
        self._head: bytes | None = scrubbed_head(response, live) + framing + via + end

    def take(self, content: list[bytes], *, ended: bool) -> list[bytes]:
        """Return what goes to the caller when these pieces have come, and `ended` says whether they were the last."""
        if self._stream is not None:
            content = [self._stream.feed(b"".join(content))]  # in one: a piece may be a byte, and each is searched for
            if ended:
                content.append(self._stream.flush())
        if self._chunked:
            content = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in content if piece]
            if ended:
                content.append(_LAST_CHUNK)
        if self._head is not None:
            content = [self._head, *content]
            self._head = None
        return content


def scrubbed_head(response: ResponseHead, live: Live) -> bytes:
    """Return the status line and upstream's fields.

    Only what upstream says is searched: a secret such as `chunked` must not blank out our own framing.
    """
    said = live.scrubber.text(b"%b\r\n%b" % (response.reason, response.fields()))
    return b"HTTP/1.1 %d %b" % (response.status, said)


def informational_bytes(response: ResponseHead, live: Live) -> bytes:
    """Return a 1xx as the caller gets it."""
    return scrubbed_head(response, live) + b"\r\n"


def rewrite_locations(response: ResponseHead, target: Target, live: Live) -> None:
    """Point `Location` back through the gateway where it leads to an allowed URL: the caller came path-style."""
    for at in response.shape.location_at:
        where = _through_gateway(response.values[at].decode("latin-1").strip(), target, live)
        if where is not None:
            response.values[at] = where.encode("ascii")


def _through_gateway(location: str, target: Target, live: Live) -> str | None:
    reference, mark, fragment = location.partition("#")
    if not _REFERENCE.fullmatch(reference):
        return None  # never repaired: it is passed on as it is
    try:
        pointed = parse_target(urljoin(target.url, reference))
    except (TargetInvalid, ValueError):
        return None
    if not isinstance(live.matcher.decide("GET", pointed, upgrade=False), Allowed):
        return None
    return f"/c/{live.connection_id}/{pointed.url}{mark}{fragment}" if fragment.isascii() else None
