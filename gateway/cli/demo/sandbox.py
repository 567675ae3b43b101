"""A small service to be called: an OAuth token endpoint (client credentials), and an API that takes its tokens alone.

It stands on loopback, over http and over TLS with a throwaway CA, and remembers what it received. `revoke` makes every
token worthless at once, as a provider does when somebody presses a button on its side.
"""

import base64
import datetime as dt
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "127.0.0.1"
LIFETIME = dt.timedelta(hours=1)
CLIENT_ID = "demo-client"


@dataclass(slots=True)
class Sandbox:
    """The service while it runs. `received` holds the API's requests, newest last; `tokens_given` counts answers."""

    client_secret: str
    http: str = ""
    https: str = ""
    received: list[web.Request] = field(default_factory=list)
    tokens_given: int = 0
    _valid: set[str] = field(default_factory=set)

    def revoke(self) -> int:
        """Make every token worthless; return how many there were."""
        count = len(self._valid)
        self._valid.clear()
        return count

    async def token(self, request: web.Request) -> web.Response:
        """Answer as RFC 6749 §4.4 has it. A new token ends the one before."""
        expected = base64.b64encode(f"{CLIENT_ID}:{self.client_secret}".encode()).decode()
        form = await request.post()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"error": "invalid_client"}, status=401)
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        self.tokens_given += 1
        token = f"sandbox-{self.tokens_given}-{secrets.token_hex(12)}"
        self._valid = {token}
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    async def api(self, request: web.Request) -> web.Response:
        """Answer with a name; 401 without a token that holds."""
        self.received.append(request)
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or token not in self._valid:
            return web.json_response({"error": "invalid_token"}, status=401, headers={"WWW-Authenticate": "Bearer"})
        return web.json_response({"id": 42, "name": "Ann Example", "via": request.scheme})


@asynccontextmanager
async def sandbox(place: Path) -> AsyncIterator[Sandbox]:
    """Run the service; its CA's certificate is at `place / "sandbox-ca.pem"`."""
    service = Sandbox(client_secret=secrets.token_urlsafe(24))
    app = web.Application()
    app.router.add_post("/oauth/token", service.token)
    app.router.add_route("*", "/v1/{path:.*}", service.api)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        await web.TCPSite(runner, HOST, 0, ssl_context=_tls(place)).start()
        plain, tls = (f"{HOST}:{port}" for _, port in runner.addresses)
        service.http, service.https = f"http://{plain}", f"https://{tls}"
        yield service
    finally:
        await runner.cleanup()


def _tls(place: Path) -> ssl.SSLContext:
    """Return a server's context, its certificate signed by a CA that was made for this and is kept nowhere."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Demo sandbox CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        _certificate(ca_name, x509.Name([]), key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (place / "sandbox-ca.pem").write_bytes(ca.public_bytes(pem))
    chain = place / "sandbox.pem"
    chain.touch(mode=0o600)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(private + leaf.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def _certificate(
    issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFETIME)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
