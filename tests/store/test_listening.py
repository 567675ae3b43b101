"""PostgreSQL says when there is something to look at; a listener that hears nothing any more is found out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from sqlalchemy import text

from gateway.errors import Refusal, StoreError
from gateway.store import Store, listening
from gateway.store.listening import Bell
from tests.store.samples import a_client
from tests.store.test_changes import Heard, watching

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)

NEVER = 3600.0
# What a listener has said last; the pool's own words end without a semicolon.
HANG_UP = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'COMMIT;'")


@asynccontextmanager
async def ringing(bell: Bell) -> AsyncIterator[None]:
    task = asyncio.create_task(bell.listen())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_it(bell: Bell, *, hears: bool) -> None:
    async with asyncio.timeout(10):
        while bell.hears is not hears:
            await bell.wait(0.01)


async def test_a_change_of_another_is_heard_when_it_is_committed(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "PROVE_SECONDS", NEVER)
    bell = Bell(store.database, Random(1))
    async with await Store.open(store_url, migrate=False) as other, ringing(bell):
        await until_it(bell, hears=True)
        heard = asyncio.create_task(bell.wait(NEVER))
        await asyncio.sleep(0)
        assert not heard.done()
        await other.clients.insert(a_client())
        await asyncio.wait_for(heard, 5)


async def hung_up(other: Store) -> bool:
    """Whether there was a listener to hang up on; each look is a transaction, for it keeps what it saw at first."""
    async with other.database.write() as connection:
        return bool((await connection.execute(HANG_UP)).scalars().all())


async def test_a_listener_that_was_hung_up_on_comes_back_and_what_happened_meanwhile_is_told(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "PROVE_SECONDS", NEVER)
    heard = Heard()
    async with await Store.open(store_url, migrate=False) as other, watching(store, heard, interval=NEVER, after=0):
        await other.clients.insert(a_client("a"))
        await heard.until(lambda said: ("client", "a") in said)
        for name in "bc":
            async with asyncio.timeout(10):
                while not await hung_up(other):
                    pass  # it isn't there yet
            await other.clients.insert(a_client(name))
            await heard.until(lambda said, name=name: ("client", name) in said)


async def test_what_could_not_be_taken_up_is_told_again_though_nothing_rings_any_more(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "PROVE_SECONDS", NEVER)
    made: list[Bell] = []

    def a_bell(*given: object) -> Bell:
        made.append(Bell(*given))
        return made[0]

    monkeypatch.setattr(listening, "Bell", a_bell)
    heard, failed = Heard(), asyncio.Event()

    async def fails_once(kind: str, key: str) -> None:
        if not failed.is_set():
            failed.set()
            raise StoreError(Refusal(code="overloaded", detail="The store is away."))
        await heard(kind, key)

    async with await Store.open(store_url, migrate=False) as other, watching(store, fails_once, interval=0.05, after=0):
        async with asyncio.timeout(10):
            while not (made and made[0].hears):
                await other.changes.latest()
        await other.clients.insert(a_client("a"))
        await heard.until(lambda said: said == [("client", "a")])


class HardOfHearing(Bell):
    """A listener whose connection lives, and delivers nothing any more."""

    deaf = False

    def _heard_own(self, *_: object) -> None:
        if not self.deaf:
            super()._heard_own()


async def test_a_listener_that_hears_nothing_any_more_is_not_relied_upon(store: Store, monkeypatch: pytest.MonkeyPatch):
    for name in ("PROVE_SECONDS", "HEAR_SECONDS", "AGAIN_MOST"):
        monkeypatch.setattr(listening, name, 0.1)
    bell = HardOfHearing(store.database, Random(1))
    async with ringing(bell):
        await until_it(bell, hears=True)
        bell.deaf = True
        await until_it(bell, hears=False)
        bell.deaf = False
        await until_it(bell, hears=True)
