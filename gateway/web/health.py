"""For whoever watches over the gateway: is it there, can it work, what has it counted."""

import asyncio

from aiohttp import web

from gateway.admin.answers import json_response
from gateway.admin.dispatch import SERVICES
from gateway.admin.services import Services
from gateway.errors import GatewayError, Refusal, StoreError
from gateway.keyring import KeyringError
from gateway.metrics.families import CONTENT_TYPE, exposition
from gateway.store.unlock import CANARY
from gateway.web.readiness import READINESS

PATIENCE = 2.0
"""Seconds for the store to answer: orchestrators ask every few seconds and wait for little more."""


async def healthz(_request: web.Request) -> web.StreamResponse:
    """Say that this process answers, whatever the rest does."""
    return json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.StreamResponse:
    """Say that requests are served, that the store is reachable and that the keys open it; 503 where not."""
    if why := request.app[READINESS].why_not_ready:
        raise _not_ready(why)
    await check_ready(request.app[SERVICES])
    return json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.StreamResponse:
    """Return the counts for Prometheus. They name no connection, client or host."""
    body = exposition(request.app[SERVICES].metrics)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


async def check_ready(services: Services, patience: float = PATIENCE) -> None:
    """Raise `StoreError` with status 503 where the store doesn't answer in time or the keys don't open its canary."""
    try:
        async with asyncio.timeout(patience):
            canary = await services.store.meta.get(CANARY)
    except TimeoutError:
        raise _not_ready("The store doesn't answer.") from None
    except GatewayError as error:
        raise _not_ready(error.refusal.detail) from error
    if canary is None:
        raise _not_ready("The store has no keys yet.")
    try:
        services.keyring.open(canary, table="meta", column="value", row=CANARY)
    except KeyringError:
        raise _not_ready("The keys don't open this store.") from None


def _not_ready(detail: str) -> StoreError:
    return StoreError(Refusal(code="overloaded", detail=detail, retry_after=1))
