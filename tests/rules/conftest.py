"""http-rules.md, rule by rule, by literal bytes: each test is named by its rule, and holds in every entrance it can."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
import uvloop

from tests.proxy.harness import Caller
from tests.rules.entrances import ABSOLUTE, ENTRANCES, TUNNELS, Entrance, entering


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `gateway serve` runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def service_tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The service's TLS, and that of whoever trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("ok.test", "100.63.255.254", "100.128.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.fixture(params=ENTRANCES)
async def entrance(
    request: pytest.FixtureRequest, tmp_path: Path, service_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[Entrance]:
    async with entering(request.param, tmp_path, *service_tls) as one:
        yield one


@pytest.fixture(params=TUNNELS)
async def tunnel(
    request: pytest.FixtureRequest, tmp_path: Path, service_tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> AsyncIterator[Entrance]:
    async with entering(request.param, tmp_path, *service_tls) as one:
        yield one


@pytest.fixture
async def plain(tmp_path: Path, service_tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Entrance]:
    """Absolute-form alone, for what no entrance but the first line of a connection can say."""
    async with entering(ABSOLUTE, tmp_path, *service_tls) as one:
        yield one


@pytest.fixture
async def caller(entrance: Entrance) -> Caller:
    return await entrance.open()
