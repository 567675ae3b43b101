"""The authorities that are trusted: read again where that is asked for, and never lost to a file that is broken."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.egress import Egress
from gateway.errors import UpstreamError
from gateway.oauth.message import OutgoingRequest
from tests.proxy.harness import Gateway, Service, running, settings


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that SSL_CERT_FILE names, with an authority in it that signs nothing here."""
    file = tmp_path / "trusted.pem"
    trustme.CA().cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


def content(file: Path) -> bytes:
    return file.read_bytes()


def put(file: Path, content: bytes | None) -> None:
    """Write a file; None: take it away."""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def gateway(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[Gateway]:
    """A gateway before a service whose certificate is of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    service = Service()
    await service.start(ssl=context)
    egress = Egress(allow_networks=["127.0.0.0/8"])
    async with running(settings(tmp_path), service, egress=egress) as one:
        one.egress = egress  # type: ignore[attr-defined]
        one.connect(one.policy(urls=f'["https://127.0.0.1:{service.port}"]'))
        yield one
    await service.stop()


async def asked(gateway: Gateway) -> bytes:
    """The first line of an answer, path-style."""
    caller = await gateway.open()
    url = f"https://127.0.0.1:{gateway.service.port}/v1"
    answer = await caller.ask(
        f"GET /c/crm-ann/{url} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer gwc_right\r\n\r\n".encode()
    )
    await caller.close()
    return answer.partition(b"\r\n")[0]


async def test_authorities_that_are_read_again_hold_for_requests_and_for_calls_to_providers(
    gateway: Gateway, trusted: Path, authority: trustme.CA
) -> None:
    """Whoever they no longer vouch for is sent nothing more, on connections from before either."""
    egress: Egress = gateway.egress  # type: ignore[attr-defined]
    call = OutgoingRequest(method="GET", url=f"https://127.0.0.1:{gateway.service.port}/", headers=(), body=b"")
    other = content(trusted)

    async def provider() -> int:
        try:
            return (await egress.send(call, timeout=10.0)).status
        except UpstreamError as error:
            return error.refusal.status

    assert (await asked(gateway), await provider()) == (b"HTTP/1.1 502 Bad Gateway", 502)
    authority.cert_pem.write_to_path(trusted)
    assert await asked(gateway) == b"HTTP/1.1 502 Bad Gateway", "nobody has said so yet"
    assert egress.read_trust_again() == str(trusted)
    assert (await asked(gateway), await provider()) == (b"HTTP/1.1 200 OK", 200)
    put(trusted, b"a letter to my aunt")
    with pytest.raises(ssl.SSLError) as raised:
        egress.read_trust_again()
    assert raised.value.filename == str(trusted)
    put(trusted, None)
    with pytest.raises(FileNotFoundError, match=r"trusted\.pem"):
        egress.read_trust_again()
    connections = gateway.service.connections
    assert (await asked(gateway), await provider()) == (b"HTTP/1.1 200 OK", 200)
    assert gateway.service.connections == connections + 1, "the provider's; the gateway's was kept"
    put(trusted, other)
    egress.read_trust_again()
    gateway.server._listener.sweep()
    assert (await asked(gateway), await provider()) == (b"HTTP/1.1 502 Bad Gateway", 502)
