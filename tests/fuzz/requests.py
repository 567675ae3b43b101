"""A caller's bytes, whatever they are: upstream gets what RFC 9112 says they are, with our credentials and no others.

The first byte says how they are cut on their way.
"""

import json
import re
from urllib.parse import unquote_plus

from gateway.proxy.answers import CONTINUE
from tests.fuzz import strict
from tests.fuzz.plane import SECRET, VIA, Plane, cut
from tests.proxy.harness import TOKEN

_ENDS_HERE = {
    b"keep-alive",
    b"te",
    b"trailer",
    b"close",
    b"http2-settings",
    b"x-connection-id",
    b"x-original-url",
    b"x-rewrite-url",
}
_BEARER = b"Bearer " + SECRET.encode()


def check(data: bytes) -> None:
    """Hold what goes upstream against what stands in the caller's bytes."""
    size, sent = (data[0] if data else 0), data[1:]
    plane = Plane()
    plane.run(cut(sent, size))
    read = strict.requests(sent)
    unmet = iter(read)
    tunnel: tuple[str, int] | None = None
    for asked in plane.asked:
        written = asked.wire.written
        try:
            message, behind = strict.request(written)
        except strict.Incomplete:
            assert asked is plane.asked[-1], "an exchange began before the one before it was done"
            continue
        assert not behind, "more than one request was sent"
        for before in unmet:
            if before.start[0] == b"CONNECT" and tunnel is None:
                tunnel = _authority(before.start[1])
            if _may_be(before, message, asked.key[0]):
                break
        else:
            raise AssertionError(f"{message} stands nowhere in what the caller sent")
        _check_fields(message, asked.key)
        _check_nominated(message, before)
        _check_target(message, asked.key)
        origin = asked.key[1]
        assert tunnel in (None, (origin.host, origin.port)), "it left the tunnel"
        if before.start[1].startswith(b"/c/") and tunnel is None:
            assert TOKEN.encode() not in written.partition(b"\r\n\r\n")[0], "the client token went upstream"
    _check_answers(plane, [one.start[0] for one in read])


def _authority(text: bytes) -> tuple[str, int]:
    host, _, port = text.decode("latin-1").rpartition(":")
    number = int(port) if port.isdecimal() else 0
    return host.lower().removesuffix("."), 443 if number == 80 else number  # this policy takes http for https there


def _check_answers(plane: Plane, methods: list[bytes]) -> None:
    """Each request has one answer, in its turn, for as long as the connection is open."""
    got, ended = plane.wire.written, plane.wire.eof or plane.wire.closed
    for method in methods:
        status = b"100"
        while status[:1] == b"1":
            if ended and not got.startswith(b"HTTP/"):
                return  # the end; a target that no parser reads leaves it unknown that a HEAD has no content
            if method == b"CONNECT" and got.startswith(b"HTTP/1.1 200 Connection Established\r\n\r\n"):
                status, got = b"200", got.partition(b"\r\n\r\n")[2]
            else:
                answer, got = strict.response(got, method=method, ended=False)
                status = answer.start[1]
    assert got in (b"", CONTINUE) or ended, "an answer to nothing"


def _may_be(one: strict.Message, sent: strict.Message, connection_id: str) -> bool:
    """Whether the message upstream is the caller's: the same method, path, query and content."""
    if one.start[0] != sent.start[0] or not _is_same_target(one.start[1], sent.start[1], connection_id):
        return False
    if one.content == sent.content:
        return True
    return connection_id == "crm-bea" and _is_merged(one.content, sent.content)


def _is_merged(before: bytes, after: bytes) -> bool:
    """Whether our body parameter was added: as JSON or as a form, and the only one of its name."""
    try:
        pairs = json.loads(after, object_pairs_hook=lambda found: found, parse_int=str, parse_float=str)
    except ValueError:
        names = [unquote_plus(pair.partition("=")[0]) for pair in re.split("[&;]", after.decode("latin-1"))]
        return after.endswith(b"version=v2") and [name for name in names if name.lower() == "version"] == ["version"]
    try:
        theirs = json.loads(before, object_pairs_hook=lambda found: found, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return pairs[-1:] == [("version", "v2")] and [one for one in theirs if one[0].casefold() != "version"] == pairs[:-1]


def _check_fields(message: strict.Message, key: tuple[str, object]) -> None:
    names = [name.replace(b"_", b"-") for name, _ in message.fields]
    assert message.start[2] == b"1.1"
    assert not _ENDS_HERE & set(names), names
    assert not [name for name in names if name.startswith(b"proxy-")], names
    offers = b"upgrade" in names
    assert message.values(b"connection") == [b"Upgrade"] * offers, message
    assert message.values(b"host") == [key[1].authority.encode()], message  # type: ignore[attr-defined]
    assert message.values(b"authorization") == [_BEARER], message
    assert message.values(b"x-key-id") == [b"us"], message
    assert message.values(b"via")[-1] == VIA
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, message


def _check_nominated(message: strict.Message, before: strict.Message) -> None:
    """What the caller's `Connection` nominates ends here; what stands there all the same is ours."""
    ours = {
        b"authorization",
        b"x-key-id",
        b"via",
        b"host",
        b"content-length",
        b"connection",
        b"upgrade",
        b"accept-encoding",
    }
    members = b",".join(before.values(b"connection")).lower().replace(b"_", b"-").split(b",")
    nominated = {member.strip(b" \t") for member in members} - ours
    assert not nominated & {name.replace(b"_", b"-") for name, _ in message.fields}, message


def _is_same_target(asked_for: bytes, target: bytes, connection_id: str) -> bool:
    """Whether the path and query are the caller's own bytes; where ours is in the query, up to the parameters."""
    if connection_id == "crm-ann":
        asked_for, target = asked_for.partition(b"?")[0], target.partition(b"?")[0]
    relative = re.sub(rb"^/c/[^/?]+", b"", asked_for)
    return asked_for.endswith((target, target.removeprefix(b"/"))) or target == b"/v1" + relative


def _check_target(message: strict.Message, key: tuple[str, object]) -> None:
    """It leads where the policy allows, with our parameter and no other of that name."""
    path, _, query = message.start[1].partition(b"?")
    origin = str(key[1])
    assert origin in ("https://ok.test", "http://ok.test:8080"), origin
    if origin == "https://ok.test":
        assert path == b"/v1" or path.startswith(b"/v1/"), path
        assert not re.match(rb"/v1/+admin(/|$)", path, re.IGNORECASE), path
    if key[0] == "crm-ann":
        pairs = [pair.partition(b"=")[::2] for pair in re.split(b"[&;]", query)]
        ours = [value for name, value in pairs if unquote_plus(name.decode()).lower() == "key"]
        assert ours == [SECRET.encode()], query


_BASIC = b"Proxy-Authorization: Basic Y3JtLWFubjpnd2NfcmlnaHQ=\r\n"  # crm-ann:gwc_right
_BEA = b"Proxy-Authorization: Bearer gwc_right\r\nX-Connection-Id: crm-bea\r\n"
_HOST = b"Host: ok.test\r\n"
SEEDS = (
    b"\0GET http://ok.test/v1/a?b=1&key=2 HTTP/1.1\r\n" + _HOST + _BASIC + b"Accept: */*\r\n\r\n",
    b"\7POST http://ok.test/v1/a HTTP/1.1\r\n" + _HOST + _BASIC + b"Content-Length: 5\r\n\r\nhello",
    b"\5POST https://ok.test/v1/a HTTP/1.1\r\n"
    + _HOST
    + _BASIC
    + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"\0PUT http://ok.test:8080/x HTTP/1.1\r\n"
    + _HOST
    + _BEA
    + b'Content-Type: application/json\r\nContent-Length: 27\r\n\r\n{"a": 1.0, "version": "v1"}',
    b"\0PUT http://ok.test:8080/x HTTP/1.1\r\n"
    + _HOST
    + _BEA
    + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\na=1&version=3",
    b"\0GET /c/crm-ann/https://ok.test/v1/a HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer gwc_right\r\n\r\n",
    b"\0GET /c/crm-ann/x HTTP/1.1\r\nHost: gwc_right\r\nX-Api-Key: gwc_right\r\nA: gwc_right\r\n\r\n",
    b"\0GET /c/crm-ann/x?y HTTP/1.1\r\nHost: g\r\nX-Api-Key: gwc_right\r\nX-Key-Id: theirs\r\n\r\n",
    b"\0CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n" + _BASIC + b"\r\n",
    b"\0CONNECT ok.test:8080 HTTP/1.1\r\nHost: ok.test:8080\r\n"
    + _BASIC
    + b"\r\nGET /x HTTP/1.1\r\nHost: ok.test:8080\r\n\r\n",
    b"\0GET http://ok.test:8080/ws HTTP/1.1\r\n"
    + _HOST
    + _BASIC
    + b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    b"\0GET http://ok.test:8080/h HTTP/1.0\r\n" + _HOST + _BASIC + b"Connection: keep-alive, X-A\r\nX-A: 1\r\n\r\n",
    b"\0POST http://ok.test/v1/e HTTP/1.1\r\n"
    + _HOST
    + _BEA
    + b"Expect: 100-continue\r\nContent-Type: text/json\r\nContent-Length: 2\r\n\r\n{}",
    b"\0" + b"".join(b"GET http://ok.test/v1/%d HTTP/1.1\r\n%b\r\n" % (number, _HOST + _BASIC) for number in range(3)),
    b"\0GET http://ok.test/v1/admin HTTP/1.1\r\n" + _HOST + _BASIC + b"Te: trailers\r\nKeep-Alive: x\r\n\r\n",
    b"\0GET http://ok.test/v1/a HTTP/1.1\r\n"
    + _HOST
    + _BASIC
    + b"Authorization: x\r\nX_Key_Id: y\r\nVia: 1.0 z\r\n\r\n",
    b"\0GET http://ok.test/v1/a HTTP/1.1\r\n"
    + _HOST
    + _BASIC
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
)
