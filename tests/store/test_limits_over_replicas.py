"""Three replicas, each with a store of its own to the same database, and requests as the data plane has them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.policy.limits import Limits, Quota
from gateway.proxy.ledger import StoreLedger
from gateway.proxy.limiter import Limiter, Permit
from gateway.store import Store
from gateway.store.limits import Ask, Reserved

RATE, BURST, SECONDS = 100, 10, 1.0
AHEAD = RATE // 10  # turns that a replica may have ahead
CONNECTION = ("crm-ann", "crm")


class Replica:
    def __init__(self, store: Store, name: str, *, clock: Callable[[], float]) -> None:
        self.ledger = StoreLedger(store.limits, owner=name, clock=clock)
        self.limiter = Limiter(self.ledger, asyncio.get_running_loop(), Metrics())
        self.sent: list[float] = []

    async def ask(self, limits: Limits) -> Permit | None:
        got = self.limiter.enter(limits, *CONNECTION) or await self.limiter.wait(limits, *CONNECTION, "runner")
        if isinstance(got, Refusal):
            return None
        self.sent.append(time.monotonic())
        return got

    async def be_busy(self, limits: Limits, until: float) -> None:
        while time.monotonic() < until:
            permit = await self.ask(limits)
            if permit is not None:
                permit.leave()
            await asyncio.sleep(0.001)


@pytest.fixture
async def three(store: Store, store_url: str) -> AsyncIterator[list[Replica]]:
    """The clock of the second is an hour ahead, and that of the third an hour behind, where that may make nothing."""
    async with AsyncExitStack() as stack:
        more = [await Store.open(store_url, migrate=False) for _ in range(2)]
        stores = [store, *[await stack.enter_async_context(one) for one in more]]
        offsets = (0, 0, 0) if store.database.is_sqlite else (0, 3600, -3600)
        replicas = [
            Replica(one, f"replica-{number}", clock=lambda offset=offset: time.time() + offset)
            for number, (one, offset) in enumerate(zip(stores, offsets, strict=True))
        ]
        yield replicas
        for replica in replicas:
            replica.limiter._desk.close()
            await replica.ledger.leave()


async def test_together_they_send_what_one_may(three: list[Replica]) -> None:
    """Never more than the rate and the burst, and what each has ahead; and of that, nearly all."""
    limits = Limits(wait=0.5, connection=Quota(requests_per_second=RATE, burst=BURST))
    began = time.monotonic()
    await asyncio.gather(*(replica.be_busy(limits, began + SECONDS) for replica in three for _ in range(8)))
    took = time.monotonic() - began
    sent = [len(replica.sent) for replica in three]
    assert sum(sent) <= RATE * took + BURST + len(three) * AHEAD
    assert sum(sent) >= RATE * SECONDS / 4  # a busy machine may be late; nobody is a fraud for that
    assert min(sent) > 0


async def test_one_that_is_busy_gets_nearly_all(three: list[Replica]) -> None:
    limits = Limits(wait=0.5, connection=Quota(requests_per_second=RATE, burst=BURST))
    for replica in three[1:]:
        assert await replica.ask(limits)
    began = time.monotonic()
    await asyncio.gather(*(three[0].be_busy(limits, began + SECONDS / 2) for _ in range(8)))
    assert len(three[0].sent) >= RATE * SECONDS / 8
    assert len(three[0].sent) <= RATE * (time.monotonic() - began) + BURST + AHEAD


async def test_all_that_is_under_way_is_within_the_limit_at_every_moment(three: list[Replica]) -> None:
    limits = Limits(wait=5.0, connection=Quota(concurrency=4))
    under_way, most = 0, 0

    async def one(replica: Replica) -> None:
        nonlocal under_way, most
        permit = await replica.ask(limits)
        assert permit is not None
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.002)
        under_way -= 1
        permit.leave()

    waiting = {asyncio.create_task(one(replica)) for replica in three for _ in range(15)}
    while waiting:
        for replica in three:
            await replica.limiter.tick()
        done, waiting = await asyncio.wait(waiting, timeout=0.05)
        for task in done:
            task.result()
    assert most == 4


async def test_one_that_had_nothing_to_do_for_long_is_counted_from_its_first_request_on(
    three: list[Replica], store: Store
) -> None:
    """Nobody renews the lease of one that has no slots: it is had anew."""
    first, second, _ = three
    limits = Limits(wait=1.0, connection=Quota(concurrency=1))
    permit = await first.ask(limits)
    assert permit is not None
    permit.leave()
    for _ in range(20):  # until nobody has needed its slot for ten looks
        await first.limiter.tick()
    while first.limiter._connections["crm-ann"].holds_slots:  # noqa: ASYNC110 - it is being given back
        await asyncio.sleep(0.001)
    await first.limiter.tick()
    async with store.database.write() as connection:
        await connection.execute(text("UPDATE slot_holders SET until = until - 16"))
    assert await first.ask(limits) is not None
    assert await second.ask(Limits(connection=Quota(concurrency=1))) is None


async def test_what_many_connections_ask_at_once_is_few_transactions(store: Store) -> None:
    replica = Replica(store, "me", clock=time.time)
    calls = 0
    reserve = store.limits.reserve

    async def counted(asks: list[Ask], *, now: float) -> list[Reserved]:
        nonlocal calls
        calls += 1
        return await reserve(asks, now=now)

    store.limits.reserve = counted  # type: ignore[method-assign, assignment]
    asks = [Ask(key=f"connection:{number}", turns=1, interval=1.0, burst=1, ahead=0.0) for number in range(150)]
    got = await asyncio.gather(*(replica.ledger.reserve(ask) for ask in asks))
    assert [one.turns.count for one in got] == [1] * 150
    assert calls == 2


async def test_what_a_service_asks_one_replica_for_all_heed_within_a_second(three: list[Replica]) -> None:
    """By the change feed, where they know the connection; by asking, where they don't."""
    first, second, third = three
    limits = Limits(connection=Quota(concurrency=4))
    assert await second.ask(limits)
    heard = asyncio.Event()

    def hear(kind: str, key: str) -> None:
        if kind == "pause":
            second.limiter.heard(key)
            heard.set()

    changes = first.ledger._limits._database
    store = Store(changes)
    feed = asyncio.create_task(store.changes.watch(hear, after=await store.changes.latest()))
    first.limiter.pause(limits, *CONNECTION, 30.0)
    async with asyncio.timeout(1.0):
        await heard.wait()
        while await second.ask(limits):  # noqa: ASYNC110 - what it heard of it has to ask for
            await asyncio.sleep(0.01)
    assert not await third.ask(limits)
    feed.cancel()
    await asyncio.gather(feed, return_exceptions=True)
