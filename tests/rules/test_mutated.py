"""Rules 1, 4, 5 and 6 of streams that nobody has thought of: valid requests, with pieces of HTTP put in or taken out.

In every content stands a request without a tag. Whatever becomes of the stream, that one is never a request of the
gateway's, and what goes out has one Host, one credential and one framing, all of them ours.
"""

import asyncio
import contextlib
import random
import re

import pytest

from tests.proxy.harness import OK, TOKEN
from tests.rules.entrances import ABSOLUTE, PATH, Entrance

INNER = b"POST /admin HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 0\r\n\r\n"
PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\xff",
        b"_",
        b"-",
        b"1",
    ),
    *(b"@", b"#", b"\\", b"%2e", b"/admin", b"http://ok.test/", b"HTTP/1.0", b"HTTP/1.1", b"\r\n\r\n", b"0\r\n\r\n"),
    *(b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: evil.test\r\n"),
    *(b"transfer-encoding: identity\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n"),
    *(b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"authorization: mine\r\n", b"Proxy-A: b\r\n"),
)


def mutated(entrance: Entrance, rng: random.Random) -> bytes:
    """One or two requests with content, and one to three changes anywhere in them."""
    length, chunk = b"Content-Length: %d\r\n" % len(INNER), b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)
    stream = bytearray(
        rng.choice(
            (
                entrance.request("POST", fields=length + b"X-A: b\r\n", content=INNER),
                entrance.request("POST", fields=b"X-A: b\r\nTransfer-Encoding: chunked\r\n", content=chunk),
                entrance.request(fields=b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + INNER,
                entrance.request(fields=b"X-A: b\r\n") + entrance.request("PUT", fields=length, content=INNER),
            )
        )
    )
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(stream))
        stream[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(PIECES)
    return bytes(stream)


def assert_ours(head: bytes) -> None:
    """A head that went out is the gateway's own."""
    lower = head.lower()
    assert lower.count(b"\r\nhost:") == lower.count(b"\r\nhost: ok.test\r\n") == 1
    assert lower.count(b"\r\nauthorization:") == head.count(b"\r\nAuthorization: Bearer tok_abcdefgh\r\n") == 1
    assert lower.count(b"\r\ncontent-length:") + lower.count(b"\r\ntransfer-encoding:") <= 1
    assert b"\r\nproxy-" not in lower
    assert TOKEN.encode() not in head
    assert not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", head)
    assert not head.startswith(INNER.partition(b"Content")[0]), "a request inside content became one"


@pytest.mark.parametrize("entrance", [ABSOLUTE, PATH], indirect=True)
@pytest.mark.parametrize("seed", range(2))
async def test_rule_04_a_stream_changed_anywhere_is_read_in_one_way_or_refused(entrance: Entrance, seed: int) -> None:
    heads: list[bytes] = []

    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            if b"ransfer-" in head:
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    await reader.readexactly(size + 2)
                assert await reader.readexactly(2) == b"\r\n"
            elif length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head.lower()):
                await reader.readexactly(int(length[1]))
            writer.write(OK)

    entrance.service.raw = strict
    rng = random.Random(seed)
    for _ in range(300):
        stream = mutated(entrance, rng)
        caller = await entrance.gateway.open()
        heads.clear()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await caller.send(stream + b"\0\0\r\n\r\n")
            async with asyncio.timeout(0.05):  # where content is awaited that doesn't come
                await caller.rest()
        caller.writer.transport.abort()
        for head in heads:
            assert_ours(head), stream
