"""A service's bytes, whatever they are: the caller gets one answer, whole or cut off, and never a secret of ours.

The first byte says what was asked, the second how the bytes are cut.
"""

from gateway.http.scrub import Scrubber
from tests.fuzz import strict
from tests.fuzz.plane import LIVES, SECRET, Asked, Plane, cut

_ENDS_HERE = {b"keep-alive", b"te", b"trailer", b"upgrade", b"alt-svc", b"close", b"http2-settings"}
_METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS")


def check(data: bytes) -> None:
    """Hold what the caller gets against what stands in the service's bytes."""
    flags, size, said = (data[0], data[1], data[2:]) if len(data) > 1 else (0, 0, b"")
    method = _METHODS[flags & 3]
    version, ends = (b"1.0" if flags & 4 else b"1.1"), bool(flags & 8)
    connection_id = "crm-bea" if flags & 16 else "crm-ann"
    start = b"%b /c/%b/" % (method, connection_id.encode()) if flags & 32 else b"%b " % method
    tag = (b"Authorization: %b\r\n" if flags & 32 else b"Proxy-Authorization: %b\r\nX-Connection-Id: %b\r\n") % (
        (b"Bearer gwc_right",) if flags & 32 else (b"Bearer gwc_right", connection_id.encode())
    )
    request = b"%bhttp://ok.test:8080/x HTTP/%b\r\nHost: g\r\n%b" % (start, version, tag)

    def answer(asked: Asked) -> None:
        for piece in cut(said, size):
            asked.wire.feed(piece)

    plane = Plane(answer)
    plane.run([request + b"\r\n"])
    assert len(plane.asked) == 1
    if ends:
        plane.asked[0].wire.end()
        plane.run([])
        plane._turn()
    _check_caller(plane, said, method, ends=ends, scrubbed=bool(flags & 16))


def _check_caller(plane: Plane, said: bytes, method: bytes, *, ends: bool, scrubbed: bool) -> None:
    got = plane.wire.written
    finals = []
    while got:
        closed = plane.wire.closed and not plane.wire.aborted
        try:
            message, got = strict.response(got, method=method, ended=closed or plane.wire.eof)
        except strict.Incomplete:
            assert not plane.wire.closed or plane.wire.aborted, "a part of an answer ended cleanly"
            assert plane.wire.closed or not _is_whole(said, method, ended=ends), "a whole answer was held back"
            _check_fields_of_part(plane.wire.written)
            return
        _check_fields(message, scrubbed=scrubbed)
        if message.start[1][:1] != b"1":
            finals.append(message)
    assert len(finals) <= 1, finals
    assert finals or plane.wire.closed or not _is_whole(said, method, ended=ends), "a whole answer was held back"
    if finals and not finals[0].values(b"proxy-status"):
        _check_content(finals[0], said, method, ended=ends, scrubbed=scrubbed)


def _check_fields_of_part(written: bytes) -> None:
    assert SECRET.encode() not in written.partition(b"\r\n\r\n")[0], "a secret in a part of an answer"


def _check_fields(message: strict.Message, *, scrubbed: bool) -> None:
    assert SECRET.encode() not in b"\n".join([*message.start, *[b"%b: %b" % field for field in message.fields]])
    names = [name for name, _ in message.fields]
    if message.start[1] == b"101":
        return
    assert not _ENDS_HERE & set(names), names
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not [value for value in message.values(b"connection") if value not in (b"close", b"keep-alive")]
    if not scrubbed:
        assert b"set-cookie" not in names
    else:
        assert SECRET.encode() not in message.content


def _check_content(message: strict.Message, said: bytes, method: bytes, *, ended: bool, scrubbed: bool) -> None:
    """What arrives whole was sent whole: by a second reading of the service's bytes, its 1xx left out."""
    first = _answer(said, method, ended=ended)
    content = first.content
    if scrubbed:
        content = Scrubber(LIVES["crm-bea"].injection.secrets).text(content)  # type: ignore[union-attr]
    assert message.start[1] == first.start[1]
    assert message.content == content


def _is_whole(said: bytes, method: bytes, *, ended: bool) -> bool:
    try:
        _answer(said, method, ended=ended)
    except strict.Malformed:
        return False
    return True


def _answer(said: bytes, method: bytes, *, ended: bool) -> strict.Message:
    """Read the final answer, behind any 1xx."""
    while True:
        said = said.lstrip(b"\r\n")
        message, said = strict.response(said, method=method, ended=ended, any_reason=True)
        if message.start[1][:1] != b"1":
            return message


SEEDS = (
    b"\0\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"\1\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    b"\0\3HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
    b"\x08\0HTTP/1.1 200 OK\r\nX-Key: tok_abcdefgh\r\n\r\nuntil the end",
    b"\x08\0HTTP/1.0 200 OK\r\nConnection: X-A\r\nX-A: 1\r\nAlt-Svc: h3\r\n\r\nuntil the end",
    b"\0\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"\0\0HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\nsurplus",
    b"\x10\5HTTP/1.1 200 tok_abcdefgh\r\nSet-Cookie: a=b\r\nContent-Length: 20\r\n\r\n0000tok_abcdefgh0000",
    b"\x30\0HTTP/1.1 302 Found\r\nLocation: http://ok.test:8080/y?tok_abcdefgh\r\nContent-Length: 0\r\n\r\n",
    b"\0\0HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw",
    b"\x10\0HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
    b"\0\0HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    b"\4\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"\0\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"\0\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\2\1HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n",
)
