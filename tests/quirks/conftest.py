"""A gateway, a service behind it that checks what it is sent, and a caller before it."""

from tests.proxy.conftest import caller, gateway, pytest_asyncio_loop_factories, service

__all__ = ["caller", "gateway", "pytest_asyncio_loop_factories", "service"]
