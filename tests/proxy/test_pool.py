"""The way to a new upstream connection, where it is broken off: no socket is left behind, no caller waits for ever."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from gateway.egress import Egress
from gateway.errors import UpstreamError
from gateway.http.target import origin_of
from gateway.proxy.outbox import Outbox
from gateway.proxy.pool import Pool
from gateway.secret import Secret


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    egress = Egress(allow_networks=["127.0.0.0/8"])
    made = Pool(
        egress,
        Outbox(asyncio.get_running_loop().call_soon),
        tls_timeout=5,
        idle_timeout=60,
        max_head=1000,
        most=3,
        count=lambda _: None,
    )
    yield made
    made.close()
    await asyncio.sleep(0)  # what is closed is told so in the loop's next turn
    await egress.close()


async def test_a_handshake_that_nobody_waits_for_any_more_is_broken_off(pool: Pool) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        while await reader.read(1000):
            pass
        left.set()
        writer.close()

    arrived, left = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    key = ("crm-ann", origin_of("https", "127.0.0.1", server.sockets[0].getsockname()[1]))
    connecting = asyncio.create_task(pool.connect(key))
    await arrived.wait()
    await asyncio.sleep(0.05)
    connecting.cancel()
    async with asyncio.timeout(2):
        await left.wait()
    server.close()


async def test_of_too_many_connections_an_idle_one_makes_room(pool: Pool) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    origin = origin_of("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    busy = await pool.connect(("crm-ann", origin))
    idle = [await pool.connect((name, origin)) for name in ("crm-bob", "crm-eve")]
    for one in idle:
        one._reusable = True
        one.release()
    another = await pool.connect(("crm-joe", origin))
    async with asyncio.timeout(2):
        while len(pool._all) > 3:  # noqa: ASYNC110 - nothing outside is told
            await asyncio.sleep(0)
    assert pool._all == {busy, idle[1], another}
    server.close()


async def test_a_connection_is_not_shared_by_two_certificates_of_one_connection_id(pool: Pool) -> None:
    """Who is connected anew, perhaps as somebody else, isn't served as who they were before."""

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    key = ("crm-ann", origin_of("http", "127.0.0.1", server.sockets[0].getsockname()[1]))
    issue = trustme.CA().issue_cert
    ann, joe = (Secret(issue(name).private_key_and_cert_chain_pem.bytes().decode()) for name in ("ann", "joe"))
    for before, then, is_shared in ((ann, joe, False), (ann, None, False), (None, joe, False), (ann, ann, True)):
        idle = await pool.connect(key, before)
        idle._reusable = True
        idle.release()
        assert pool.take(key, then) is (idle if is_shared else None)
    server.close()


async def test_a_service_that_leaves_right_behind_its_handshake_is_an_error_or_closed(pool: Pool) -> None:
    """A connection that is lost before it is handed out tells nobody any more that it is."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(pool._egress.tls_context)

    async def leave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(leave, "127.0.0.1", 0, ssl=context)
    key = ("crm-ann", origin_of("https", "127.0.0.1", server.sockets[0].getsockname()[1]))
    for _ in range(20):
        with contextlib.suppress(UpstreamError):
            connection = await pool.connect(key)
            async with asyncio.timeout(2):
                while connection in pool._all:  # noqa: ASYNC110 - nothing outside is told
                    await asyncio.sleep(0.01)
    assert not pool._all
    server.close()
