"""Who is let through when, on a clock that the test turns."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.policy.limits import Limits, Quota
from gateway.proxy.gate import MOST_WAITING
from gateway.proxy.limiter import Limiter, Permit
from tests.proxy.books import Books, Clock, settle


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(clock: Clock) -> Books:
    return Books(clock)


@pytest.fixture(params=["alone", "together"])
def limiter(request: pytest.FixtureRequest, clock: Clock, books: Books) -> Limiter:
    return Limiter(books.page("me") if request.param == "together" else None, clock, Metrics())


def limits(wait: float = 0.0, *, app: dict[str, Any] | None = None, **connection: Any) -> Limits:
    return Limits(
        wait=wait,
        connection=Quota.model_validate(connection),
        app=None if app is None else Quota.model_validate(app),
    )


class Callers:
    """Requests of one limiter, each a task that asks as the data plane does."""

    def __init__(self, limiter: Limiter, said: Limits) -> None:
        self.limiter, self.said = limiter, said
        self.permits: list[Permit] = []
        self.order: list[str] = []
        self.refused: list[Refusal] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, count: int = 1, *, client: str = "runner", connection: str = "crm-ann") -> None:
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self._ask(client, connection)))
        await settle()

    async def _ask(self, client: str, connection: str) -> None:
        got: Permit | Refusal | None = self.limiter.enter(self.said, connection, "crm")
        if got is None:
            got = await self.limiter.wait(self.said, connection, "crm", client)
        if isinstance(got, Permit):
            self.permits.append(got)
            self.order.append(client)
        else:
            self.refused.append(got)


async def test_a_burst_goes_through_and_what_is_over_the_rate_is_turned_away(limiter: Limiter, clock: Clock) -> None:
    """Retry-After says when the next turn is."""
    callers = Callers(limiter, limits(requests_per_second=0.5, burst=3))
    await callers.ask(5)
    assert len(callers.permits) == 3
    assert [(one.code, one.status, one.retry_after) for one in callers.refused] == [("rate_limited", 429, 2)] * 2
    assert "of this connection" in callers.refused[0].detail
    assert "policies/crm.toml" in (callers.refused[0].hint or "")
    await clock.forward(2.0)
    await callers.ask(2)
    assert len(callers.permits) == 4


async def test_who_may_wait_gets_its_turn_and_who_cannot_in_time_is_told_at_once(
    limiter: Limiter, clock: Clock
) -> None:
    callers = Callers(limiter, limits(wait=2.0, requests_per_second=2, burst=1))
    await callers.ask(9)
    assert len(callers.permits) == 1
    for sent in (2, 3, 4, 5):
        await clock.forward(0.5)
        assert len(callers.permits) == sent
    await clock.forward(1.0)
    assert len(callers.permits) + len(callers.refused) == 9
    assert len(callers.refused) == 4


async def test_no_more_are_under_way_than_the_policy_says(limiter: Limiter, clock: Clock) -> None:
    """Without a wait the next is turned away; when one has ended, another goes through."""
    callers = Callers(limiter, limits(concurrency=2))
    await callers.ask(3)
    assert (len(callers.permits), [one.retry_after for one in callers.refused]) == (2, [1])
    callers.permits[0].leave()
    await clock.forward(0.5)
    await callers.ask()
    assert len(callers.permits) == 3


async def test_who_waits_for_one_that_ends_goes_through_then(limiter: Limiter, clock: Clock) -> None:
    callers = Callers(limiter, limits(wait=5.0, concurrency=1))
    await callers.ask(3)
    assert len(callers.permits) == 1
    callers.permits[0].leave()
    await settle()
    assert len(callers.permits) == 2
    await clock.forward(5.0)
    assert (len(callers.permits), len(callers.refused)) == (2, 1)


async def test_the_app_s_limit_holds_for_all_its_connections(limiter: Limiter) -> None:
    """What the app doesn't let through costs its connection nothing."""
    callers = Callers(limiter, limits(concurrency=3, app={"concurrency": 2}))
    for name in ("a", "b", "c"):
        await callers.ask(connection=f"crm-{name}")
    assert (len(callers.permits), len(callers.refused)) == (2, 1)
    assert "the app crm" in callers.refused[0].detail
    for permit in callers.permits:
        permit.leave()
    callers.said = limits(concurrency=3)
    await callers.ask(3, connection="crm-c")
    assert len(callers.permits) == 5


async def test_what_the_app_does_not_let_through_leaves_its_turn_to_the_next(limiter: Limiter) -> None:
    callers = Callers(limiter, limits(requests_per_second=0.01, burst=2, app={"concurrency": 1}))
    await callers.ask(3)
    assert (len(callers.permits), len(callers.refused)) == (1, 2)
    callers.permits[0].leave()
    await callers.ask()
    assert len(callers.permits) == 2


async def test_clients_take_turns_however_much_one_has_lined_up(limiter: Limiter, clock: Clock) -> None:
    callers = Callers(limiter, limits(wait=60.0, requests_per_second=1, burst=1))
    await callers.ask(1)
    await callers.ask(6, client="greedy")
    await callers.ask(2, client="modest")
    await clock.forward(5.0)
    assert callers.order == ["runner", "greedy", "modest", "greedy", "modest", "greedy"]


async def test_one_client_lines_up_so_many_and_no_more(limiter: Limiter, clock: Clock) -> None:
    callers = Callers(limiter, limits(wait=60.0, concurrency=1))
    await callers.ask(1)
    await callers.ask(MOST_WAITING + 2, client="greedy")
    await clock.forward(0.0)
    assert len(callers.refused) == 2
    assert "Too many requests of this client wait" in callers.refused[0].detail
    await callers.ask(1, client="modest")
    assert len(callers.refused) == 2
    for task in callers.tasks:
        task.cancel()
    await settle()


async def test_a_caller_that_leaves_takes_nobody_s_turn(limiter: Limiter) -> None:
    """Nor does one that leaves in the very moment in which it is let in."""
    callers = Callers(limiter, limits(wait=60.0, concurrency=1))
    await callers.ask(4)
    callers.tasks[1].cancel()
    await settle()
    callers.permits[0].leave()
    callers.tasks[2].cancel()
    await settle()
    assert len(callers.permits) == 2
    callers.permits[1].leave()
    await callers.ask()
    assert len(callers.permits) == 3


async def test_one_that_leaves_just_before_a_slot_comes_free_takes_none_with_it(limiter: Limiter) -> None:
    """It stands in line until its task has its turn of the loop."""
    callers = Callers(limiter, limits(wait=60.0, concurrency=1))
    await callers.ask(3)
    callers.tasks[1].cancel()
    callers.permits[0].leave()
    await settle()
    assert len(callers.permits) == 2
    callers.permits[1].leave()
    assert limiter._connections["crm-ann"].in_use == 0


async def test_a_pause_holds_everybody_back_and_then_lets_them_through(limiter: Limiter, clock: Clock) -> None:
    callers = Callers(limiter, limits(wait=4.0))
    limiter.pause(callers.said, "crm-ann", "crm", 3.0)
    await callers.ask(2)
    assert not callers.permits
    await clock.forward(3.0)
    assert len(callers.permits) == 2
    limiter.pause(callers.said, "crm-ann", "crm", 30.0)
    await callers.ask()
    assert [one.retry_after for one in callers.refused] == [30]
    assert "asked for a pause, of which 30 s are left" in callers.refused[0].detail
    await callers.ask(connection="crm-bob")
    assert len(callers.permits) == 3


async def test_where_the_app_has_limits_a_pause_is_the_app_s(limiter: Limiter) -> None:
    callers = Callers(limiter, limits(app={"concurrency": 5}))
    limiter.pause(callers.said, "crm-ann", "crm", 30.0)
    await callers.ask(connection="crm-bob")
    assert len(callers.refused) == 1


async def test_a_policy_that_changes_holds_from_the_next_request_on(limiter: Limiter) -> None:
    callers = Callers(limiter, limits(concurrency=1))
    await callers.ask(2)
    assert len(callers.refused) == 1
    callers.said = limits(concurrency=3)
    await callers.ask(3)
    assert (len(callers.permits), len(callers.refused)) == (3, 2)


async def test_what_nobody_uses_is_forgotten(limiter: Limiter, clock: Clock) -> None:
    callers = Callers(limiter, limits(requests_per_second=5, concurrency=2))
    await callers.ask(2)
    await limiter.tick()
    assert limiter._connections
    for permit in callers.permits:
        permit.leave()
    for _ in range(25):
        await clock.forward(61.0)
        await limiter.tick()
    assert not limiter._connections


# Over replicas.


async def replicas(books: Books, clock: Clock, count: int, said: Limits) -> list[Callers]:
    return [Callers(Limiter(books.page(f"replica-{number}"), clock, Metrics()), said) for number in range(count)]


async def busy(callers: list[Callers], clock: Clock, *, seconds: float, each: Callable[[int], int]) -> int:
    """Let each replica have so many requests in every 10 ms; return how many went out in all."""
    for _ in range(round(seconds * 100)):
        for number, one in enumerate(callers):
            await one.ask(each(number))
        await clock.forward(0.01)
    return sum(len(one.permits) for one in callers)


async def test_three_busy_replicas_send_as_much_as_the_rate_and_the_burst_allow(books: Books, clock: Clock) -> None:
    """And of what each has ahead, a tenth of a second's worth, no more than that is over it."""
    said = limits(requests_per_second=50, burst=10)
    callers = await replicas(books, clock, 3, said)
    sent = await busy(callers, clock, seconds=3.0, each=lambda _: 1)
    assert 0.9 * (50 * 3 + 10) <= sent <= 50 * 3 + 10 + 3 * 5
    each = [len(one.permits) for one in callers]
    assert min(each) > 0.2 * sent  # nobody starves
    assert books.asked.count("reserve") <= 3 * 3 * 20  # twenty times a second and replica, at most


async def test_one_busy_replica_of_three_gets_nearly_all(books: Books, clock: Clock) -> None:
    """The other two have a request now and then, and hold back nothing that they don't need."""
    callers = await replicas(books, clock, 3, limits(requests_per_second=50, burst=10))
    tick = iter(range(10_000))
    await busy(callers, clock, seconds=3.0, each=lambda number: 1 if number == 0 else int(next(tick) % 50 == 0))
    assert len(callers[0].permits) > 0.9 * (50 * 3)


async def test_a_busy_gate_asks_twenty_times_a_second_and_no_more_however_much_is_asked_of_it(
    books: Books, clock: Clock
) -> None:
    callers = await replicas(books, clock, 1, limits(requests_per_second=1000, burst=1))
    sent = await busy(callers, clock, seconds=1.0, each=lambda _: 20)
    assert books.asked.count("reserve") <= 30  # some more while the batches grow
    assert sent > 500


async def test_turns_that_nobody_took_are_dropped_and_the_next_batch_is_small(books: Books, clock: Clock) -> None:
    """Else a burst behind a pause would be larger by what was left, and who has little to do would hold much."""
    callers = await replicas(books, clock, 1, limits(requests_per_second=50, burst=10))
    await busy(callers, clock, seconds=0.3, each=lambda _: 1)
    assert max(books.turns_asked) == 5
    before = len(callers[0].permits)
    await clock.forward(5.0)
    await callers[0].ask()
    assert books.turns_asked[-1] == 1
    await callers[0].ask(29)
    assert len(callers[0].permits) - before == 10


async def test_nobody_is_let_in_on_a_slot_that_is_being_taken_away(books: Books, clock: Clock) -> None:
    first, second = await replicas(books, clock, 2, limits(wait=5.0, concurrency=4))
    await first.ask(4)
    for permit in first.permits[1:]:
        permit.leave()
    await second.ask(3)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        if books.asked[-1] == "share":
            asked.set()
            await answer.wait()

    books.hold = hold
    await first.limiter.tick()
    await asked.wait()
    had = len(first.permits)
    await first.ask(3)
    assert len(first.permits) == had
    answer.set()
    await clock.forward(0.3)
    assert sum(row[0] for row in books.slots["connection:crm-ann"].values()) <= 4
    for task in (*first.tasks, *second.tasks):
        task.cancel()
    await settle()


async def test_a_slow_rate_is_exact_over_replicas(books: Books, clock: Clock) -> None:
    callers = await replicas(books, clock, 3, limits(requests_per_second=1, burst=1))
    assert await busy(callers, clock, seconds=5.0, each=lambda _: 1) == 5


async def test_replicas_have_so_many_under_way_together(books: Books, clock: Clock) -> None:
    """Who came first had all; who comes later gets its part within two seconds, and none is ever over the limit."""
    first, second = await replicas(books, clock, 2, limits(wait=60.0, concurrency=4))
    await first.ask(8)
    await second.ask(8)
    assert (len(first.permits), len(second.permits)) == (4, 0)
    for _ in range(3):
        first.permits.pop().leave()
        await settle()
        await clock.forward(1.0)
        await first.limiter.tick()
        await second.limiter.tick()
        await clock.forward(1.0)
        assert len(first.permits) + len(second.permits) <= 4
    assert len(second.permits) == 2
    for task in (*first.tasks, *second.tasks):
        task.cancel()
    await settle()


async def test_slots_that_nobody_needs_go_back(books: Books, clock: Clock) -> None:
    first, second = await replicas(books, clock, 2, limits(concurrency=4))
    await first.ask(4)
    for permit in first.permits:
        permit.leave()
    asked = books.asked.count("share")
    for _ in range(9):
        await first.limiter.tick()
        await settle()
    assert books.asked.count("share") == asked  # who has something to do now and then doesn't ask each time
    for _ in range(11):
        await first.limiter.tick()
        await settle()
    assert books.slots["connection:crm-ann"]["replica-0"] == (0, 0)
    await second.ask(4)
    assert len(second.permits) == 4


async def test_a_lease_that_lapsed_costs_the_slots(books: Books, clock: Clock) -> None:
    """What others have had meanwhile isn't given a second time."""
    first, second = await replicas(books, clock, 2, limits(concurrency=2))
    await first.ask(1)
    page: Any = first.limiter._ledger
    page.lease_lost = True
    del books.slots["connection:crm-ann"]["replica-0"]
    await second.ask(2)
    await first.limiter.tick()
    await first.ask(1)
    assert (len(first.permits), len(second.permits)) == (1, 2)


async def test_slots_from_before_the_store_was_away_go_to_who_needs_them(books: Books, clock: Clock) -> None:
    """The process has forgotten them; the store hasn't."""
    first, second = await replicas(books, clock, 2, limits(concurrency=4))
    await first.ask(4)
    for permit in first.permits:
        permit.leave()
    books.away = True
    await first.ask(connection="crm-bob")
    books.away = False
    await clock.forward(10.0)
    await first.ask(connection="crm-cleo")
    await second.ask(4)
    await first.limiter.tick()
    await clock.forward(0.3)
    await second.ask(4)
    assert len(second.permits) == 4


async def test_a_pause_is_heard_by_the_other_replicas(books: Books, clock: Clock) -> None:
    """Also by one that had nothing to do with the connection yet."""
    first, second, third = await replicas(books, clock, 3, limits())
    await second.ask()
    first.limiter.pause(first.said, "crm-ann", "crm", 30.0)
    await settle()
    assert books.told == ["connection:crm-ann"]
    second.limiter.heard("connection:crm-ann")
    second.limiter.heard("connection:unknown")
    await settle()
    for one in (second, third):
        await one.ask()
        assert [refusal.retry_after for refusal in one.refused] == [30]


async def test_a_service_that_says_it_again_and_again_is_told_to_the_others_once(books: Books, clock: Clock) -> None:
    (one,) = await replicas(books, clock, 1, limits())
    for _ in range(5):
        one.limiter.pause(one.said, "crm-ann", "crm", 30.0)
    await settle()
    assert books.told == ["connection:crm-ann"]


async def test_a_store_that_is_away_stops_nobody_and_is_told_once(books: Books, clock: Clock) -> None:
    """Each replica goes on by its own counting, and comes back to the others by itself."""
    first, second = await replicas(books, clock, 2, limits(requests_per_second=1, burst=2, concurrency=10))
    books.away = True
    with capture_logs() as logs:
        for one in (first, second):
            await one.ask(3)
            assert (len(one.permits), len(one.refused)) == (2, 1)
        for _ in range(3):
            await clock.forward(10.0)
            await first.ask()
        assert len(first.permits) == 5
        books.away = False
        await clock.forward(10.0)
        await first.ask()
    assert [entry["event"] for entry in logs] == ["limits.alone", "limits.alone", "limits.together"]
    assert logs[0]["detail"] == "The store is away."
    assert len(first.permits) == 6
    assert books.slots["connection:crm-ann"]["replica-0"][0] >= 6  # those that are under way count again


async def test_who_waits_for_a_store_that_hangs_is_counted_here(books: Books) -> None:
    """It isn't kept for longer than the store is waited for."""
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    books.hold = hang
    limiter = Limiter(books.page("me"), Clock(), Metrics())
    callers = Callers(limiter, limits(concurrency=1))
    await callers.ask()
    await started.wait()
    assert not callers.permits
    limiter._desk.close()
    for task in callers.tasks:
        task.cancel()
    await settle()
