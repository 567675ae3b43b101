"""Taking injected secrets out of what upstream sends back, in every spelling a server is likely to echo.

Replacements keep the length, so that a body's framing stays true and a stream needs no recalculation.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

from gateway.secret import Secret

MIN_SECRET = 4  # bytes: a shorter value would blank out ordinary text
_HEAD = 1024  # bytes: up to here one pass for all spellings is quicker than a quick one for each
_OPENING = MIN_SECRET  # bytes: where these stand near a piece's end, a secret may have begun
_MIN_BASE64 = 6  # bytes of the stable middle of a base64 spelling
_WORD = re.compile(rb"[A-Za-z0-9._-]+")  # what everybody leaves as it is when percent-encoding (RFC 3986 §2.3, but "~")


class Scrubber:
    """Finds secrets plain, percent-encoded, JSON-escaped and in base64 at any of the three alignments."""

    __slots__ = ("_needles", "_pattern", "_telltale", "_telltales")

    def __init__(self, secrets: Iterable[Secret]) -> None:
        raw = {one for secret in secrets if len(one := secret.reveal().encode()) >= MIN_SECRET}
        needles = {spelling for one in raw for spelling in _spellings(one)}
        marked = sorted((one for one in raw if not _WORD.fullmatch(one)), key=len, reverse=True)
        signs = needles | {max(_WORD.findall(one), key=len, default=b"%") for one in marked}
        self._needles = tuple(sorted(needles, key=len, reverse=True))
        self._telltales = tuple(one for one in signs if not any(other in one for other in signs - {one}))
        self._telltale = re.compile(b"|".join(map(re.escape, self._telltales))) if needles else None
        patterns = [*map(_percent_encoded, marked), *map(re.escape, self._needles)]
        self._pattern = re.compile(b"|".join(patterns)) if needles else None

    def found_in(self, data: bytes) -> bool:
        """Whether any spelling of a secret stands in `data`. The cheap question, asked of every answer's head."""
        if len(data) <= _HEAD:
            return self._telltale is not None and self._telltale.search(data) is not None
        return any(one in data for one in self._telltales)

    def text(self, data: bytes) -> bytes:
        """Return `data` with every secret replaced by as many `*`."""
        if self._pattern is None or not self.found_in(data):
            return data
        return self._pattern.sub(lambda match: b"*" * len(match[0]), data)

    def stream(self) -> "ScrubbedStream":
        """Return a scrubber for one body that arrives in pieces."""
        return ScrubbedStream(self)

    def found_before(self, data: bytes, end: int) -> Iterator[re.Match[bytes]]:
        """Yield each spelling in `data` that begins before `end`."""
        if self._pattern is None or not self.found_in(data):
            return
        for found in self._pattern.finditer(data):
            if found.start() >= end:
                return
            yield found

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a secret."""
        longest = 0
        for needle in self._needles:
            longest = max(longest, _begun(needle, data))
        return longest


class ScrubbedStream:
    """One body: holds back only what may be the beginning of a secret, so that events still flow as they come."""

    __slots__ = ("_scrubber", "_tail")

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may be sent on now."""
        data = self._tail + data
        end = len(data) - self._scrubber.held_back(data)
        out, done = [], 0
        for found in self._scrubber.found_before(data, end):  # one behind it may become a longer one
            out += [data[done : found.start()], b"*" * len(found[0])]
            done = found.end()
        if done > end:
            self._tail = b""
            return b"".join(out) + self.feed(data[done:])
        self._tail = data[end:]
        return b"".join([*out, data[done:end]]) if out else data[:end]

    def flush(self) -> bytes:
        """Return the rest, at the end of the body."""
        tail, self._tail = self._tail, b""
        return self._scrubber.text(tail)


def _begun(needle: bytes, data: bytes) -> int:
    """Return how many of the last bytes of `data` are a beginning of `needle`, not all of it."""
    opening, size = needle[:_OPENING], len(data)
    at = data.find(opening, max(0, size - len(needle) + 1))
    while at >= 0:
        if needle.startswith(data[at:]):
            return size - at
        at = data.find(opening, at + 1)
    for shorter in range(min(_OPENING - 1, size), 0, -1):
        if data.endswith(needle[:shorter]):
            return shorter
    return 0


def _percent_encoded(raw: bytes) -> bytes:
    """Return a pattern: which marks are encoded differs, the case of the digits too, and some encode twice."""
    return b"".join(_spelled(byte) for byte in raw)


def _spelled(byte: int) -> bytes:
    char = bytes((byte,))
    if _WORD.fullmatch(char):
        return re.escape(char)
    digits = b"".join(b"[%c%c]" % (digit, ord(chr(digit).upper())) for digit in b"%02x" % byte)
    return b"(?:%b|%%(?:25)*%b%b)" % (re.escape(char), digits, rb"|\+" if char == b" " else b"")


def _spellings(raw: bytes) -> set[bytes]:
    value = raw.decode()
    percent = {quote(value, safe=""), quote(value), quote_plus(value)}
    escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    spellings = {raw} | {text.encode() for text in percent | escaped}
    spellings |= {re.sub(rb"%[0-9A-F]{2}", lambda match: match[0].lower(), text) for text in spellings if b"%" in text}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        spellings |= {middle for shift in range(3) if len(middle := _base64_middle(raw, shift, encode)) >= _MIN_BASE64}
    return spellings


def _base64_middle(raw: bytes, shift: int, encode: Callable[[bytes], bytes]) -> bytes:
    """Return the characters that encode `raw` alone when `shift` other bytes stand before it and any behind it."""
    whole = encode(b"\0" * shift + raw)
    first = -(-shift * 8 // 6)
    last = (shift + len(raw)) * 8 // 6
    return whole[first:last]
