"""Where a request's time goes: what it waits for in the gateway, and what it waits for the service."""

import asyncio

from gateway.metrics.families import registry
from gateway.vault import Live
from tests.proxy.harness import OK, Gateway

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_each_wait_is_counted_where_it_was_also_of_a_second_try(gateway: Gateway) -> None:
    clock = Clock()
    gateway.server._listener.services.time = clock
    caller = await gateway.open()

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock.now += 0.25
        writer.write(UNAUTHORIZED)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock.now += 0.5
        writer.write(OK)

    def refreshed(_live: Live) -> Live:
        clock.now += 2.0
        return gateway.connect(refreshable=True, token_version=2)

    gateway.connect(refreshable=True)
    gateway.vault.refreshed = refreshed
    gateway.service.script = [refuse, answer]
    assert b" 200 OK" in await caller.ask(gateway.request())
    counted = registry(gateway.server._listener.services.metrics)
    at = {"entrance": "absolute"}
    assert counted.get_sample_value("gateway_request_preparing_seconds_total", at) == 2.0
    assert counted.get_sample_value("gateway_upstream_wait_seconds_total", at) == 0.75
    assert counted.get_sample_value("gateway_request_duration_seconds_sum", at) == 2.75
    await caller.close()
