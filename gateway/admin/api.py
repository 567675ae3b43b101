"""The admin API as an aiohttp application, to be mounted under `/api/v1`."""

from functools import cache

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.admin.dispatch import handler_of, require_token
from gateway.admin.openapi import document
from gateway.admin.routes import OPERATIONS


def admin_api() -> web.Application:
    """Return the application. It takes services, token and origin from the one it is mounted in."""
    app = web.Application(middlewares=[_guard])
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, handler_of(operation))
    app.router.add_get("/openapi.json", _document, allow_head=False)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask for the token before anything is said, even that an address doesn't exist. The document alone is public."""
    if request.match_info.handler is not _document:
        require_token(request)
    return await handler(request)


async def _document(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=_document_bytes(), content_type="application/json")


@cache
def _document_bytes() -> bytes:
    """Return the document, made once: whoever asks for it needs no token."""
    return orjson.dumps(document(OPERATIONS))
