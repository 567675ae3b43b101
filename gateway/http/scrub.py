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
_PARTS = re.compile(r"[A-Za-z0-9._-]+|[^A-Za-z0-9._-]")  # words, and each mark by itself
_ESCAPES = frozenset({b"%", b"\\"})  # how every mark begins that isn't written plainly
_PERCENT = rb"%(?:25){0,3}"
_LONGEST_MARK = 48  # bytes: four of UTF-8, each encoded four times over
# What a mark that isn't one byte may begin with.
_CUT = re.compile(rb"[\\%\x80-\xff][\\%u0-9A-Fa-f\x80-\xff]{0,46}")


class Scrubber:
    """Finds secrets plain, percent-encoded, JSON-escaped and in base64 at any of the three alignments."""

    __slots__ = ("_marked", "_needles", "_pattern", "_telltale", "_telltales")

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._look_for(secrets)
        self._pattern: re.Pattern[bytes] | None = None
        self._telltale: re.Pattern[bytes] | None = None
        if self._telltales:
            self._telltale = re.compile(b"|".join(map(re.escape, self._telltales)))
            self._pattern = self._found_by

    def _look_for(self, secrets: Iterable[Secret]) -> None:
        # Half a surrogate pair is JSON and no UTF-8: a provider's token that holds one can't be sent, and is no fault.
        raw = {one for secret in secrets if len(one := secret.reveal().encode("utf-8", "replace")) >= MIN_SECRET}
        needles = {spelling for one in raw for spelling in _spellings(one)}
        marked = sorted((one for one in raw if not _WORD.fullmatch(one)), key=len, reverse=True)
        words = [_WORD.findall(one) for one in marked]
        signs = needles.union(*({max(found, key=len)} if found else _ESCAPES for found in words))
        self._marked = tuple(map(_Marked, marked))
        self._needles = tuple(sorted(needles, key=len, reverse=True))
        self._telltales = tuple(one for one in signs if not any(other in one for other in signs - {one}))

    def joined(self, secrets: Iterable[Secret]) -> "Scrubber":
        """Return a scrubber for these as well. It is for one answer: nothing is compiled before one is in sight."""
        both = Scrubber(())
        both._look_for(secrets)
        both._marked += self._marked
        both._needles = tuple(sorted((*both._needles, *self._needles), key=len, reverse=True))
        both._telltales += self._telltales
        return both

    @property
    def _found_by(self) -> re.Pattern[bytes]:
        """The pattern of all spellings. Only asked where there are some."""
        if self._pattern is None:
            patterns = [*(one.pattern for one in self._marked), *map(re.escape, self._needles)]
            self._pattern = re.compile(b"|".join(patterns))
        return self._pattern

    def found_in(self, data: bytes) -> bool:
        """Whether any spelling of a secret stands in `data`. The cheap question, asked of every answer's head."""
        if len(data) <= _HEAD and self._telltale is not None:
            return self._telltale.search(data) is not None
        return any(one in data for one in self._telltales)

    def text(self, data: bytes) -> bytes:
        """Return `data` with every secret replaced by as many `*`."""
        if not self._telltales or not self.found_in(data):
            return data
        return self._found_by.sub(lambda match: b"*" * len(match[0]), data)

    def masked(self, data: bytes, mask: bytes) -> bytes:
        """Return `data` with `mask` in the place of every secret, so that not even its length is told."""
        return self._found_by.sub(lambda _: mask, data) if self._telltales else data

    def stream(self) -> "ScrubbedStream":
        """Return a scrubber for one body that arrives in pieces."""
        return ScrubbedStream(self)

    def found_before(self, data: bytes, end: int) -> Iterator[re.Match[bytes]]:
        """Yield each spelling in `data` that begins before `end`."""
        if not self._telltales or not self.found_in(data):
            return
        for found in self._found_by.finditer(data):
            if found.start() >= end:
                return
            yield found

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a secret."""
        longest = 0
        for needle in self._needles:
            longest = max(longest, _begun(needle, data))
        for marked in self._marked:
            longest = max(longest, marked.begun(data))
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


class _Marked:
    """A secret that isn't one word: which of its marks are encoded differs, and how, and some encode twice."""

    __slots__ = ("_longest", "_parts", "_start", "pattern")

    def __init__(self, raw: bytes) -> None:
        parts = _PARTS.findall(raw.decode())
        spelled = [re.escape(part.encode()) if _WORD.fullmatch(part.encode()) else _spelled(part) for part in parts]
        self.pattern = b"".join(spelled)
        self._parts: tuple[bytes | re.Pattern[bytes], ...] = tuple(
            part.encode() if _WORD.fullmatch(part.encode()) else re.compile(pattern)
            for part, pattern in zip(parts, spelled, strict=True)
        )
        first = self._parts[0]
        self._start = re.compile(
            re.escape(first[:1]) if isinstance(first, bytes) else b"%b|[%%\\\\\x80-\xff]" % spelled[0]
        )
        self._longest = sum(len(part) if isinstance(part, bytes) else _LONGEST_MARK for part in self._parts)

    def begun(self, data: bytes) -> int:
        """Return how many of the last bytes of `data` are a beginning of it, however spelled, not all of it."""
        for start in self._start.finditer(data, max(0, len(data) - self._longest + 1)):
            if self._is_begun(data, start.start()):
                return len(data) - start.start()
        return 0

    def _is_begun(self, data: bytes, at: int) -> bool:
        for part in self._parts:
            if isinstance(part, bytes):
                if not data.startswith(part, at):
                    return part.startswith(data[at : at + len(part)]) and at + len(part) > len(data)
                at += len(part)
            elif at == len(data) or _CUT.fullmatch(data, at):
                return True
            elif match := part.match(data, at):
                at = match.end()
            else:
                return False
        return False


def _spelled(mark: str) -> bytes:
    """Return a pattern of the ways to write one character: itself, behind backslashes, and encoded byte by byte."""
    plain = b"".join(
        b"(?:%b%b|%b)" % (_PERCENT, b"".join(map(_digit, f"{byte:02x}")), re.escape(bytes((byte,))))
        for byte in mark.encode()
    )
    utf_16 = mark.encode("utf-16-be").hex()
    units = [utf_16[at : at + 4] for at in range(0, len(utf_16), 4)]
    escaped = b"".join(rb"\\{1,3}u" + b"".join(map(_digit, unit)) for unit in units)
    also = b"|" + rb"\+" if mark == " " else b""
    return rb"(?:%b|\\{0,3}%b%b)" % (escaped, plain, also)


def _digit(digit: str) -> bytes:
    return digit.encode() if digit.isdecimal() else b"[%b%b]" % (digit.encode(), digit.upper().encode())


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
