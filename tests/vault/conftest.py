"""What every test of the vault stands on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.vault import Vault
from tests.vault.harness import API_KEY, CLIENT_CREDENTIALS, PASSWORD, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(path=tmp_path / "gateway.db")
    made.policies.put("example", CLIENT_CREDENTIALS)
    made.policies.put("legacy", PASSWORD)
    made.policies.put("keyed", API_KEY)
    return made


@pytest.fixture
async def vault(house: House) -> AsyncIterator[Vault]:
    async with house.vault() as opened:
        yield opened
