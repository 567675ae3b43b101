"""Client certificates (RFC 8705): shown to the provider and to the service, and to nobody whose policy has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.egress import Egress
from gateway.errors import UpstreamError
from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret
from tests.proxy.harness import TOKEN, Gateway, Service, running, settings


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA) -> Secret:
    return pem(authority)


def pem(authority: trustme.CA) -> Secret:
    return Secret(authority.issue_cert("app-1").private_key_and_cert_chain_pem.bytes().decode())


@pytest.fixture
async def service(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that answers nobody without a certificate of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which a refusal comes in the handshake
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(tmp_path / "trusted.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    one = Service()
    await one.start(ssl=context)
    yield one
    await one.stop()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    one = Egress(allow_networks=["127.0.0.0/8"])
    yield one
    await one.close()


async def test_a_provider_is_shown_it(service: Service, egress: Egress, certificate: Secret) -> None:
    url = f"https://127.0.0.1:{service.port}/token"
    answer = await egress.send(OutgoingRequest(method="POST", url=url, certificate=certificate), timeout=10)
    assert answer.status == 200
    with pytest.raises(UpstreamError) as caught:
        await egress.send(OutgoingRequest(method="POST", url=url), timeout=10)
    assert caught.value.refusal.code in ("upstream_tls", "upstream_connect")
    assert len(service.requests) == 1


@pytest.mark.parametrize(("old", "new"), [("\n", ""), ("\n", " "), ("\n", "\\n"), ("\n", "\r\n")])
async def test_its_line_breaks_may_be_gone(
    service: Service, egress: Egress, certificate: Secret, old: str, new: str
) -> None:
    """An input of one line takes them away."""
    request = OutgoingRequest(
        method="POST",
        url=f"https://127.0.0.1:{service.port}/token",
        certificate=Secret(certificate.reveal().replace(old, new)),
    )
    assert (await egress.send(request, timeout=10)).status == 200


async def test_a_service_is_shown_it_and_only_for_the_connection_that_has_it(
    service: Service, egress: Egress, certificate: Secret, tmp_path: Path
) -> None:
    async with running(settings(tmp_path), service, egress=egress) as gateway:
        urls = f'["https://127.0.0.1:{service.port}"]'
        gateway.connect(gateway.policy(urls=urls), certificate=certificate)
        gateway.connect(gateway.policy(urls=urls), connection_id="crm-bob")
        assert (await _asked(gateway, "crm-ann")).startswith(b"HTTP/1.1 200 ")
        assert (await _asked(gateway, "crm-bob")).startswith(b"HTTP/1.1 502 ")
        assert (await _asked(gateway, "crm-ann")).startswith(b"HTTP/1.1 200 ")
    assert len(service.requests) == 2


async def _asked(gateway: Gateway, connection: str) -> bytes:
    caller = await gateway.open()
    answer = await caller.ask(
        f"GET /c/{connection}/https://127.0.0.1:{gateway.service.port}/v1 HTTP/1.1\r\n"
        f"Host: gate.test\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    await caller.close()
    return answer


@pytest.mark.parametrize("broken", ["no key", "another's key", "a passphrase", "nothing of the kind"])
async def test_what_cannot_be_shown_is_said_without_a_word_of_it(
    egress: Egress, authority: trustme.CA, certificate: Secret, broken: str
) -> None:
    leaf = authority.issue_cert("app-1")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    chain = leaf.cert_chain_pems[0].bytes()
    text = {
        "no key": chain,
        "another's key": chain + authority.issue_cert("other").private_key_pem.bytes(),
        "a passphrase": chain + locked,
        "nothing of the kind": b"s3cret that is no PEM",
    }[broken]
    request = OutgoingRequest(method="POST", url="https://127.0.0.1:1/token", certificate=Secret(text.decode()))
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamError) as caught:
            await egress.send(request, timeout=10)
    refusal = caught.value.refusal
    assert refusal.code == "upstream_tls"
    assert "The client's certificate can't be used" in refusal.detail
    assert "PEM" in (refusal.hint or "")
    assert "s3cret" not in f"{refusal} {request!r}"
    del certificate


async def test_trust_that_is_read_again_holds_for_it_too(
    egress: Egress, service: Service, certificate: Secret, tmp_path: Path
) -> None:
    request = OutgoingRequest(method="POST", url=f"https://127.0.0.1:{service.port}/", certificate=certificate)
    assert (await egress.send(request, timeout=10)).status == 200
    trustme.CA().cert_pem.write_to_path(tmp_path / "trusted.pem")
    egress.read_trust_again()
    with pytest.raises(UpstreamError) as caught:
        await egress.send(request, timeout=10)
    assert caught.value.refusal.code == "upstream_tls"
