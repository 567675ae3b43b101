"""A gateway, a service behind it and a caller before it, for each test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from tests.proxy.harness import Caller, Gateway, Service, running, settings


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `gateway serve` runs on: its transports differ from asyncio's in many small ways."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    one = Service()
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def gateway(tmp_path: Path, service: Service) -> AsyncIterator[Gateway]:
    async with running(settings(tmp_path), service) as one:
        one.connect()
        yield one


@pytest.fixture
async def caller(gateway: Gateway) -> AsyncIterator[Caller]:
    one = await gateway.open()
    yield one
    await one.close()
