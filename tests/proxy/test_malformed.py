"""What isn't one clear HTTP request is answered 400 and ends the connection, in every entrance (http-rules.md 4)."""

import json

import pytest

from tests.proxy.harness import TOKEN, Caller, Gateway

CASES = {
    "CL and TE": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    "two CL": b"Content-Length: 3\r\nContent-Length: 3\r\n",
    "CL list": b"Content-Length: 3, 3\r\n",
    "CL plus": b"Content-Length: +3\r\n",
    "CL negative": b"Content-Length: -3\r\n",
    "CL hex": b"Content-Length: 0x3\r\n",
    "CL huge": b"Content-Length: 99999999999999999999\r\n",
    "TE list": b"Transfer-Encoding: gzip, chunked\r\n",
    "TE comma": b"Transfer-Encoding: ,chunked\r\n",
    "TE twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "TE identity": b"Transfer-Encoding: identity\r\n",
    "TE xchunked": b"Transfer-Encoding: xchunked\r\n",
    "TE vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "second Host": b"Host: other\r\n",
    "obs-fold": b"X-A: 1\r\n folded\r\n",
    "bare LF": b"X-A: 1\nX-B: 2\r\n",
    "bare CR": b"X-A: 1\rX-B: 2\r\n",
    "NUL": b"X-A: a\0b\r\n",
    "space before colon": b"X-A : 1\r\n",
    "no colon": b"X-A\r\n",
    "empty name": b": 1\r\n",
    "underscore CL": b"Content_Length: 3\r\n",
    "underscore TE": b"Transfer_Encoding: chunked\r\n",
    "nominated Host": b"Connection: host\r\n",
    "nominated CL": b"Connection: content-length\r\nContent-Length: 3\r\n",
    "CL behind an Upgrade": b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
    "TE behind an Upgrade": b"Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
    "CL behind an h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n",
    "expectation": b"Expect: a-miracle\r\n",
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
@pytest.mark.parametrize("entrance", ["absolute", "path", "tunnel"])
async def test_a_malformed_head_is_refused(gateway: Gateway, caller: Caller, entrance: str, fields: bytes) -> None:
    port = gateway.service.port
    behind = b"abc" + gateway.request("POST", "/admin")
    match entrance:
        case "absolute":
            request = gateway.request("POST", headers=fields)
        case "path":
            request = f"POST /c/crm-ann/x HTTP/1.1\r\nHost: g\r\nX-Api-Key: {TOKEN}\r\n".encode() + fields + b"\r\n"
        case _:
            connect = gateway.request().split(b"\r\n", 1)[1]
            await caller.ask(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % port + connect)
            request = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port + fields + b"\r\n"
    await caller.send(request + behind)
    answer = await caller.receive()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_rejected"
    assert b"\r\nConnection: close\r\n" in answer
    assert await caller.rest() == b""
    assert gateway.service.requests == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://ok.test/ HTTP/0.9",
        b"GET http://ok.test/ HTTP/2.0",
        b"GET http://ok.test/ HTTP/1.2",
        b"GET http://ok.test/",
        b"get http://ok.test/ HTTP/1.1",
        b"GET\thttp://ok.test/ HTTP/1.1",
        b"G\0T http://ok.test/ HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"DESCRIBE http://ok.test/ RTSP/1.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_malformed_request_line_is_refused(gateway: Gateway, caller: Caller, line: bytes) -> None:
    await caller.send(line + b"\r\nHost: ok.test\r\n\r\n")
    assert (await caller.receive()).startswith(b"HTTP/1.1 400 ")
    assert await caller.rest() == b""
    assert gateway.service.requests == []


async def test_transfer_encoding_on_http_1_0_is_refused(gateway: Gateway, caller: Caller) -> None:
    request = gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert (await caller.ask(request)).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "chunk", [b"zz\r\nabc\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n", b"3 \r\nabc\r\n", b"-3\r\n", b"3\r\nabcX"]
)
async def test_a_malformed_chunk_ends_the_request_upstream_too(gateway: Gateway, caller: Caller, chunk: bytes) -> None:
    request = gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n", content=chunk)
    assert (await caller.ask(request)).startswith(b"HTTP/1.1 400 ")
    assert await caller.rest() == b""
    assert gateway.service.requests == []


async def test_a_valid_request_before_a_malformed_one_is_still_answered(gateway: Gateway, caller: Caller) -> None:
    await caller.send(gateway.request() + b"GARBAGE\r\n\r\n")
    assert (await caller.receive()).endswith(b"ok")
    assert (await caller.receive()).startswith(b"HTTP/1.1 400 ")
    assert await caller.rest() == b""


async def test_http_1_0_is_answered_with_content_until_close(gateway: Gateway, caller: Caller) -> None:
    gateway.service.script = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    await caller.send(gateway.request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    answer = await caller.rest()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\nabc")


async def test_http_1_0_may_keep_its_connection(gateway: Gateway, caller: Caller) -> None:
    request = gateway.request(headers=b"Connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    for _ in range(2):
        answer = await caller.ask(request)
        assert b"\r\nConnection: keep-alive\r\n" in answer
