"""Answers of the web listener: JSON, RFC 9457 problems, and a request id in each.

`answer_faults` is the outermost step of every request: whatever goes wrong behind it becomes a `Refusal`, so that
nobody is ever shown a traceback. Pages turn the same refusal into a page (`Renderer`).
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.attempts import Attempts
from gateway.errors import ClientError, GatewayError, Refusal

REQUEST_ID = web.RequestKey("request_id", str)
CONTENT_SECONDS = web.AppKey("content_seconds", float)
"""Seconds for all of a request's content to come."""
Renderer = Callable[[web.Request, Refusal], Awaitable[web.StreamResponse]]

log = structlog.get_logger("gateway.web")

_DETAILS = {
    400: "The request is not valid HTTP for this place.",
    404: "There is nothing at this address.",
    411: "The request needs a Content-Length.",
    417: "The expectation of the request can't be met.",
}
_ADDRESSES = "Check the address. The pages begin at /, and /api/v1/openapi.json lists those of the API."


def json_response(data: Any, *, status: int = 200, content_type: str = "application/json") -> web.Response:
    """Return `data` as JSON bytes."""
    return web.Response(body=orjson.dumps(data), status=status, content_type=content_type)


async def problem_response(request: web.Request, refusal: Refusal) -> web.StreamResponse:
    """Return the refusal as `application/problem+json` (RFC 9457)."""
    return json_response(
        refusal.problem(request[REQUEST_ID]), status=refusal.status, content_type="application/problem+json"
    )


async def read_content(request: web.Request, *, most: int) -> bytes:
    """Return the request's content. Raises `ClientError` where it is over `most` bytes, or doesn't come in time."""
    if (request.content_length or 0) > most:
        raise ClientError(_too_large())
    try:
        async with asyncio.timeout(request.config_dict[CONTENT_SECONDS]):
            content = bytearray()
            async for piece in request.content.iter_any():
                content += piece
                if len(content) > most:
                    raise ClientError(_too_large())
    except TimeoutError:
        detail = "The request's content did not arrive in time."
        raise ClientError(Refusal(code="request_timeout", detail=detail)) from None
    return bytes(content)


def answer_faults(render: Renderer) -> Middleware:
    """Return the middleware that gives each request its id and turns every fault into what `render` makes of it."""
    told = Attempts(time.monotonic)

    async def refused(request: web.Request, refusal: Refusal, error: web.HTTPException | None) -> web.StreamResponse:
        if not told.wait(request.remote):  # whoever floods us with what is refused doesn't fill the log
            told.failed(request.remote)
            _tell(request, refusal)
        return await _refused(render, request, refusal, error)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = secrets.token_hex(8)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - aiohttp raises redirects too
                raise
            response = await refused(request, _of_http(error), error)
        except GatewayError as error:
            response = await refused(request, error.refusal, None)
        except web.RequestPayloadError:
            refusal = Refusal(code="request_rejected", detail="The request's body could not be read to its end.")
            response = await refused(request, refusal, None)
        except Exception:  # the last line: a fault of ours is logged whole and shown as one sentence
            log.exception("web.fault", request_id=request[REQUEST_ID], method=request.method)
            refusal = Refusal(
                code="internal",
                detail="Something went wrong inside the gateway.",
                hint="The log has the reason under this request id.",
            )
            response = await _refused(render, request, refusal, None)
        return response

    return middleware


def _tell(request: web.Request, refusal: Refusal) -> None:
    """Log a refusal under the id that is shown with it. Of the path only its pattern: it may hold a one-time token."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else ""
    told = {"request_id": request[REQUEST_ID], "method": request.method, "route": route}
    log.info("web.refused", **told, status=refusal.status, code=refusal.code)


async def _refused(
    render: Renderer, request: web.Request, refusal: Refusal, error: web.HTTPException | None
) -> web.StreamResponse:
    response = await render(request, refusal)
    if error is not None and "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.code == "unauthorized" and refusal.status == 401:  # noqa: PLR2004 - RFC 9110 §15.5.2 asks for it
        response.headers["WWW-Authenticate"] = 'Bearer realm="gateway"'
    return response


def _too_large() -> Refusal:
    return Refusal(code="request_too_large", detail="The request's body is over the limit of this place.")


def _of_http(error: web.HTTPException) -> Refusal:
    """Say what aiohttp's own refusals mean here. No path is repeated: it may hold a one-time token."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Refusal(code="request_rejected", status=405, detail=f"{allowed} is possible here, nothing else.")
        case web.HTTPRequestEntityTooLarge():
            return _too_large()
        case web.HTTPNotFound():
            return Refusal(
                code="not_found",
                detail=_DETAILS[404],
                hint="Check the address: pages begin at /, the API at /api/v1/openapi.json.",
            )
        case _:
            detail = _DETAILS.get(error.status, _DETAILS[400])
            return Refusal(code="request_rejected", status=error.status, detail=detail)
