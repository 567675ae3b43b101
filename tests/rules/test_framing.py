"""Rule 4: what isn't one clear HTTP/1 request is answered 400 and ends the connection, and nothing of it goes out."""

import pytest

from tests.proxy.harness import Caller
from tests.rules.entrances import CREDENTIAL, REJECTED, VIA, Entrance, assert_ends, problem

FIELDS = {
    "CL and TE": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    "CL 0 and TE": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "cl and te": b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
    "two CL": b"Content-Length: 3\r\nContent-Length: 3\r\n",
    "two CL that differ": b"Content-Length: 0\r\nX: y\r\ncontent-length: 3\r\n",
    "CL list": b"Content-Length: 3, 3\r\n",
    "CL twice in one": b"Content-Length: 3 3\r\n",
    "CL plus": b"Content-Length: +3\r\n",
    "CL negative": b"Content-Length: -3\r\n",
    "CL hex": b"Content-Length: 0x3\r\n",
    "CL underscore": b"Content-Length: 1_0\r\n",
    "CL decimal": b"Content-Length: 3.0\r\n",
    "CL fullwidth": "Content-Length: ３\r\n".encode(),  # noqa: RUF001 - the vector
    "CL quoted": b'Content-Length: "3"\r\n',
    "CL empty": b"Content-Length: \r\n",
    "CL huge": b"Content-Length: 99999999999999999999\r\n",
    "CL over 64 bits": b"Content-Length: 18446744073709551619\r\n",
    "CL vertical tab": b"Content-Length: \x0b3\r\n",
    "CL form feed": b"Content-Length: 3\x0c\r\n",
    "TE list": b"Transfer-Encoding: gzip, chunked\r\n",
    "TE chunked first": b"Transfer-Encoding: chunked, gzip\r\n",
    "TE comma": b"Transfer-Encoding: ,chunked\r\n",
    "TE comma behind": b"Transfer-Encoding: chunked,\r\n",
    "TE twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "TE twice in one": b"Transfer-Encoding: chunked, chunked\r\n",
    "TE identity": b"Transfer-Encoding: identity\r\n",
    "TE identity then chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "TE xchunked": b"Transfer-Encoding: xchunked\r\n",
    "TE chunkedx": b"Transfer-Encoding: chunkedx\r\n",
    "TE parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "TE quoted": b'Transfer-Encoding: "chunked"\r\n',
    "TE empty": b"Transfer-Encoding:\r\n",
    "TE vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "TE no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
    "TE folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "TE bare CR": b"X: y\rTransfer-Encoding: chunked\r\n",
    "TE bare LF": b"X: y\nTransfer-Encoding: chunked\r\n",
    "TE with a space before the colon": b"Transfer-Encoding : chunked\r\n",
    "TE with a tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "TE with a NUL": b"Transfer-Encoding\0: chunked\r\n",
    "CL with a space before the colon": b"Content-Length : 3\r\n",
    "second Host": b"Host: other\r\n",
    "the same Host again": b"Host: ok.test\r\n",
    "host in lower case": b"host: other\r\n",
    "obs-fold": b"X-A: 1\r\n folded\r\n",
    "obs-fold by a tab": b"X-A: 1\r\n\tfolded\r\n",
    "bare LF": b"X-A: 1\nX-B: 2\r\n",
    "bare LF at the end": b"X-A: 1\n\r\n",
    "bare CR": b"X-A: 1\rX-B: 2\r\n",
    "CR CR LF": b"X-A: 1\r\r\n",
    "NUL in a value": b"X-A: a\0b\r\n",
    "NUL in a name": b"X\0A: a\r\n",
    "space before the colon": b"X-A : 1\r\n",
    "space before the name": b" X-A: 1\r\n",
    "space in the name": b"X A: 1\r\n",
    "no colon": b"X-A\r\n",
    "empty name": b": 1\r\n",
    "name that isn't ASCII": b"X-\xe9: 1\r\n",
    "name with brackets": b"X[A]: 1\r\n",
    "underscore CL": b"Content_Length: 3\r\n",
    "underscore CL beside TE": b"Transfer-Encoding: chunked\r\ncontent_length: 3\r\n",
    "underscore TE": b"Transfer_Encoding: chunked\r\n",
    "underscore Host": b"_Host: a\r\nHo_st: b\r\nHOST: c\r\n",
    "CL behind an Upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
    "TE behind an Upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
    "CL behind an h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n",
    "an expectation": b"Expect: a-miracle\r\n",
    "two expectations": b"Expect: 100-continue, a-miracle\r\n",
}


async def assert_rejected(entrance: Entrance, caller: Caller, sent: bytes) -> None:
    """It is answered 400, and of what comes behind it nothing is read: content that a kinder reader would take."""
    content = b"3\r\nabc\r\n0\r\n\r\n" if b"ransfer" in sent else b"abc"
    await caller.send(sent + content + entrance.request("POST", "/admin", fields=b"Content-Length: 0\r\n"))
    answer = await caller.receive()
    assert problem(answer) == REJECTED
    assert b"\r\nConnection: close\r\n" in answer
    await assert_ends(caller)
    assert entrance.service.connections == 0


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
async def test_rule_04_a_malformed_head_is_refused(entrance: Entrance, caller: Caller, fields: bytes) -> None:
    await assert_rejected(entrance, caller, entrance.request("POST", fields=fields))


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.parametrize("coding", [b"chunked", b"identity"])
async def test_rule_04_transfer_encoding_on_http_1_0_is_refused(
    entrance: Entrance, caller: Caller, fields: bytes, coding: bytes
) -> None:
    fields += b"Transfer-Encoding: %b\r\n" % coding
    await assert_rejected(entrance, caller, entrance.request("POST", fields=fields, version=b"HTTP/1.0"))


VERSIONS = [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/1.10", b"HTTP/1", b"HTTP/11", b"http/1.1"]


@pytest.mark.parametrize("version", [*VERSIONS, b"HTTP/1.1 ", b"HTTPS/1.1", b"ICE/1.0", b"HTTP/1,1", b""])
async def test_rule_04_another_version_is_refused(entrance: Entrance, caller: Caller, version: bytes) -> None:
    await assert_rejected(entrance, caller, entrance.request("POST", version=version))


LINES = {
    "a tab": b"GET\t%b HTTP/1.1",
    "a blank in the target": b"GET %b x HTTP/1.1",
    "a tab in the target": b"GET %b\t HTTP/1.1",
    "a NUL in the target": b"GET %b\0 HTTP/1.1",
    "a bare CR in the target": b"GET %b\r HTTP/1.1",
    "a bare LF behind it": b"GET %b HTTP/1.1\nX: y",
    "a blank before it": b" GET %b HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "a NUL in the method": b"G\0T %b HTTP/1.1",
    "lower case": b"get %b HTTP/1.1",
    "an unknown method": b"FETCH %b HTTP/1.1",
    "RTSP's": b"DESCRIBE %b HTTP/1.1",
    "RTSP": b"DESCRIBE %b RTSP/1.0",
    "HTTP/2's": b"PRI * HTTP/2.0",
    "no version": b"GET %b",
    "an answer": b"HTTP/1.1 200 OK",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
async def test_rule_04_a_malformed_request_line_is_refused(entrance: Entrance, caller: Caller, line: bytes) -> None:
    target = entrance.target("/v1/users")
    await assert_rejected(entrance, caller, entrance.raw(line.replace(b"%b", target)))


CHUNKS = {
    "size": b"zz\r\nabc\r\n",
    "size too small": b"3\r\nabcd\r\n",
    "size too large": b"4\r\nabc\r\n0\r\n\r\n",
    "negative": b"-3\r\n",
    "plus": b"+3\r\nabc\r\n",
    "0x": b"0x3\r\nabc\r\n",
    "underscore": b"0_3\r\nabc\r\n",
    "no size": b"\r\nabc\r\n",
    "blank before": b" 3\r\nabc\r\n",
    "blank behind": b"3 \r\nabc\r\n",
    "bare LF": b"3\nabc\r\n",
    "bare LF behind": b"3\r\nabc\n0\r\n\r\n",
    "bare CR": b"3\rabc\r\n",
    "no end": b"3\r\nabcX",
    "over 64 bits": b"10000000000000003\r\nabc\r\n",
    "bare LF in an extension": b"3;a\nb\r\nabc\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "CL in a trailer": b"0\r\nContent-Length: 3\r\n\r\nabc",
    "TE in a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF in a trailer": b"0\r\nX: y\nZ: z\r\n\r\n",
    "space before the colon of a trailer": b"0\r\nX : y\r\n\r\n",
}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
async def test_rule_04_a_malformed_chunk_ends_the_request_upstream_too(
    entrance: Entrance, caller: Caller, chunk: bytes
) -> None:
    await caller.send(
        entrance.request("POST", fields=b"Transfer-Encoding: chunked\r\n", content=chunk)
        + entrance.request("POST", "/admin")
    )
    assert problem(await caller.receive()) == REJECTED
    await assert_ends(caller)
    assert entrance.requests == [], "no whole request has arrived"


@pytest.mark.parametrize(
    ("fields", "content", "framed"),
    [
        (b"Content-Length: 0003\r\n", b"abc", b"Content-Length: 3\r\n"),
        (b"content-length:\t3 \r\n", b"abc", b"content-length: 3\r\n"),
        (b"Content-Length: 0\r\n", b"", b"Content-Length: 0\r\n"),
        (b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
        (b"transfer-encoding:chunked \r\n", b"003;x=y\r\nabc\r\n000\r\n\r\n", b"transfer-encoding: chunked\r\n"),
    ],
)
async def test_rule_04_framing_is_written_anew(
    entrance: Entrance, caller: Caller, fields: bytes, content: bytes, framed: bytes
) -> None:
    assert (await caller.ask(entrance.request("POST", fields=fields, content=content))).endswith(b"ok")
    sent = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in framed else content
    assert entrance.requests == [
        b"POST /v1/users HTTP/1.1\r\nHost: ok.test\r\n" + framed + CREDENTIAL + VIA + b"\r\n" + sent
    ]
    assert (await caller.ask(entrance.request())).endswith(b"ok"), "and the next request is the next one"


async def test_rule_04_without_framing_there_is_no_content(entrance: Entrance, caller: Caller) -> None:
    await caller.send(entrance.request("POST") + entrance.request("PUT"))
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).endswith(b"ok")
    assert [request.split()[0] for request in entrance.requests] == [b"POST", b"PUT"]


async def test_rule_04_a_valid_request_before_a_malformed_one_is_still_answered(
    entrance: Entrance, caller: Caller
) -> None:
    await caller.send(entrance.request() + b"GARBAGE\r\n\r\n")
    assert (await caller.receive()).endswith(b"ok")
    assert problem(await caller.receive()) == REJECTED
    await assert_ends(caller)


async def test_rule_04_http_1_0_is_answered_with_content_until_close(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    await caller.send(entrance.request(version=b"HTTP/1.0"))
    answer = await caller.rest()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\nabc")


async def test_rule_04_http_1_0_may_keep_its_connection(entrance: Entrance, caller: Caller) -> None:
    for _ in range(2):
        answer = await caller.ask(entrance.request(fields=b"Connection: keep-alive\r\n", version=b"HTTP/1.0"))
        assert b"\r\nConnection: keep-alive\r\n" in answer
