"""Rules 12 to 16: what of an answer reaches the caller, and what never reaches the next one."""

import asyncio
import base64
import socket
import struct
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest

from tests.proxy.harness import OK, Answer, Caller
from tests.rules.entrances import PATH, Entrance, problem

SECRET = 'tok_+/=ä&"x y~'  # each mark is written in its own way by somebody
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def closing(*pieces: bytes) -> Answer:
    """An answer that ends with the connection, cleanly."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    return answer


def cut(*pieces: bytes) -> Answer:
    """An answer that is cut off, without a word."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        await asyncio.sleep(0.01)  # a reset overtakes what is still on its way
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return answer


@pytest.mark.parametrize(
    "status", [b"300 Multiple Choices", b"301 Moved", b"302 Found", b"303 See Other", b"307 T", b"308 P"]
)
@pytest.mark.parametrize(
    "location", [b"http://evil.test/", b"//evil.test/", b"http://ok.test@evil.test/", b"http://127.0.0.1/"]
)
async def test_rule_12_a_redirect_is_passed_on_and_never_followed(
    entrance: Entrance, caller: Caller, status: bytes, location: bytes
) -> None:
    entrance.service.script = [b"HTTP/1.1 %b\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location), OK]
    answer = await caller.ask(entrance.request())
    assert answer.startswith(b"HTTP/1.1 %b\r\nLocation: %b\r\n" % (status, location))
    assert len(entrance.requests) == 1
    assert len(entrance.egress.dialled) == 1


async def test_rule_12_a_location_inside_the_allowed_urls_leads_back_by_the_same_entrance(
    entrance: Entrance, caller: Caller
) -> None:
    location = f"{entrance.scheme}://ok.test/v1/next?a=b".encode()
    entrance.service.script = [b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location]
    seen = b"/c/crm-ann/" + location if entrance.name == PATH else location
    assert b"\r\nLocation: %b\r\n" % seen in await caller.ask(entrance.request())


def base64_of(before: str, secret: str, behind: str) -> str:
    return base64.b64encode(f"{before}{secret}{behind}".encode()).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": lambda secret: quote(secret, safe=""),
    "percent in lower case": lambda secret: quote(secret, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "percent as in a path": quote,
    "percent as in a form": lambda secret: quote(secret, safe="").replace("%20", "+"),
    "percent as JavaScript has it": lambda secret: quote(secret, safe="!~*'()"),
    "percent of a whole URL": lambda secret: quote(secret, safe=";,/?:@&=+$#!~*'()"),
    "percent of another reader": lambda secret: quote(secret, safe="+&="),
    "percent twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "base64": lambda secret: base64_of("", secret, ""),
    "base64 behind one": lambda secret: base64_of("a", secret, ""),
    "base64 behind two": lambda secret: base64_of("ab", secret, "c"),
    "base64 of basic": lambda secret: base64_of("user:", secret, ""),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(f"{secret}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("secret", ["tok_abcdefgh", SECRET, "c2VjcmV0/x+y=="], ids=["word", "marks", "base64"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
async def test_rule_12_injected_secrets_are_taken_out_of_every_header(
    entrance: Entrance, caller: Caller, spelling: Callable[[str], str], secret: str
) -> None:
    entrance.connect(inject='[inject.query]\nservice_key = "{{ api_key }}"\n', secret=secret)
    said = spelling(secret).encode()
    fields = b"Location: http://evil.test/?a=%b&b\r\nX-Echo: <%b>\r\nVia: 1.1 %b\r\nETag: %b\r\n" % (
        said,
        said,
        said,
        said,
    )
    entrance.service.script = [b"HTTP/1.1 302 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (said, fields, len(said), said)]
    head, _, content = (await caller.ask(entrance.request())).partition(b"\r\n\r\n")
    assert said not in head
    assert b"Location: http://evil.test/?a=" in head
    assert content == said, "the policy doesn't ask for the body"


@pytest.mark.parametrize("cuts", [(), (1,), (5,), (1, 2, 3, 4, 5, 6, 7), (13,)])
async def test_rule_12_a_body_is_searched_where_the_policy_says_so(
    entrance: Entrance, caller: Caller, cuts: tuple[int, ...]
) -> None:
    entrance.connect(allow="scrub_body = true")
    body = b"<tok_abcdefgh>"
    ends = [0, *cuts, len(body)]
    pieces = [body[start:end] for start, end in pairwise(ends) if start < end]
    entrance.service.script = [CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"]
    packed = b"Accept-Encoding: gzip\r\nAccept-Charset: utf-16\r\n"
    in_parts = b"Range: bytes=0-3\r\nIf-Range: x\r\nRequest-Range: bytes=0-3\r\n"
    answer = await caller.ask(entrance.request(fields=packed + in_parts))
    chunks = answer.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert b"".join(chunks[1::2]) == b"<************>"
    assert b"Accept-Encoding: identity\r\n" in entrance.requests[0]
    assert b"gzip" not in entrance.requests[0]
    assert b"ange:" not in entrance.requests[0]
    assert b"utf-16" not in entrance.requests[0]


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"identity\r\nContent-Encoding: x"])
async def test_rule_12_a_body_that_cannot_be_searched_is_refused(
    entrance: Entrance, caller: Caller, encoding: bytes
) -> None:
    entrance.connect(allow="scrub_body = true")
    entrance.service.script = [b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 2\r\n\r\nab" % encoding]
    assert problem(await caller.ask(entrance.request())) == (502, "upstream_protocol")


COOKIES = b"Set-Cookie: a=b\r\nset-cookie: c=d; HttpOnly\r\nSET-COOKIE2: e=f\r\n"


async def test_rule_13_cookies_are_dropped_unless_the_policy_allows_them(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % COOKIES]
    assert b"cookie" not in (await caller.ask(entrance.request())).lower()
    entrance.connect(allow="cookies = true")
    assert COOKIES in await caller.ask(entrance.request())


async def test_rule_13_a_407_of_upstreams_becomes_502(entrance: Entrance, caller: Caller) -> None:
    """Else the caller would send its tag again, or ask a person for it."""
    entrance.service.script = [b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nabc", OK]
    answer = await caller.ask(entrance.request())
    assert problem(answer) == (502, "upstream_protocol")
    assert b"Proxy-Authenticate" not in answer
    assert (await caller.ask(entrance.request())).endswith(b"\r\n\r\nok")


BODILESS = {
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"Content-Length: 6\r\n"),
    "HEAD of chunks": ("HEAD", CHUNKED, b""),
    "HEAD until close": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", b""),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", b""),
    "204 with chunks": ("GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", b""),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", b"Content-Length: 6\r\n"),
    "304 with chunks": ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
}
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


@pytest.mark.parametrize("surplus", [b"", b"poison", b"6\r\npoison\r\n0\r\n\r\n", POISON])
@pytest.mark.parametrize(("method", "answer", "framing"), BODILESS.values(), ids=BODILESS)
async def test_rule_14_what_has_no_body_gets_none_and_the_next_answer_is_the_next_requests(
    entrance: Entrance, caller: Caller, *, method: str, answer: bytes, framing: bytes, surplus: bytes
) -> None:
    entrance.service.script = [answer + surplus, OK]
    await caller.send(entrance.request(method))
    head = await caller.reader.readuntil(b"\r\n\r\n")
    assert head == answer.split(b"\r\n")[0] + b"\r\n" + framing + b"Via: 1.1 gateway-test\r\n\r\n"
    assert (await caller.ask(entrance.request())).endswith(b"\r\n\r\nok")
    assert (await (await entrance.open()).ask(entrance.request())).endswith(b"\r\n\r\nok")
    if surplus:
        assert entrance.service.connections == 2


SURPLUS = {
    "an answer": POISON,
    "bytes": b"garbage",
    "a blank line and more": b"\r\n\r\nmore",
    "a 1xx": b"HTTP/1.1 103 Early\r\nX: poison\r\n\r\n",
    "a 101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\npoison",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npoison",
    "half a head": b"HTTP/1.1 200 OK\r\nX: ",
}
WHOLE = {
    "length": OK,
    "no content": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n",
}


@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
async def test_rule_14_what_comes_behind_an_answer_ends_the_connection_and_reaches_nobody(
    entrance: Entrance, caller: Caller, whole: bytes, surplus: bytes, *, later: bool
) -> None:
    answered = asyncio.Event()

    async def more(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(whole + (b"" if later else surplus))
        await writer.drain()
        if later:
            await answered.wait()
            writer.write(surplus)
            await writer.drain()

    entrance.service.script = [more, OK]
    first = await caller.ask(entrance.request())
    assert b"poison" not in first
    answered.set()
    async with asyncio.timeout(5):
        await entrance.service.closed.wait()
    for one in (caller, await entrance.open()):
        assert (await one.ask(entrance.request())).partition(b"\r\n\r\n")[2] == b"ok"
    assert entrance.service.connections == 2


TRUNCATED = {
    "by its length": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
    "before its content": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"],
    "within a chunk": [CHUNKED + b"5\r\nab"],
    "between chunks": [CHUNKED + b"2\r\nab\r\n"],
    "before its last chunk's end": [CHUNKED + b"2\r\nab\r\n0\r\n"],
    "within its trailers": [CHUNKED + b"2\r\nab\r\n0\r\nX: y\r\n"],
    "with a malformed chunk": [CHUNKED + b"2\r\nab\r\nzz\r\n"],
    "with a chunk that is longer": [CHUNKED + b"2\r\nabc\r\n0\r\n\r\n"],
}


@pytest.mark.parametrize("end", [closing, cut], ids=["closed", "cut"])
@pytest.mark.parametrize("pieces", TRUNCATED.values(), ids=TRUNCATED)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_rule_15_a_truncated_answer_cuts_the_callers_connection(
    entrance: Entrance, caller: Caller, pieces: list[bytes], version: bytes, end: Callable[..., Answer]
) -> None:
    entrance.service.script = [end(*pieces), OK]
    await caller.send(entrance.request(version=version) + entrance.request())
    with pytest.raises(ConnectionResetError):
        await caller.rest()
    assert len(entrance.requests) == 1, "nothing that waited behind it goes on"


async def test_rule_15_content_until_close_that_is_cut_is_truncated(entrance: Entrance, caller: Caller) -> None:
    entrance.service.script = [cut(b"HTTP/1.1 200 OK\r\n\r\nhalf of")]
    await caller.send(entrance.request())
    with pytest.raises(ConnectionResetError):
        await caller.rest()


@pytest.mark.parametrize("head", [b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"HTTP/1.1 103 X\r\n\r\n"])
async def test_rule_15_an_answer_that_ends_in_its_head_is_none(entrance: Entrance, caller: Caller, head: bytes) -> None:
    entrance.service.script = [closing(head), OK]
    await caller.send(entrance.request())
    if b"103" in head:
        await caller.receive()
    assert problem(await caller.receive()) == (502, "upstream_protocol")
    assert (await caller.ask(entrance.request())).endswith(b"ok")


INVALID = {
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "the same CL twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "CL list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
    "CL plus": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
    "CL empty": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "TE gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
    "TE list": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE on HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"hello",
    "SSH": b"SSH-2.0-OpenSSH\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    "long head": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", INVALID.values(), ids=INVALID)
async def test_rule_15_what_is_no_clear_answer_is_none(entrance: Entrance, caller: Caller, answer: bytes) -> None:
    entrance.service.script = [answer, OK]
    assert problem(await caller.ask(entrance.request())) == (502, "upstream_protocol")
    assert (await caller.ask(entrance.request())).endswith(b"\r\n\r\nok")


async def test_rule_16_an_upstream_connection_is_one_connection_ids(entrance: Entrance) -> None:
    """Whoever calls, and however often: two ids never meet, one id's callers may."""
    entrance.connect(connection_id="crm-bob", secret="tok_of_bob")
    used: dict[str, list[bytes]] = {"crm-ann": [], "crm-bob": []}
    for name in ("crm-ann", "crm-bob", "crm-bob", "crm-ann"):
        caller = await entrance.open(connection=name)
        for _ in range(2):
            assert (await caller.ask(entrance.request(connection=name))).endswith(b"ok")
            used[name].append(entrance.requests[-1])
    assert entrance.service.connections == 2
    assert all(b"tok_abcdefgh" in request and b"bob" not in request for request in used["crm-ann"])
    assert all(b"tok_of_bob" in request and b"tok_abcdefgh" not in request for request in used["crm-bob"])
