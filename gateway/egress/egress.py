"""The one way out: every socket to the outside is made here."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohappyeyeballs

from gateway.egress.address import AddressClass, classify, parse_address
from gateway.egress.certificate import Certificates
from gateway.egress.guard import Guard, OwnListeners
from gateway.egress.resolve import AddrInfo, Lookup, SystemLookup, refuse, resolve, why
from gateway.errors import Refusal, UpstreamError
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.secret import Secret

if TYPE_CHECKING:
    import aiohttp

ANSWER_LIMIT = 1024 * 1024  # bytes of a provider's answer (http-rules.md, "Connect pages")
LOOKUP_TIMEOUT = 10.0  # seconds; glibc's own default is two tries of 5 s
HAPPY_EYEBALLS_DELAY = 0.25  # seconds; RFC 8305 §8, "Connection Attempt Delay"


class Egress:
    """Resolves, checks and dials. `connect_timeout` is in seconds and does not cover the name look-up."""

    def __init__(
        self,
        *,
        allow_networks: Iterable[str] = (),
        own_listeners: OwnListeners = set,
        resolver: Lookup | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        self._guard = Guard(allow_networks=allow_networks, own_listeners=own_listeners)
        self._system = SystemLookup()
        self._lookup: Lookup = resolver or self._system
        self._connect_timeout = connect_timeout
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._certificates = Certificates(_client_context)
        self.trust_readings = 0
        """How often the authorities were read again: a connection from before that may be to somebody else now."""

    @cached_property
    def tls_context(self) -> ssl.SSLContext:
        """The client context of every TLS connection to the outside; SSL_CERT_FILE adds authorities to it."""
        return _client_context()

    def context_for(self, certificate: Secret | None) -> ssl.SSLContext:
        """Return the client context that shows this certificate (PEM, with its key); None: that shows none.

        Raises `UpstreamError` (`upstream_tls`).
        """
        return self.tls_context if certificate is None else self._certificates.context(certificate)

    def read_trust_again(self) -> str | None:
        """Read the authorities that are trusted anew, for every connection from now on; return the file they are in.

        Raises `OSError` with that file's name, of which `ssl.SSLError` is one, where it can't be used: nothing changes.
        """
        file = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        context = _client_context()
        if file is not None:
            try:
                context.load_verify_locations(cafile=file)  # once more: the first time, a broken one isn't told
            except OSError as error:
                error.filename = file
                raise
        self.tls_context = context
        self._certificates.forget()
        self.trust_readings += 1
        return file

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        """Return the addresses of a host, all of them checked.

        Raises `UpstreamError` (`upstream_dns`, `address_not_allowed`, `loop_detected`).
        """
        return await resolve(host, port, guard=self._guard, lookup=self._lookup, within=LOOKUP_TIMEOUT)

    async def dial(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to one of the host's checked addresses (RFC 8305).

        Raises `UpstreamError` (those of `resolve`, `upstream_connect`, `upstream_timeout`).
        """
        infos = await self.resolve(host, port)
        try:
            async with asyncio.timeout(self._connect_timeout):
                connected = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY)
        except TimeoutError:
            detail = f"{host} port {port} did not take the connection within {self._connect_timeout:g} s."
            raise UpstreamError(Refusal(code="upstream_timeout", detail=detail)) from None
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError where asyncio raises OSError
            detail = f"{host} port {port} could not be connected to: {why(error)}."
            raise UpstreamError(Refusal(code="upstream_connect", detail=detail)) from error
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    async def send(
        self,
        request: OutgoingRequest,
        *,
        timeout: float,  # noqa: ASYNC109 -- it is the deadline of an HTTP exchange, and its failure is translated
        limit: int = ANSWER_LIMIT,
        https_only: bool = True,
    ) -> Answer:
        """Send one request of the gateway's own and return its answer; redirects are not followed.

        With `https_only`, plain http goes to loopback addresses alone. `timeout` is in seconds, `limit` in bytes.
        Raises `UpstreamError`.
        """
        from gateway.egress.client import exchange  # noqa: PLC0415 -- aiohttp costs 150 ms of start-up

        scheme = urlsplit(request.url).scheme
        if scheme not in ("http", "https"):
            raise UpstreamError(Refusal(code="target_invalid", detail="Only http and https URLs can be called."))
        session = self._session("loopback" if scheme == "http" and https_only else "any")
        tls = self.context_for(request.certificate)
        return await exchange(session, request, tls=tls, within=timeout, limit=limit)

    async def close(self) -> None:
        """End the sessions and the resolver's threads."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        self._system.close()

    def _session(self, reach: str) -> "aiohttp.ClientSession":
        from gateway.egress.client import open_session  # noqa: PLC0415 -- as in `send`

        if reach not in self._sessions:

            async def find(host: str, port: int) -> list[AddrInfo]:
                infos = await self.resolve(host, port)
                for info in infos:
                    check(info, host)
                return infos

            def check(info: AddrInfo, host: str | None = None) -> None:
                refuse(host or info[4][0], info, self._guard)
                if reach == "loopback":
                    _refuse_plain(host or info[4][0], info)

            self._sessions[reach] = open_session(resolve=find, check=check)
        return self._sessions[reach]


def _client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # nobody needs it, and our TLS layer doesn't answer it
    return context


def _refuse_plain(host: str, info: AddrInfo) -> None:
    """Raise unless the address is this machine's: a credential never crosses a network in the clear."""
    if classify(parse_address(info[4][0])) is not AddressClass.LOOPBACK:
        detail = f"{host} is asked over plain http, which is for this machine alone."
        raise UpstreamError(Refusal(code="address_not_allowed", detail=detail, hint="Write https:// in the policy."))
