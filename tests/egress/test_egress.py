"""Resolving, dialling and calling, with name services that answer what a test wants and servers on loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme

from gateway.egress import Egress
from gateway.egress import resolve as resolve_module
from gateway.egress.client import open_session
from gateway.errors import UpstreamError
from gateway.oauth.message import OutgoingRequest

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A name service whose answers are written down, one list after the other; the last one stays."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


@asynccontextmanager
async def way_out(**kwargs: object) -> AsyncIterator[Egress]:
    egress = Egress(**kwargs)  # type: ignore[arg-type]
    try:
        yield egress
    finally:
        await egress.close()


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1", **kwargs: object) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0, **kwargs)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(answer: bytes, seen: list[bytes] | None = None) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        await writer.drain()

    return handler


async def code(awaitable: Awaitable[object]) -> str:
    with pytest.raises(UpstreamError) as caught:
        await awaitable
    return caught.value.refusal.code


def get(url: str) -> OutgoingRequest:
    return OutgoingRequest(method="GET", url=url)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_name_is_refused_if_only_one_of_its_addresses_is() -> None:
    async with way_out(resolver=Names(["93.184.216.34", "10.0.0.1"])) as egress:
        assert await code(egress.resolve("half.test", 443)) == "address_not_allowed"


async def test_public_addresses_come_back_in_the_resolvers_order_without_duplicates() -> None:
    async with way_out(resolver=Names(["2606:4700::1", "1.1.1.1", "1.1.1.1"])) as egress:
        infos = await egress.resolve("two.test", 443)
    assert [(info[0], info[4]) for info in infos] == [
        (socket.AF_INET6, ("2606:4700::1", 443, 0, 0)),
        (socket.AF_INET, ("1.1.1.1", 443)),
    ]


async def test_of_a_name_with_ten_thousand_addresses_the_first_ones_are_checked_and_dialled() -> None:
    many = [f"93.184.{number // 250}.{number % 250}" for number in range(10_000)]
    async with way_out(resolver=Names(many)) as egress:
        infos = await egress.resolve("many.test", 443)
    assert [info[4][0] for info in infos] == many[: resolve_module.MOST_ADDRESSES]


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "169.254.169.254"])
async def test_metadata_services_are_refused_even_where_everything_is_allowed(host: str) -> None:
    names = Names(["8.8.8.8"])
    async with way_out(resolver=names, allow_networks=["0.0.0.0/0", "::/0"]) as egress:
        assert await code(egress.resolve(host, 80)) == "address_not_allowed"
    assert names.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"])
async def test_a_number_that_the_system_takes_for_an_address_is_checked_as_that_address(host: str) -> None:
    """The entrances refuse such hosts as target_invalid; this is the second wall, with the real resolver."""
    async with way_out() as egress:
        assert await code(egress.resolve(host, 80)) in {"address_not_allowed", "upstream_dns"}


async def test_a_scope_id_does_not_hide_an_address() -> None:
    async with way_out() as egress:
        assert await code(egress.resolve("fe80::1%lo", 80)) == "address_not_allowed"


async def test_a_scoped_address_that_is_allowed_keeps_its_scope() -> None:
    async with way_out(allow_networks=["fe80::/10"]) as egress:
        infos = await egress.resolve("fe80::1%1", 80)
    assert infos[0][4] == ("fe80::1", 80, 0, 1)


async def test_an_unknown_name_is_upstream_dns() -> None:
    async with way_out(resolver=Names(socket.gaierror(-2, "Name or service not known"))) as egress:
        with pytest.raises(UpstreamError, match=r"nowhere\.test could not be resolved: Name or service not known"):
            await egress.resolve("nowhere.test", 443)


async def test_a_name_without_addresses_is_upstream_dns() -> None:
    async with way_out(resolver=Names([])) as egress:
        assert await code(egress.resolve("empty.test", 443)) == "upstream_dns"


async def test_a_name_service_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("gateway.egress.egress.LOOKUP_TIMEOUT", 0.01)
    async with way_out(resolver=hanging) as egress:
        assert await code(egress.resolve("slow.test", 443)) == "upstream_dns"


async def test_the_systems_resolver_knows_localhost() -> None:
    async with way_out(allow_networks=["127.0.0.0/8", "::1/128"]) as egress:
        infos = await egress.resolve("localhost", 80)
    assert {info[4][0] for info in infos} <= {"127.0.0.1", "::1"}
    assert resolve_module.LOOKUP_THREADS > 1


async def test_dial_gives_a_connected_socket_that_does_not_block_and_does_not_wait_to_send() -> None:
    async with serving(saying(b"")) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
        with await egress.dial("127.0.0.1", port) as connected:
            assert connected.getpeername() == ("127.0.0.1", port)
            assert not connected.getblocking()
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_dial_goes_on_to_the_next_address() -> None:
    async with serving(saying(b"")) as port:
        names = Names(["127.0.0.9", "127.0.0.1"])
        async with way_out(resolver=names, allow_networks=["127.0.0.0/8"]) as egress:
            with await egress.dial("two.test", port) as connected:
                assert connected.getpeername()[0] == "127.0.0.1"


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
@pytest.mark.parametrize("listening", ["::1", "127.0.0.1"])
async def test_of_two_families_the_one_that_answers_is_taken_and_both_were_checked(listening: str) -> None:
    """RFC 8305: the other is dialled beside it, and never a third."""
    dialled: list[str] = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def recorded(sock: socket.socket, address: tuple[object, ...]) -> None:
        dialled.append(str(address[0]))
        await connect(sock, address)

    loop.sock_connect = recorded  # type: ignore[method-assign]
    async with serving(saying(b""), listening) as port:
        names = Names(["::1", "127.0.0.1"])
        async with way_out(resolver=names, allow_networks=["127.0.0.1/32", "::1/128"]) as egress:
            with await egress.dial("two.test", port) as connected:
                assert connected.getpeername()[0] == listening
        dialled_where_allowed = list(dialled)
        async with way_out(resolver=names, allow_networks=["127.0.0.1/32"]) as egress:
            assert await code(egress.dial("two.test", port)) == "address_not_allowed"
    assert names.asked == ["two.test", "two.test"]
    assert dialled == dialled_where_allowed, "where one address is refused, none is dialled"
    assert set(dialled) <= {"::1", "127.0.0.1"}
    assert listening in dialled


async def test_a_closed_port_is_upstream_connect_and_told_in_the_systems_words() -> None:
    """The text that asyncio writes repeats the address as a Python tuple."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with way_out(allow_networks=["127.0.0.0/8"]) as egress:
        with pytest.raises(UpstreamError) as dialled:
            await egress.dial("127.0.0.1", port)
        with pytest.raises(UpstreamError) as called:
            await egress.send(get(f"http://127.0.0.1:{port}/"), timeout=5)
    for caught, what in ((dialled, f"127.0.0.1 port {port}"), (called, f"127.0.0.1:{port}")):
        assert caught.value.refusal.code == "upstream_connect"
        assert caught.value.refusal.detail == f"{what} could not be connected to: Connection refused."


async def test_a_name_that_changes_its_answer_is_dialled_where_it_was_checked() -> None:
    """Public first, 127.0.0.1 next: what was checked is what is dialled, and nothing is asked twice."""
    async with serving(saying(b"")) as port:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        async with way_out(resolver=names, allow_networks=["127.0.0.0/8"]) as egress:
            (await egress.dial("rebind.test", port)).close()
            assert names.asked == ["rebind.test"]
            assert await code(egress.dial("rebind.test", port)) == "address_not_allowed"


async def test_a_rebinding_name_does_not_reach_loopback_through_a_call_either() -> None:
    seen: list[bytes] = []
    async with serving(saying(OK, seen)) as port:
        names = Names(["192.0.2.1"], ["127.0.0.1"])
        async with way_out(resolver=names) as egress:
            for _ in range(2):
                url = f"http://rebind.test:{port}/"
                assert await code(egress.send(get(url), timeout=5, https_only=False)) == "address_not_allowed"
    assert seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_literal_address_is_checked_although_aiohttp_asks_no_resolver_for_it(host: str) -> None:
    seen: list[bytes] = []
    async with serving(saying(OK, seen)) as port, way_out() as egress:
        assert await code(egress.send(get(f"http://{host}:{port}/"), timeout=5)) == "address_not_allowed"
    assert seen == []


async def test_the_gateways_own_listener_is_a_loop_and_its_neighbour_on_loopback_is_not() -> None:
    async with (
        serving(saying(OK)) as own,
        serving(saying(OK)) as other,
        way_out(allow_networks=["127.0.0.0/8"], own_listeners=lambda: {("0.0.0.0", own)}) as egress,
    ):
        assert await code(egress.dial("127.0.0.1", own)) == "loop_detected"
        assert await code(egress.send(get(f"http://127.0.0.1:{own}/"), timeout=5)) == "loop_detected"
        assert (await egress.send(get(f"http://127.0.0.1:{other}/"), timeout=5)).status == 200


async def test_plain_http_is_for_loopback_alone_unless_the_caller_says_otherwise() -> None:
    async with serving(saying(OK)) as port:
        names = Names(["10.9.8.7"])
        async with way_out(resolver=names, allow_networks=["127.0.0.0/8", "10.0.0.0/8"]) as egress:
            with pytest.raises(UpstreamError, match="plain http"):
                await egress.send(get(f"http://inside.test:{port}/"), timeout=5)
            assert (await egress.send(get(f"http://127.0.0.1:{port}/"), timeout=5)).body == b"ok"


async def test_a_call_sends_what_it_was_given_and_its_answer_is_whole() -> None:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 201 Created\r\nX-One: 1\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
    async with (
        serving(saying(answer, seen)) as port,
        way_out(resolver=Names(["127.0.0.1"]), allow_networks=["127.0.0.0/8"]) as egress,
    ):
        url = f"http://idp.test:{port}/t%2Foken?a=%20b"
        request = OutgoingRequest(method="POST", url=url, headers=(("X-Key", "v"),), body=b"a=1")
        first = await egress.send(request, timeout=5)
        await egress.send(request, timeout=5)
    assert (first.status, first.body, first.headers["x-one"]) == (201, b"ok", "1")
    assert seen[0].startswith(b"POST /t%2Foken?a=%20b HTTP/1.1\r\n")
    assert b"\r\nX-Key: v\r\n" in seen[0]
    assert b"ookie" not in seen[1], "a cookie of one answer came back with the next call"


async def test_redirects_are_not_followed() -> None:
    seen: list[bytes] = []
    async with serving(saying(OK, seen)) as inner:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{inner}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(saying(moved)) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
            assert (await egress.send(get(f"http://127.0.0.1:{port}/"), timeout=5)).status == 307
    assert seen == []


async def test_an_answer_over_the_limit_is_refused_without_reading_it_all() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(endless) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
        assert await code(egress.send(get(f"http://127.0.0.1:{port}/"), timeout=20)) == "upstream_protocol"


async def test_a_provider_that_says_nothing_is_upstream_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
        assert await code(egress.send(get(f"http://127.0.0.1:{port}/"), timeout=0.05)) == "upstream_timeout"


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"],
    ids=["nothing", "no-http", "cut"],
)
async def test_what_is_no_whole_http_answer_is_upstream_protocol(answer: bytes) -> None:
    async with serving(saying(answer)) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
        assert await code(egress.send(get(f"http://127.0.0.1:{port}/"), timeout=5)) == "upstream_protocol"


async def test_a_certificate_that_is_not_trusted_is_upstream_tls() -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    async with serving(saying(OK), ssl=server) as port, way_out(allow_networks=["127.0.0.0/8"]) as egress:
        assert await code(egress.send(get(f"https://127.0.0.1:{port}/"), timeout=5)) == "upstream_tls"


async def test_a_certificate_that_is_trusted_is_taken() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(server)
    async with (
        serving(saying(OK), ssl=server) as port,
        way_out(resolver=Names(["127.0.0.1"]), allow_networks=["127.0.0.0/8"]) as egress,
    ):
        authority.configure_trust(egress.tls_context)
        assert (await egress.send(get(f"https://api.test:{port}/"), timeout=5)).body == b"ok"


async def test_only_http_can_be_called() -> None:
    async with way_out() as egress:
        assert await code(egress.send(get("file:///etc/passwd"), timeout=5)) == "target_invalid"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is Linux's")
async def test_what_isnt_acknowledged_isnt_sent_for_longer_than_a_call_may_take() -> None:
    """A refresh that was given up must not arrive minutes later, when the line is whole again."""
    async with open_session(resolve=Names, check=lambda _info: None) as session:  # type: ignore[arg-type]
        assert isinstance(session.connector, aiohttp.TCPConnector)
        factory = session.connector._socket_factory
        assert factory is not None
        with factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
