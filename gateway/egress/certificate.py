"""Client certificates (RFC 8705, RFC 8446 §4.4.2): with which one of ours shows a server who it is."""

import os
import ssl
from collections import OrderedDict
from collections.abc import Callable

from gateway.errors import Refusal, UpstreamError
from gateway.pasted import blocks
from gateway.secret import Secret

_KEPT = 256  # contexts; some 100 KB each, for each has the trusted authorities


class Certificates:
    """TLS contexts by the certificate that they show. `make` gives one that shows none."""

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._contexts: OrderedDict[Secret, ssl.SSLContext] = OrderedDict()

    def context(self, certificate: Secret) -> ssl.SSLContext:
        """Return the context for a certificate: PEM, with its chain and its key.

        Raises `UpstreamError` (`upstream_tls`): it is none, or its key isn't its own.
        """
        known = self._contexts.get(certificate)
        if known is not None:
            self._contexts.move_to_end(certificate)
            return known
        context = self._make()
        try:
            load_chain(context, "".join(block for _, block in blocks(certificate.reveal())).encode())
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "it is no PEM with a certificate and its key"
            detail = f"The client's certificate can't be used: {reason}."
            hint = "It is PEM: the certificate with its chain, and its private key without a passphrase."
            raise UpstreamError(Refusal(code="upstream_tls", detail=detail, hint=hint)) from None
        self._contexts[certificate] = context
        if len(self._contexts) > _KEPT:
            self._contexts.popitem(last=False)
        return context

    def forget(self) -> None:
        """Make all of them anew: other authorities are trusted."""
        self._contexts.clear()


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Hand a chain with its key to OpenSSL, which only reads files, through memory: it never touches a disk."""
    file = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        os.write(file, pem)
        context.load_cert_chain(f"/proc/self/fd/{file}", password=_no_passphrase)
    finally:
        os.close(file)


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal."""
    raise ValueError("the private key has a passphrase")
