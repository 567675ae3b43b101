"""With a real provider over HTTP, real processes and a real kill."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.store import Store
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.lease import LEASE_SECONDS
from tests.vault.harness import ANN, NOW, House, authorization, until
from tests.vault.real import RealProvider, loopback, policy_for

ROOT = Path(__file__).parents[2]


async def connect(house: House, provider: RealProvider) -> None:
    house.policies.put("legacy", policy_for(provider.url))
    async with loopback() as egress, house.vault(egress=egress) as vault:
        await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")


async def stored(house: House) -> ConnectionRow:
    async with await Store.open(house.url, migrate=False) as store:
        row = await store.connections.get("c")
    assert row is not None
    return row


@asynccontextmanager
async def gateway(
    house: House, provider: RealProvider, now: float, moment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that refreshes the connection `c` at a time of our choosing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.vault.real",
        str(house.path),
        provider.url,
        str(now),
        moment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    """The first line of a process's that isn't a log line."""
    assert process.stdout is not None
    while True:
        line = (await process.stdout.readline()).decode()
        assert line, "the process ended without a word"
        if line.split()[0] in {"answered", "ok", "refresh_failed", "reauthorization_required"}:
            return line.strip()


async def test_a_storm_over_the_real_way_out_and_two_vaults_is_one_token_call(house: House) -> None:
    provider = RealProvider()
    async with provider.serving(), loopback() as egress:
        await connect(house, provider)
        async with house.vault(egress=egress) as one, house.vault(egress=egress) as two:
            lives = [await one.live("c"), await two.live("c")]
            assert None not in lives
            storm = [
                vault.after_401(live) for vault, live in zip((one, two), lives, strict=True) for _ in range(500) if live
            ]
            got = await asyncio.gather(*storm)
    assert len(provider.calls) == 2, "one to connect, one for a thousand 401"
    assert {authorization(live) for live in got} == {"Bearer at-2-secret"}


async def test_four_processes_that_refresh_at_once_make_one_token_call(house: House) -> None:
    provider = RealProvider()
    async with provider.serving():
        await connect(house, provider)
        async with (
            gateway(house, provider, NOW, "-") as one,
            gateway(house, provider, NOW, "-") as two,
            gateway(house, provider, NOW, "-") as three,
            gateway(house, provider, NOW, "-") as four,
        ):
            words = await asyncio.gather(*map(said, (one, two, three, four)))
    # A process that starts late finds the new token and refreshes that one in its turn: never the same one twice.
    assert all(word.startswith("ok Bearer at-") for word in words), words
    spent = [call["refresh_token"] for call in provider.calls[1:]]
    assert len(spent) == len(set(spent))


@pytest.mark.parametrize("strict", [True, False], ids=["strict rotation", "grace period"])
async def test_kill_9_between_the_providers_answer_and_the_commit(house: House, *, strict: bool) -> None:
    """What is left is the old refresh token and a lease that lapses; the next start tries with what it has.

    A provider with a grace period gives new tokens for it. One that rotates strictly says invalid_grant: the token it
    gave went down with the process, and that a person must sign in again is said clearly.
    """
    provider = RealProvider(strict=strict)
    async with provider.serving():
        await connect(house, provider)
        async with gateway(house, provider, NOW, "answered") as killed:
            assert await said(killed) == "answered"
            killed.kill()
            assert await killed.wait() == -9

        left = await stored(house)
        assert (left.status, left.token_version) == (Status.ACTIVE, 1)
        assert left.lease_until == NOW + LEASE_SECONDS
        async with house.vault() as looking:
            refresh_token = looking._safe.open_credentials(left).refresh_token
            assert refresh_token is not None
            assert refresh_token.reveal() == "rt-1-secret"
        assert len(provider.calls) == 2

        async with gateway(house, provider, NOW + LEASE_SECONDS + 1, "-") as started:
            word = await said(started)
        assert provider.calls[-1]["refresh_token"] == "rt-1-secret"
        row = await stored(house)
        assert row.lease_until is None
    if strict:
        assert word.startswith("reauthorization_required The connection c needs a person to sign in again.")
        assert "invalid_grant: It was used before" in word
        assert row.status is Status.NEEDS_REAUTHORIZATION
    else:
        assert word == "ok Bearer at-3-secret"
        assert (row.status, row.token_version) == (Status.ACTIVE, 2)


async def test_until_a_dead_processs_lease_lapses_the_next_one_waits_and_makes_no_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.vault.lease.WATCH_SECONDS", 0.01)
    provider = RealProvider()
    async with provider.serving():
        await connect(house, provider)
        async with gateway(house, provider, NOW, "answered") as killed:
            assert await said(killed) == "answered"
        async with loopback() as egress, house.vault(egress=egress) as vault:
            live = await vault.live("c")
            assert live is not None
            waiting = asyncio.create_task(vault.after_401(live))
            await until(lambda: "c" in vault._renewals._changed)
            vault.forget("connection", "c")
            assert len(provider.calls) == 2
            provider.strict = False
            house.clock.now = NOW + LEASE_SECONDS + 1
            vault.forget("connection", "c")
            got = await waiting
    assert got is not None
    assert authorization(got) == "Bearer at-3-secret"
