"""The certificate that callers trust for CONNECT, for whoever asks: it is shown inside every tunnel anyway."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.admin.dispatch import SERVICES

PATH = "/ca.pem"
_TYPE = "application/pem-certificate-chain"  # RFC 8555 §9.1


def certificate() -> Handler:
    """Return the handler of `/ca.pem`. A store has one authority for good, so the store is asked once."""
    read: list[bytes] = []

    async def show(request: web.Request) -> web.StreamResponse:
        if not read:
            read.append((await request.app[SERVICES].authority()).certificate_pem)
        disposition = 'attachment; filename="gateway-ca.pem"'
        return web.Response(body=read[0], content_type=_TYPE, headers={"Content-Disposition": disposition})

    return show
