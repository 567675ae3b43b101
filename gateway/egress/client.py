"""The HTTP client for the gateway's own calls: token, test and revocation endpoints.

aiohttp resolves names through our checked resolver. Literal addresses it dials without asking any resolver, so the
socket factory checks every address once more, just before the socket is made.
"""

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway import __version__
from gateway.egress.resolve import AddrInfo, why
from gateway.errors import Refusal, UpstreamError
from gateway.oauth.message import Answer, OutgoingRequest

UNHEARD_MILLISECONDS = 20_000
"""That the system goes on sending what isn't acknowledged, also when the socket is closed. Without a bound it is a
quarter of an hour: a refresh that was given up long ago would arrive when a cut line is whole again, and its token
would count as used."""

Resolve = Callable[[str, int], Awaitable[list[AddrInfo]]]
Check = Callable[[AddrInfo], None]


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp the addresses that the guard has let through."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=_host(info),
                port=info[4][1],
                family=info[0],
                proto=info[2],
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for info in await self._resolve(host, port)
            if family in (socket.AF_UNSPEC, info[0])
        ]

    async def close(self) -> None:
        """Nothing is held open."""


def _host(info: AddrInfo) -> str:
    address = info[4]
    scope = address[3] if len(address) == 4 else 0  # noqa: PLR2004 -- AF_INET6: address, port, flow, scope
    return f"{address[0]}%{scope}" if scope else address[0]


def open_session(*, resolve: Resolve, check: Check) -> aiohttp.ClientSession:
    """Return a session that dials only what `resolve` and `check` let through.

    No connection is kept: whether a token request reached the provider over one that was just closed can't be known,
    and it must not be sent twice. No cookies, no proxies from the environment.
    """

    def checked_socket(info: Any) -> socket.socket:
        check(info)
        made = socket.socket(family=info[0], type=info[1], proto=info[2])
        if sys.platform == "linux":
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_MILLISECONDS)
        return made

    connector = aiohttp.TCPConnector(
        resolver=_CheckedResolver(resolve),
        use_dns_cache=False,
        socket_factory=checked_socket,
        force_close=True,
        limit=0,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        raise_for_status=False,
        headers={"User-Agent": f"connection-gateway/{__version__}"},
    )


async def exchange(
    session: aiohttp.ClientSession, request: OutgoingRequest, *, tls: ssl.SSLContext, within: float, limit: int
) -> Answer:
    """Send one request and read its answer to the end, at most `limit` bytes of it decompressed.

    `tls` is given for each call: the authorities that are trusted may be read anew, and none under way is broken off.
    Redirects are an answer like any other. Raises `UpstreamError`; `within` (seconds) covers everything.
    """
    authority = urlsplit(request.url).netloc.rpartition("@")[2]
    try:
        async with (
            asyncio.timeout(within),
            session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=list(request.headers),
                data=request.body or None,
                allow_redirects=False,
                ssl=tls,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response,
        ):
            body = await _read(response, limit, authority)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status, headers=headers, body=body)
    except TimeoutError:
        raise _failed("upstream_timeout", f"{authority} did not answer within {round(within, 1):g} s.") from None
    except aiohttp.ClientSSLError as error:
        raise _failed("upstream_tls", f"TLS with {authority} failed: {_tls_reason(error)}.") from error
    except aiohttp.ClientConnectorError as error:
        raise _failed("upstream_connect", f"{authority} could not be connected to: {_reason(error)}.") from error
    except (aiohttp.ClientError, ValueError) as error:
        kind = type(error).__name__
        raise _failed("upstream_protocol", f"{authority} gave no valid HTTP answer ({kind}).") from error
    except OSError as error:
        raise _failed("upstream_connect", f"The connection to {authority} broke.") from error


async def _read(response: aiohttp.ClientResponse, limit: int, authority: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > limit:
            raise _failed("upstream_protocol", f"The answer of {authority} is over {limit} bytes.")
    return bytes(body)


def _failed(code: str, detail: str) -> UpstreamError:
    return UpstreamError(Refusal(code=code, detail=detail))


def _reason(error: aiohttp.ClientConnectorError) -> str:
    return why(error.os_error)


def _tls_reason(error: aiohttp.ClientSSLError) -> str:
    cause: Any = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or "the handshake broke off"
