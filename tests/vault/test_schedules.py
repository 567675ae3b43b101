"""The schedules of docs/tokens.md are the ones that are kept, by the clock."""

import asyncio
from pathlib import Path
from random import Random

from gateway.duration import format_duration
from gateway.errors import AuthorizationServerError
from gateway.store.rows import Status
from gateway.vault import Vault, parting, webhook
from gateway.vault.refusals import back_off
from tests.vault.harness import ANN, NOW, House, authorization, down

DOC = (Path(__file__).parents[2] / "docs" / "tokens.md").read_text()
CALLERS = 20


async def test_a_provider_that_is_down_for_a_minute_is_asked_as_written_and_nothing_is_lost(
    house: House, vault: Vault
) -> None:
    """20 callers ask ten times a second, and the sweep is at work as well."""
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
    house.provider.token_calls.clear()
    house.provider.scripted = [down()] * 999
    start, asked, upkeep = NOW + 3600, [], vault.upkeep()

    async def call() -> str:
        live = await vault.live("c")
        assert live is not None
        try:
            return authorization(await vault.fresh(live))
        except AuthorizationServerError as error:
            return f"{error.refusal.code} {error.refusal.retry_after}"

    refused: list[str] = []
    for tick in range(600):
        house.clock.now = start + tick / 10
        before = len(house.provider.token_calls)
        refused += await asyncio.gather(*(call() for _ in range(CALLERS)))
        await upkeep.catch_up()
        asked += [tick / 10] * (len(house.provider.token_calls) - before)
    assert len(refused) == 600 * CALLERS
    assert {said.split()[0] for said in refused} == {"refresh_failed"}
    assert all(int(said.split()[1]) >= 1 for said in refused), "each is told when to come again"
    assert "    " + "  ".join(f"{at:.1f}" for at in asked) in DOC, asked
    row = await vault._store.connections.get("c")
    assert row is not None
    assert (row.status, row.token_version, row.failures) == (Status.ACTIVE, 1, len(asked))

    house.provider.scripted = []
    house.clock.now = (row.retry_at or 0) + 0.1
    assert set(await asyncio.gather(*(call() for _ in range(CALLERS)))) == {"Bearer at-2-secret"}
    assert house.provider.token_calls[-1]["refresh_token"] == "rt-1-secret", "the one from before the outage"
    assert len(house.provider.token_calls) == len(asked) + 1


def test_the_pauses_are_the_ones_written_down() -> None:
    longest = Random(1)
    longest.uniform = lambda _low, high: high  # type: ignore[method-assign]
    refresh = [back_off(failures, longest) for failures in range(1, 11)]
    assert _row("A refresh") == [format_duration(pause) for pause in refresh[:9]]
    assert refresh[8] == refresh[9]
    assert _row("A revocation") == [format_duration(pause) for pause in parting.PAUSES]
    assert _row("A webhook's message") == [format_duration(pause) for pause in webhook.PAUSES]


def _row(name: str) -> list[str]:
    (line,) = [line for line in DOC.splitlines() if line.startswith(f"| {name} |")]
    return [word.strip() for word in line.split("|")[2].split(",")]
