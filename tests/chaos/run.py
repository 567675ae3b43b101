"""A whole run: started, connected, asked without end while things go wrong, left in peace, asked once more, judged."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.chaos.fleet import APP, Fleet, fleet
from tests.chaos.load import OK, Caller, Tally
from tests.chaos.provider import Provider
from tests.chaos.troubles import Troubles
from tests.chaos.verdict import Lost, Trouble, Verdict, judge
from tests.ports import free_port

CLOCKS = (0.0, 180.0, -180.0)  # seconds that the replicas' machines are ahead to begin with
AT_ONCE = 8  # connections that are made side by side
SETTLE_SECONDS = 45.0  # a lease that somebody took down with him, and a pause after a row of failures


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large a run is, and how long its tokens live. `pace`: how many times shorter the protocol's times are."""

    connections: int
    rate: float
    life: int
    margin: float
    pace: float = 1.0
    patience: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What there was. `began`, `ended`: of the load, monotonic seconds; `starts`: of each replica."""

    verdict: Verdict
    tally: Tally
    troubles: tuple[Trouble, ...]
    lost: tuple[Lost, ...]
    began: float
    ended: float
    rotations: int
    starts: tuple[int, ...]
    statements: int


class People:
    """Those who sign in again where a provider has ended a family: a connection is lost until they have."""

    def __init__(self, all_of_it: Fleet, provider: Provider) -> None:
        self._fleet = all_of_it
        self._provider = provider
        self.lost: list[Lost] = []

    async def watch(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.come()
            await asyncio.sleep(0.5)  # people come when they come

    async def come(self) -> None:
        """Sign in for every account whose family is gone."""
        for owner, account in self._provider.accounts.items():
            if account.revoked_at is None:
                continue
            began = account.revoked_at
            for replica in self._fleet.replicas:
                try:
                    await connect(self._fleet, replica.number, owner)
                except (aiohttp.ClientError, TimeoutError, RuntimeError):
                    continue  # that one is in trouble, too
                self.lost.append(Lost(connection=owner, began=began, ended=time.monotonic()))
                break


async def connect(all_of_it: Fleet, replica: int, owner: str) -> None:
    """Connect an account, or once more."""
    body = {"app": APP, "id": owner, "fields": {"username": owner}, "secrets": {"password": "s3cret"}}
    await all_of_it.api(all_of_it.replicas[replica], "POST", "/connections", body)


async def run(
    place: Path,
    plan: Plan,
    script: Callable[[Troubles], Awaitable[None]],
    heard: Callable[[str], None] = lambda _: None,
    watched: Callable[[Tally, list[Trouble]], None] = lambda _tally, _troubles: None,
) -> Outcome:
    """Do it all; `script` makes the troubles. `heard` is told what happens, `watched` how it stands, once a second."""
    provider = Provider(life=plan.life, replicas=len(CLOCKS))
    async with (
        provider.serving() as ports,
        fleet(place, list(ports), free_port, pace=plan.pace, margin=plan.margin) as all_of_it,
    ):
        for replica, ahead in zip(all_of_it.replicas, CLOCKS, strict=True):
            replica.set_clock(ahead)
        heard("starting three replicas")
        await all_of_it.start(all_of_it.replicas[0])  # it makes the tables
        await asyncio.gather(*(all_of_it.start(one) for one in all_of_it.replicas[1:]))
        heard(f"connecting {plan.connections} accounts")
        owners = [f"u{number}" for number in range(plan.connections)]
        await _connect_all(all_of_it, owners)
        made = await all_of_it.api(all_of_it.replicas[0], "POST", "/clients", {"name": "load", "connections": ["*"]})
        caller = Caller(all_of_it.replicas, made["token"], patience=plan.patience)
        await _until_known(caller, all_of_it, owners[0])
        troubles, people = Troubles(all_of_it, provider, heard), People(all_of_it, provider)
        stop = asyncio.Event()
        began = time.monotonic()
        load = asyncio.create_task(caller.steadily(owners, plan.rate, stop))
        beside = [asyncio.create_task(people.watch()), asyncio.create_task(_tell(caller, troubles, watched))]
        try:
            await script(troubles)
            heard("no more trouble")
            stop.set()
            await load
            ended = time.monotonic()
            # Whose answer went down with the last trouble finds out only now, and somebody has to come for that, too.
            unanswered = await _ask_all(all_of_it, caller, owners, SETTLE_SECONDS / plan.pace + 5.0)
        finally:
            for task in (load, *beside):
                task.cancel()
            await asyncio.gather(load, *beside, return_exceptions=True)
        caller.close()
        verdict = judge(
            caller.tally,
            troubles.noted,
            provider.reuses,
            people.lost,
            pace=plan.pace,
            unanswered=unanswered,
            began=began,
        )
        return Outcome(
            verdict=verdict,
            tally=caller.tally,
            troubles=tuple(troubles.noted),
            lost=tuple(people.lost),
            began=began,
            ended=ended,
            rotations=len(provider.rotations),
            starts=tuple(one.starts for one in all_of_it.replicas),
            statements=_statements(all_of_it),
        )


async def _connect_all(all_of_it: Fleet, owners: list[str]) -> None:
    waiting = list(enumerate(owners))

    async def some() -> None:
        while waiting:
            number, owner = waiting.pop()
            await connect(all_of_it, number % len(all_of_it.replicas), owner)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _until_known(caller: Caller, all_of_it: Fleet, owner: str) -> None:
    """Wait until each replica has heard of the client that was made at one of them."""
    for replica in all_of_it.replicas:
        while await caller.ask(owner, replica) != OK:  # noqa: ASYNC110 -- another process's feed has no event here
            await asyncio.sleep(0.05)
    caller.tally = Tally()


async def _ask_all(all_of_it: Fleet, caller: Caller, owners: list[str], within: float) -> list[str]:
    """Ask for every connection through every replica until it is answered; return those that aren't in time."""
    end = time.monotonic() + within
    counted, caller.tally = caller.tally, Tally()
    waiting = [(owner, replica) for owner in owners for replica in all_of_it.replicas]
    while waiting and time.monotonic() < end:
        some = waiting[:64]
        answers = await asyncio.gather(*(caller.ask(owner, replica) for owner, replica in some))
        waiting = waiting[64:] + [one for one, answer in zip(some, answers, strict=True) if answer != OK]
        if any(answer != OK for answer in answers):
            await asyncio.sleep(0.1)  # as a caller would, who was told to try again
    caller.tally = counted
    return sorted({f"{owner} at replica {replica.number}" for owner, replica in waiting})


async def _tell(caller: Caller, troubles: Troubles, watched: Callable[[Tally, list[Trouble]], None]) -> None:
    while True:
        await asyncio.sleep(1.0)
        watched(caller.tally, troubles.noted)


def _statements(all_of_it: Fleet) -> int:
    """Return how many transactions the database has made since its last start."""
    said = all_of_it.database.psql("SELECT 'n=' || sum(xact_commit + xact_rollback) FROM pg_stat_database")
    return int(said.split("n=")[1].split()[0])
