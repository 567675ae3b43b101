"""The listener's wire: what is malformed or ambiguous, names that aren't ours, and that nothing lasts for ever."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.web.wire import Bounds
from tests.web.harness import ADMIN, running

HOST = b"Host: 127.0.0.1\r\n"
BEHIND = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
"""A request of the attacker's, in what may be read as content."""


@asynccontextmanager
async def opened(web):
    reader, writer = await asyncio.open_connection(*web.server.addresses[0])
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(web, raw: bytes) -> bytes:
    """Send bytes, and return all that is answered until the listener closes."""
    async with opened(web) as (reader, writer), asyncio.timeout(5.0):
        writer.write(raw)
        return await reader.read()


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, content = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), content


def post(*fields: bytes, content: bytes = b"0\r\n\r\n", version: bytes = b"1.1") -> bytes:
    return b"POST /sign-in HTTP/%b\r\n%b%b\r\n%b" % (version, HOST, b"".join(one + b"\r\n" for one in fields), content)


CHUNKED = b"Transfer-Encoding: chunked"
UNCLEAR = {
    "CL with TE": post(b"Content-Length: 5", CHUNKED),
    "TE with CL": post(CHUNKED, b"Content-Length: 5"),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked"),
    "TE gzip": post(b"Transfer-Encoding: gzip"),
    "TE xchunked": post(b"Transfer-Encoding: xchunked"),
    "TE behind a comma": post(b"Transfer-Encoding: ,chunked"),
    "TE behind a tab": post(b"Transfer-Encoding: \x0bchunked"),
    "TE twice": post(CHUNKED, CHUNKED),
    "TE on HTTP/1.0": post(CHUNKED, version=b"1.0"),
    "CL twice": post(b"Content-Length: 0", b"Content-Length: 5"),
    "CL twice, the same": post(b"Content-Length: 0", b"Content-Length: 0", content=b""),
    "CL as a list": post(b"Content-Length: 0, 0", content=b""),
    "CL +1": post(b"Content-Length: +1"),
    "CL -1": post(b"Content-Length: -1"),
    "CL 0x1": post(b"Content-Length: 0x1"),
    "CL empty": post(b"Content-Length:"),
    "CL of 23 digits": post(b"Content-Length: 99999999999999999999999"),
    "a chunk's extension with LF": post(CHUNKED, content=b"1;a=\nb\r\na\r\n0\r\n\r\n"),
    "chunks with bare LF": post(CHUNKED, content=b"1\na\n0\n\n"),
    "a chunk of 17 digits": post(CHUNKED, content=b"fffffffffffffffff\r\n"),
    "a chunk of 0x1": post(CHUNKED, content=b"0x1\r\na\r\n0\r\n\r\n"),
    "Host twice": b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.test\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "Host with a tag": b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: 127.0.0.1@evil.test\r\n\r\n",
    "Host with half a bracket": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "Host empty": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    "bare CR": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown method": b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a raw byte in the path": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "a line of 20,000": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a field of 20,000": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "300 fields": b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(300)) + b"\r\n",
    "an expectation": post(b"Expect: a-token", b"Content-Length: 0", content=b""),
}
STATUS = {"a line of 20,000": 431, "a field of 20,000": 431, "an expectation": 417}


async def test_what_is_malformed_or_ambiguous_is_one_problem_and_the_connection_ends(web, caplog, capsys):
    wrong = {}
    for name, raw in UNCLEAR.items():
        status, headers, content = parts(await said(web, raw + BEHIND))
        problem = json.loads(content)  # that, and no second answer behind it
        if (status, problem["status"]) != (STATUS.get(name, 400),) * 2:
            wrong[name] = status
        assert headers["Content-Type"] == "application/problem+json", name
        assert headers["X-Request-Id"] == problem["request_id"], name
        assert "default-src 'none'" in headers["Content-Security-Policy"], name
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff"), name
        assert headers["Server"] == "gateway", name
    assert wrong == {}
    log = capsys.readouterr()
    assert caplog.text == "", "nobody can fill the log with it"
    assert "Traceback" not in log.out + log.err


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /connect/gwl_one-time-token HTTP/1.1\r\nHost: 127.0.0.1\r\nX : a\r\n\r\n",
        b"GET /gwl_one-time-token\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer one-time-token\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: one-time-token!\r\n\r\n",
        b"POST /one-time-token HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: one-time-token\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_nothing_of_what_could_not_be_read_is_repeated(web, raw, caplog, capsys):
    answer = await said(web, raw)
    assert b"one-time" not in answer
    assert "one-time" not in caplog.text + capsys.readouterr().err


async def test_content_is_never_taken_for_the_next_request(web):
    """Whatever a form of this length has in it, it is one request."""
    raw = post(b"Content-Length: %d" % len(BEHIND), b"Connection: close", content=BEHIND)
    answer = await said(web, raw)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b'"status":"ok"' not in answer


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"HTTP/2.0", b"anything"])
async def test_an_offered_upgrade_is_declined_and_what_is_behind_it_answered_by_nobody(web, protocol):
    upgrade = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
    answer = await said(web, upgrade + BEHIND)
    assert answer.count(b'{"status":"ok"}') == 1
    assert parts(answer)[1]["Connection"] == "close"


# Names.


@pytest.mark.parametrize("host", [b"evil.test", b"evil.test:8081", b"localhost.evil.test", b"127.0.0.1.evil.test"])
async def test_on_loopback_a_site_whose_name_was_led_here_reads_nothing(web, host):
    """DNS rebinding: a page at evil.test:8081 whose name now means 127.0.0.1 is same-origin with what answers there."""
    for path in (b"/metrics", b"/healthz", b"/sign-in", b"/static/style.css", b"/api/v1/openapi.json", b"/nothing"):
        status, headers, content = parts(await said(web, b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, host)))
        assert (status, headers["Content-Type"]) == (421, "application/problem+json"), path
        assert b"evil" not in content
        assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:8081", b"gateway.localhost", b"127.0.0.1:1", b"[::1]:8081", b"10.1.2.3"]
)
async def test_on_loopback_an_address_and_localhost_are_names_of_ours(web, host):
    raw = b"GET /healthz HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host
    assert parts(await said(web, raw))[0] == 200


async def test_a_health_check_of_http_1_0_without_a_host_is_answered(web):
    assert parts(await said(web, b"GET /healthz HTTP/1.0\r\n\r\n"))[0] == 200


async def test_behind_a_reverse_proxy_the_public_name_is_ours_and_another_isnt(tmp_path):
    async with running(tmp_path, web={"listen": "127.0.0.1:0", "public_url": "https://gateway.example.com"}) as web:
        for host, expected in ((b"gateway.example.com", 200), (b"GATEWAY.example.com:443", 200), (b"example.com", 421)):
            raw = b"GET /healthz HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host
            assert parts(await said(web, raw))[0] == expected


async def test_on_a_network_the_name_is_for_others_to_choose(tmp_path):
    async with running(tmp_path, web={"listen": "0.0.0.0:0", "public_url": "http://gateway.example.com"}) as web:
        raw = b"GET /healthz HTTP/1.1\r\nHost: gateway.default.svc:8081\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", web.server.addresses[0][1])
        writer.write(raw)
        assert parts(await reader.read())[0] == 200
        writer.close()


# Time and room.


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", BEHIND, BEHIND + b"GET / HTTP/1.1\r\nHost: 127.0"],
    ids=["nothing", "a method", "half a head", "a request", "a request and half a head"],
)
async def test_a_head_that_doesnt_come_ends_the_connection(tmp_path, begun):
    async with running(tmp_path, bounds=Bounds(idle=0.05)) as web:
        answer = await said(web, begun)
    assert answer.count(b"HTTP/1.1 200 OK") == begun.count(BEHIND)


async def test_a_head_that_trickles_in_has_no_longer(tmp_path):
    """Slowloris: each byte comes in time, all of them don't."""
    async with running(tmp_path, bounds=Bounds(idle=0.2)) as web, opened(web) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        reading = asyncio.ensure_future(reader.read())
        for _ in range(500):
            if reading.done():
                break
            writer.write(b"X: a\r\n")
            await asyncio.wait([reading], timeout=0.01)
        with suppress(ConnectionResetError):  # we wrote into what was closed already
            assert await asyncio.wait_for(reading, 0.1) == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_form_that_doesnt_come_is_408_and_the_connection_ends(tmp_path, framing):
    raw = b"POST %b HTTP/1.1\r\n%bContent-Type: application/x-www-form-urlencoded\r\n%b\r\n\r\n"
    async with running(tmp_path, bounds=Bounds(content=0.05, lingering=0.05)) as web:
        for path in (b"/sign-in", b"/sign-out", b"/connect", b"/connect/x", b"/oauth/callback/x"):
            status, _, content = parts(await said(web, raw % (path, HOST, framing)))
            assert (status, b"did not arrive in time" in content) == (408, True), path


async def test_content_of_the_api_that_doesnt_come_is_408_for_who_has_the_token(tmp_path):
    raw = b"%b /api/v1%b HTTP/1.1\r\n%bAuthorization: Bearer %b\r\nContent-Type: %b\r\nContent-Length: 5\r\n\r\n"
    async with running(tmp_path, bounds=Bounds(content=0.05, lingering=0.05)) as web:
        for method, path, kind in (
            (b"POST", b"/clients", b"application/json"),
            (b"PUT", b"/apps/crm", b"application/toml"),
        ):
            status, headers, content = parts(await said(web, raw % (method, path, HOST, ADMIN.encode(), kind)))
            assert (status, json.loads(content)["code"]) == (408, "request_timeout"), path
            assert headers["Content-Type"] == "application/problem+json"


async def test_content_that_nobody_reads_is_not_waited_for(tmp_path):
    raw = b"POST /api/v1/clients HTTP/1.1\r\n%bContent-Length: 5\r\n\r\n" % HOST
    async with running(tmp_path, bounds=Bounds(lingering=0.05)) as web:
        assert parts(await said(web, raw))[0] == 401


async def test_a_caller_that_takes_no_answer_is_cut_off(tmp_path):
    """However little of it is left: what isn't taken would keep the connection open beyond every other bound."""
    asked = BEHIND.replace(b"/healthz", b"/api/v1/openapi.json")
    async with running(tmp_path, bounds=Bounds(connections=1, stalled=0.1)) as web:
        manager, loop = web.server._runner.server, asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            async with asyncio.timeout(10.0):
                await loop.sock_connect(deaf, web.server.addresses[0])
                left = 0
                while not left:
                    await loop.sock_sendall(deaf, asked)
                    for _ in range(50):  # turns of the loop, in which the answer is made and written
                        await asyncio.sleep(0)
                    (connection,) = manager.connections
                    left = connection.transport.get_write_buffer_size()
                assert left < 65_536, "asyncio's own idea of too much"
                while manager.connections:  # noqa: ASYNC110 - the listener tells nobody
                    await asyncio.sleep(0.01)
        assert (await web.get("/healthz")).status == 200, "its place is free again"


async def test_more_connections_than_there_is_room_for_are_told_so(tmp_path):
    async with running(tmp_path, bounds=Bounds(connections=2)) as web:
        async with opened(web) as (first, to_first), opened(web) as (second, to_second):
            for reader, writer in ((first, to_first), (second, to_second)):
                writer.write(BEHIND)
                assert b"200 OK" in await reader.readuntil(b"}")
            status, headers, content = parts(await said(web, b""))
            assert (status, headers["Retry-After"], json.loads(content)["code"]) == (503, "5", "overloaded")
            assert (headers["Server"], headers["Connection"]) == ("gateway", "close")
            to_first.write(BEHIND)
            assert b"200 OK" in await first.readuntil(b"}"), "who is there already isn't disturbed"
        async with asyncio.timeout(5.0):
            while parts(await said(web, BEHIND.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))[0] != 200:
                pass
