"""What holds of the data plane as a whole, whatever a caller and a service send, and however it is cut on its way.

All but the last run on wires without sockets (`tests/fuzz/plane.py`); what goes upstream is read by a second reader.
"""

import asyncio
import base64
import contextlib
import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.http.request import RequestRejected, read_request_head
from gateway.proxy.entrances import proxy_tag
from tests import near_misses
from tests.fuzz import answers, requests, strict, targets
from tests.fuzz.plane import COMPILED, SECRET, Plane, cut
from tests.proxy.harness import OK, TOKEN, Gateway, Service

TAGS = {
    "crm-ann": b"Proxy-Authorization: Basic Y3JtLWFubjpnd2NfcmlnaHQ=\r\n",
    "crm-bea": b"Proxy-Authorization: Bearer gwc_right\r\nX-Connection-Id: crm-bea\r\n",
}
IDS = st.sampled_from(sorted(TAGS))
on_wires = pytest.mark.skipif(COMPILED, reason="wires without sockets take the interpreted data plane")
CUTS = st.sampled_from([0, 0, 1, 2, 3, 7, 50])


def _is_line(text: str) -> bool:
    return not set(text) & set("\r\n")


def _in_entrance(entrance: str, connection_id: str, url: str) -> bytes:
    """A request for it; the line that begins with the target is its own only where that is one line."""
    rest = url.partition("://")[2]
    authority, _, path = rest.partition("/")
    match entrance:
        case "absolute":
            return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (url.encode(), TAGS[connection_id])
        case "tunnel":
            connect = b"CONNECT ok.test:8080 HTTP/1.1\r\nHost: ok.test:8080\r\n%b\r\n" % TAGS[connection_id]
            return connect + b"GET /%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path.encode(), authority.encode())
        case "absolute in a tunnel":
            connect = b"CONNECT ok.test:8080 HTTP/1.1\r\nHost: ok.test:8080\r\n%b\r\n" % TAGS[connection_id]
            return connect + b"GET %b HTTP/1.1\r\nHost: ok.test:8080\r\n\r\n" % url.encode()
        case "folded":
            url = url.replace("://", ":/", 1)
    target = f"/c/{connection_id}/{url}" if entrance != "relative" else f"/c/{connection_id}/{path}"
    return b"GET %b HTTP/1.1\r\nHost: g\r\nX-Api-Key: gwc_right\r\n\r\n" % target.encode()


@on_wires
@given(
    near_misses.URLS.filter(_is_line),
    st.sampled_from(["absolute", "path", "folded", "relative", "tunnel", "absolute in a tunnel"]),
    IDS,
    CUTS,
)
def test_what_is_allowed_is_sent_as_it_was_asked_for_in_every_entrance(
    url: str, entrance: str, connection_id: str, size: int
) -> None:
    requests.check(bytes([size]) + _in_entrance(entrance, connection_id, url))


@given(near_misses.URLS, st.sampled_from(["", "", "/", "x/", "//", "?"]), st.sampled_from(b"\1\2"))
def test_a_path_style_or_tunnelled_target_has_the_origin_that_a_plain_reading_gives(
    url: str, before: str, kind: int
) -> None:
    targets.check(bytes([kind]) + f"/{before}{url}".encode())


_PLAIN_NAMES = "A Cookie X-Key-Idx Accept-Encoding Forwarded Range Expect X-Api-Key Te Keep-Alive Proxy-Authenticate"
_FIELD_NAMES = """
Authorization authorization AUTHORIZATION Authori_zation X-Key-Id X_Key_Id x-key_id X-KEY-ID Upgrade Via Trailer
Proxy_Authorization proxy-connection Content-Length Content_Length Transfer-Encoding Host Content-Type Close
X-Original-URL X_Rewrite_Url X-HTTP-Method-Override HTTP2-Settings X-Connection-Id
"""
_FIELD_VALUES = """
x close x_key_id Upgrade websocket chunked 0 5 100-continue ok.test DELETE trailers crm-bea
application/json gzip café a,b
"""
FIELD_NAMES = st.sampled_from(_PLAIN_NAMES.split()) | st.sampled_from(_FIELD_NAMES.split())
FIELD_VALUES = st.sampled_from(
    [
        *("", "Bearer theirs", f"Bearer {TOKEN}", TOKEN, "keep-alive, X-A", "1.1 other", "\t x \t"),
        *_FIELD_VALUES.split(),
    ]
)
FIELDS = st.lists(
    st.tuples(FIELD_NAMES, st.sampled_from([":", ": ", ":\t"]), FIELD_VALUES, st.sampled_from([False, False, True])),
    max_size=4,
)
"""The last says whether `Connection` nominates it."""
UPGRADES = st.sampled_from(
    ["", "", "Connection: Upgrade\r\nUpgrade: websocket\r\n", f"Connection: upgrade\r\nUpgrade: x, {TOKEN}\r\n"]
)


@on_wires
@given(FIELDS, UPGRADES, st.sampled_from(["absolute", "path"]), st.sampled_from(["g", "", TOKEN]))
def test_no_field_of_the_caller_s_replaces_or_joins_one_of_ours(
    fields: list[tuple[str, str, str, bool]], upgrade: str, entrance: str, host: str
) -> None:
    """Nor does one that was to end here go upstream, nor the client token of a path-style call."""
    head = _in_entrance(entrance, "crm-ann", "http://ok.test:8080/x").removesuffix(b"\r\n")
    head = re.sub(rb"\r\nHost: [gx]\r", b"\r\nHost: %b\r" % host.encode(), head)
    lines = [upgrade, *[f"{name}{colon}{value}\r\n" for name, colon, value, _ in fields]]
    lines += [f"Connection: {name}\r\n" for name, *_, nominated in fields if nominated]
    requests.check(b"\0" + head + "".join(lines).encode("latin-1") + b"\r\nhello")


CONTENTS = st.binary(max_size=40) | st.sampled_from(
    [b"0\r\n\r\n", b"GET http://ok.test:8080/evil HTTP/1.1\r\n\r\n", b"\r\n", b"x" * 90]
)


Part = tuple[bytes, int, bytes, bytes, str]


def _framed(number: int, part: Part) -> bytes:
    """A POST of it: with its length where the size is 0, else in chunks of that size."""
    content, size, extension, trailers, connection_id = part
    head = b"POST http://ok.test:8080/%d HTTP/1.1\r\nHost: x\r\n%b" % (number, TAGS[connection_id])
    if not size:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    chunks = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in cut(content, size) if piece]
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


REQUESTS = st.lists(
    st.tuples(
        CONTENTS,
        st.sampled_from([0, 0, 2, 7, 32]),
        st.sampled_from([b"", b";a", b';a="b"', b";a=b;c"]),
        st.sampled_from([b"", b"X: y\r\n", b"Authorization: Bearer late\r\n"]),
        IDS,
    ),
    min_size=1,
    max_size=3,
)


@on_wires
@given(REQUESTS, st.lists(st.integers(0, 900), max_size=5), st.sampled_from([0, 0, 0, 9]))
def test_content_arrives_whole_and_once_however_it_is_framed_and_cut(
    parts: list[Part], cuts: list[int], size: int
) -> None:
    data = b"".join(_framed(number, part) for number, part in enumerate(parts))
    edges = [0, *sorted(cuts), len(data)]
    plane = Plane()
    plane.run(cut(data, size) if size else [data[start:end] for start, end in pairwise(edges) if start < end])
    got = [strict.request(asked.wire.written) for asked in plane.asked]
    assert [rest for _, rest in got] == [b""] * len(parts)
    assert [message.content for message, _ in got] == [content for content, *_ in parts]
    assert [message.start[1].partition(b"?")[0] for message, _ in got] == [
        b"/%d" % number for number in range(len(parts))
    ]
    assert plane.wire.written.count(b"HTTP/1.1 200 OK\r\n") == len(parts)


STATUSES = st.sampled_from(
    [b"200 OK", b"204 No", b"304 Not Modified", b"401 No", b"404", b"500 tok_abcdefgh", b"999 \x01", b"302 Found"]
)
SPELLINGS = st.sampled_from(
    [
        SECRET.encode(),
        quote(f"Bearer {SECRET}").encode(),
        base64.b64encode(f"u:{SECRET}".encode()),
        base64.b64encode(f"xu:{SECRET}!".encode()),
        b"ok",
        b"",
        b"tok_abc",
    ]
)
_ANSWER_NAMES = b"X-A Location Set-Cookie Keep-Alive Alt-Svc Trailer Proxy-Status Connection Via"
ANSWER_FIELDS = st.lists(
    st.tuples(
        st.sampled_from(_ANSWER_NAMES.split()),
        SPELLINGS | st.sampled_from([b"X-A", b"close", b"/y?tok_abcdefgh", b"http://ok.test:8080/tok_abcdefgh"]),
    ),
    max_size=4,
)


def _said(status: bytes, fields: list[tuple[bytes, bytes]], content: bytes, framing: int | None) -> bytes:
    """An answer whose content ends with the connection (None), by its length (0), or comes in chunks of that size."""
    head = b"HTTP/1.1 %b\r\n" % status + b"".join(b"%b: %b\r\n" % field for field in fields)
    if framing is None:
        return head + b"\r\n" + content
    if framing == 0:
        return head + b"Content-Length: %d\r\n\r\n" % len(content) + content
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(content, framing) if piece)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


ANSWERS = st.builds(
    _said,
    STATUSES,
    ANSWER_FIELDS,
    st.lists(SPELLINGS, max_size=4).map(b" ".join),
    st.sampled_from([None, 0, 1, 5, 11]),
)


@on_wires
@given(
    st.integers(0, 63),
    st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: tok_abcdefgh\r\n\r\n"]),
    ANSWERS,
    st.integers(0, 40),
)
def test_an_answer_arrives_whole_or_is_cut_off_and_holds_no_secret(
    flags: int, before: bytes, answer: bytes, size: int
) -> None:
    """In its length, in chunks, or until the end; behind 1xx answers; cut anywhere by the network."""
    answers.check(bytes([flags, size]) + before + answer)


NAMES = st.text(st.sampled_from("ab-._%:@/ \u00e9\x00"), max_size=6) | st.sampled_from(
    ["crm-ann", "a" * 64, "a" * 65, "b ", " b"]
)
SCHEMES = st.sampled_from(["Basic", "basic", "Bearer", "bEARER", "Digest", ""])


@given(
    SCHEMES,
    st.sampled_from(["crm-ann", "a.b"]) | NAMES,
    NAMES,
    st.sampled_from([None, None, "crm-ann", "a.b"]),
    st.sampled_from(["", " ", "!", ","]),
)
def test_a_tag_names_one_connection_and_one_token_or_is_refused(
    scheme: str, user: str, password: str, named: str | None, behind: str
) -> None:
    basic = scheme.lower() == "basic"
    shown = base64.b64encode(f"{user}:{password}".encode()).decode() if basic else password
    fields = [(b"Host", b"x"), (b"Proxy-Authorization", f"{scheme} {shown}{behind}".encode())]
    if named is not None:
        fields.append((b"X-Connection-Id", named.encode()))
    with contextlib.suppress(RequestRejected):
        head = read_request_head(method="GET", raw_target=b"*", version="1.1", keep_alive=True, fields=fields)
        tag = proxy_tag(head)
        if isinstance(tag, Refusal):
            return
        told = (named or "").strip(" \t").encode().decode("latin-1")
        if basic:
            before, _, rest = f"{user}:{password}".partition(":") if behind not in ("!", ",") else ("", "", "")
            assert (tag.connection_id, tag.token) == (before or told, rest or None)
            assert not told or told == tag.connection_id
        else:
            assert scheme.lower() == "bearer"
            assert tag.connection_id == told
            assert tag.token == (f"{shown}{behind}".strip(" ").encode().decode("latin-1") or None)


def reading_strictly(service: Service) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A service that reads by the second reader, and so isn't led astray by what stands in content."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        while piece := await reader.read(65536):
            data += piece
            with contextlib.suppress(strict.Incomplete):
                while data:
                    _, rest = strict.request(data)
                    service.requests.append(data.removesuffix(rest))
                    writer.write(OK)
                    data = rest

    return serve


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # on sockets: each takes its time
@given(parts=REQUESTS, cuts=st.lists(st.integers(0, 900), max_size=3))
async def test_on_sockets_one_request_is_one_request_and_its_content_is_its_own(
    gateway: Gateway, parts: list[Part], cuts: list[int]
) -> None:
    gateway.service.requests.clear()
    gateway.service.raw = reading_strictly(gateway.service)
    data = b"".join(_framed(number, (*part[:-1], "crm-ann")) for number, part in enumerate(parts))
    data = data.replace(b"POST http://ok.test:8080", b"POST " + gateway.origin.encode())
    edges = [0, *sorted(cuts), len(data)]
    caller = await gateway.open()
    try:
        for start, end in pairwise(edges):
            await caller.send(data[start:end])
        for _ in parts:
            assert (await caller.receive()).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        await caller.close()
    got = [strict.request(one)[0] for one in gateway.service.requests]
    assert [message.content for message in got] == [content for content, *_ in parts]
    assert [message.start[1] for message in got] == [b"/%d" % number for number in range(len(parts))]
