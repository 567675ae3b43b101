"""However a caller's bytes are cut on their way, upstream gets the same and the caller is answered the same."""

import asyncio
import contextlib
import random

import pytest

from tests.proxy.harness import Gateway, read_message

_FAULTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST http://ok.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://ok.test/ HTTP/1.1\nHost: a\n\n",
    b"GET http://ok.test/ HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET http://ok.test/ HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
)


def stream(gateway: Gateway, rng: random.Random) -> bytes:
    """Some requests, one behind the other, the last of them perhaps broken."""
    parts = []
    for number in range(rng.randint(1, 6)):
        content = rng.randbytes(rng.choice([1, 5, 300])).hex().encode()
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (content[:7], content[7:]) if piece)
        parts.append(
            rng.choice(
                [
                    gateway.request(path=f"/{number}"),
                    gateway.request("HEAD", path=f"/{number}"),
                    gateway.request("POST", f"/{number}", headers=b"Content-Length: 0\r\n"),
                    gateway.request(
                        "POST", f"/{number}", headers=b"Content-Length: %d\r\n" % len(content), content=content
                    ),
                    gateway.request(
                        "PUT",
                        f"/{number}",
                        headers=b"Transfer-Encoding: chunked\r\n",
                        content=chunks + b"0\r\nX-Trailer: y\r\n\r\n",
                    ),
                    gateway.request(path=f"/{number}", headers=b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
                    b"GET /nothing HTTP/1.1\r\nHost: gateway\r\n\r\n",
                    gateway.request(path=f"/{number}", connection="crm-bob"),
                    b"\r\n" + gateway.request(path=f"/{number}"),
                ]
            )
        )
    end = rng.random()
    if end < 0.4:
        chunked = gateway.request("POST", headers=b"Transfer-Encoding: chunked\r\n", content=b"1\r\nx\r\nz\r\n")
        parts.append(rng.choice([*_FAULTS, chunked]))
    elif end < 0.6:
        parts.append(gateway.request(headers=b"Connection: close\r\n"))
    return b"".join(parts)


def without_chunks(request: bytes) -> bytes:
    """Where chunks begin and end is nobody's business; what they hold is."""
    head, _, content = request.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" in head:
        content = b"".join(content.split(b"\r\n")[1::2])
    return head + b"\r\n\r\n" + content


async def transcript(gateway: Gateway, data: bytes, cuts: list[int]) -> tuple[list[bytes], list[bytes]]:
    """Send the pieces, one read of the gateway's each, and return what upstream got and the status lines."""
    caller = await gateway.open()
    gateway.service.requests.clear()
    answers: list[bytes] = []

    async def read() -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await caller.reader.readuntil(b"\r\n\r\n")
                answers.append(head.split(b"\r\n", 1)[0])
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                if b"X-Head" not in head:
                    await caller.reader.readexactly(length)

    reading = asyncio.create_task(read())
    with contextlib.suppress(ConnectionError):
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            await caller.send(data[start:end])
            for _ in range(3 if len(cuts) > 20 else 20):
                await asyncio.sleep(0)
        # Whatever the stream was, this is a fault, so that the connection ends when all before it is answered.
        await caller.send(b"\0\r\n\r\n")
    async with asyncio.timeout(20):
        await reading
    await caller.close()
    return [without_chunks(request) for request in gateway.service.requests], answers


@pytest.fixture
def answering(gateway: Gateway) -> Gateway:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_message(reader):
            gateway.service.requests.append(request)
            head = b"X-Head: 1\r\n" if request.startswith(b"HEAD") else b""
            writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n" % head + (b"" if head else b"ok"))
            await writer.drain()

    gateway.service.raw = serve
    return gateway


@pytest.mark.parametrize("seed", range(25))
async def test_a_stream_cut_anywhere_is_the_stream_sent_whole(answering: Gateway, seed: int) -> None:
    rng = random.Random(seed)
    data = stream(answering, rng)
    whole = await transcript(answering, data, [])
    for count in (1, 2, 8):
        cuts = sorted(rng.sample(range(1, len(data)), count))
        assert await transcript(answering, data, cuts) == whole, cuts
    assert await transcript(answering, data, list(range(1, len(data)))) == whole
