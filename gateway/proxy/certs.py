"""The gateway's own certificate authority, and the leaf it shows inside each tunnel.

The CA's key is sealed in the store like any credential. A leaf has a key of its own and lives seven days; its TLS
context is cached, and minted in a thread because signing would hold up the loop.
"""

import asyncio
import datetime as dt
import ssl
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.egress.certificate import load_chain
from gateway.errors import Refusal, StartError
from gateway.keyring import Keyring, KeyringError
from gateway.store import Store

CERTIFICATE, KEY = "ca_certificate", "ca_key"
_CA_LIFE = dt.timedelta(days=3650)
_LEAF_LIFE = dt.timedelta(days=7)
_BACKDATED = dt.timedelta(hours=1)  # for callers whose clocks are behind
_RENEW_BEFORE = dt.timedelta(days=1)
_MAX_CONTEXTS = 1024
_MAX_COMMON_NAME = 64  # X.520's upper bound


class Authority:
    """Signs leaves. `certificate_pem` is what callers are to trust."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Callable[[], float]
    ) -> None:
        self.certificate_pem = certificate.public_bytes(serialization.Encoding.PEM)
        self._certificate, self._key, self._clock = certificate, key, clock
        self._contexts: OrderedDict[str, tuple[ssl.SSLContext, float]] = OrderedDict()
        self._minting: dict[str, asyncio.Task[ssl.SSLContext]] = {}

    @classmethod
    async def load(cls, store: Store, keyring: Keyring, clock: Callable[[], float]) -> Self:
        """Return the store's authority, which the first process to ask makes. Raises `StartError`: it doesn't open."""
        place = {"table": "meta", "column": "value", "row": KEY}
        certificate, sealed = await store.meta.get(CERTIFICATE), await store.meta.get(KEY)
        if certificate is None or sealed is None:
            made, key = _create(_moment(clock()))
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            ours = {
                CERTIFICATE: made.public_bytes(serialization.Encoding.PEM),
                KEY: keyring.seal(pem, **place),
            }
            established = await store.meta.establish(ours)
            certificate, sealed = established[CERTIFICATE], established[KEY]
        try:
            private = serialization.load_pem_private_key(keyring.open(sealed, **place), password=None)
        except KeyringError as error:
            detail = f"The key of the gateway's certificate authority can't be opened: {error}."
            raise StartError(Refusal(code="internal", detail=detail, hint="Restore the store's backup.")) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA's key is not an elliptic curve key")
        return cls(x509.load_pem_x509_certificate(certificate), private, clock)

    def cached(self, host: str) -> ssl.SSLContext | None:
        """Return the context for a host if there is one that still lasts."""
        entry = self._contexts.get(host)
        if entry is None or entry[1] <= self._clock():
            return None
        self._contexts.move_to_end(host)
        return entry[0]

    async def context_for(self, host: str) -> ssl.SSLContext:
        """Return the context for a host (canonical name or IP address), minted if need be, once for all who wait."""
        if context := self.cached(host):
            return context
        task = self._minting.get(host)
        if task is None:
            task = self._minting[host] = asyncio.get_running_loop().create_task(self._mint(host))
            task.add_done_callback(lambda _: self._minting.pop(host, None))
        return await asyncio.shield(task)

    async def _mint(self, host: str) -> ssl.SSLContext:
        now = _moment(self._clock())
        context = await asyncio.to_thread(self._context, host, now)
        self._contexts[host] = context, (now + _LEAF_LIFE - _RENEW_BEFORE).timestamp()
        self._contexts.move_to_end(host)
        while len(self._contexts) > _MAX_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _context(self, host: str, now: dt.datetime) -> ssl.SSLContext:
        certificate, key = self._leaf(host, now)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        load_chain(context, pem + certificate.public_bytes(serialization.Encoding.PEM) + self.certificate_pem)
        context.sni_callback = _only(host)
        return context

    def _leaf(self, host: str, now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= _MAX_COMMON_NAME else [])
        issuer_key = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=not list(subject))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate, key


def _create(now: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Connection Gateway"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Connection Gateway CA {serial & 0xFFFFFFFF:08x}"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _only(host: str) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    """SNI must equal the CONNECT's authority (http-rules.md 3)."""

    def check(_tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        if name is None or name.lower().removesuffix(".") == host:
            return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return check


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(microsecond=0)
