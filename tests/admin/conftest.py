"""The running listener, as a fixture."""

import pytest

from tests.web.harness import running


@pytest.fixture
async def web(tmp_path):
    async with running(tmp_path) as web:
        yield web
