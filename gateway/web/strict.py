"""What is refused before anything else looks at a request: ambiguous framing, and a name that isn't ours.

aiohttp refuses what is malformed. What it would guess at is refused here, and the connection closed: another server on
the way may have guessed otherwise (request smuggling, RFC 9112 §11.2).
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

from gateway.admin.answers import problem_response
from gateway.errors import Refusal
from gateway.settings import Web

MISDIRECTED = 421
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?", re.ASCII)


def strict(settings: Web) -> Middleware:
    """Return the middleware that lets through what can be read in one way only, and was sent to us."""
    is_ours = _names(settings)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _unclear(request) or _misdirected(request.headers.get("Host"), is_ours)
        if refusal is None:
            return await handler(request)
        response = await problem_response(request, refusal)
        response.force_close()
        return response

    return middleware


def _unclear(request: web.Request) -> Refusal | None:
    if request.version not in {HttpVersion10, HttpVersion11}:
        return Refusal(code="request_rejected", detail="HTTP/1.1 and HTTP/1.0 are spoken here, nothing else.")
    codings = request.headers.getall("Transfer-Encoding", [])
    # RFC 9112 §6.1: a server that receives Transfer-Encoding in HTTP/1.0 must treat the framing as faulty.
    if codings and ([coding.lower() for coding in codings] != ["chunked"] or request.version == HttpVersion10):
        return Refusal(code="request_rejected", detail="The request's framing is not clear: Transfer-Encoding.")
    return None


def _misdirected(host: str | None, is_ours: Callable[[str], bool]) -> Refusal | None:
    if host is None:  # only HTTP/1.0 has none, and no browser speaks that
        return None
    match = _HOST.fullmatch(host)
    if match is None:  # RFC 9112 §3.2: a Host that is no host is 400
        return Refusal(code="request_rejected", detail="The Host field names no host.")
    if is_ours(match[1].lower()):
        return None
    return Refusal(
        code="request_rejected",
        status=MISDIRECTED,
        detail="This gateway does not go by the name that was asked for.",
        hint="Use web.public_url as it is configured, or the address of the listener.",
    )


def _names(settings: Web) -> Callable[[str], bool]:
    """Return which names are ours.

    On loopback a site that lets its own name lead to 127.0.0.1 (DNS rebinding) is same-origin with us in the browser of
    whoever opens it. Nobody else calls us by a name we don't know, so there it is refused. On a network the name is for
    others to choose: a service's, a container's, a reverse proxy's.
    """
    public = urlsplit(settings.public_url).hostname
    on_loopback = _is_address(settings.listen.host) and ip_address(settings.listen.host).is_loopback
    if not on_loopback and settings.listen.host != "localhost":
        return lambda _name: True
    return lambda name: (
        name in {"localhost", public} or name.endswith(".localhost") or _is_address(name.removeprefix("[").rstrip("]"))
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
