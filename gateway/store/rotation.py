"""Rotation: a new data key, under which everything sealed goes while servers serve; then the old key is removed.

Where it stands is in the table of keys, so that it can end anywhere and be gone on with by anyone:

    one key                        nothing is under way
    two, the older one living      the newer seals; servers that haven't heard of it yet still seal with the older
    two, the older one retired     the older opens what is left, and seals nothing any more (`fence`)

Nobody is locked out meanwhile. A server hears of the new key by the feed, or when it meets a value that it can't open
(`Database`), or when its write is refused because the key it sealed with was retired. The grace before retiring is for
comfort alone, so that no write has to be refused. What makes it safe is the order: retired, then searched through until
nothing is left under the old key, then removed; a process that slept through all of it finds the fence.

A value is replaced only where it stands as it was read: what a server writes meanwhile stays.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import Refusal, StartError
from gateway.keyring import Keyring, KeyringError, create_data_key, unwrap, wrap
from gateway.store.rows import DataKeyRow
from gateway.store.sealed_values import SealedValue, SealedValues
from gateway.store.store import Store
from gateway.store.unlock import learn_keys

GRACE_SECONDS = 5.0  # many times what the feed takes
LOCKED_PAUSE = 0.05  # seconds until a row is looked at again that somebody was writing
LONGEST_PAUSE = 0.05  # seconds between two batches

Progress = Callable[[int, int], None]
"""Told how many values are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """How it ended. `sealed` is how many values are under the new `key`.

    `stuck` is what doesn't open, each place in words; while there is any, its key isn't removed.
    """

    key: int
    resumed: bool
    sealed: int
    removed: tuple[int, ...]
    stuck: tuple[str, ...]


class Rotation:
    """One run. `clock` gives epoch seconds, `grace` is in seconds, None: `GRACE_SECONDS`."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        master: bytes,
        *,
        clock: Callable[[], float],
        grace: float | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> None:
        self._store = store
        self._values = SealedValues(store.database)
        self._keyring = keyring
        self._master = master
        self._clock = clock
        self._grace = GRACE_SECONDS if grace is None else grace
        self._progress = progress

    async def run(self) -> Rotated:
        """Rotate; where a rotation is unfinished, finish that one instead. Raises `StoreError`, `StartError`."""
        rows, resumed = await self._begin()
        newest, older = rows[-1], rows[:-1]
        total = await self._left(newest.id)
        await self._sweep(newest.id, total)
        if not all(row.retired_at for row in older):
            age = self._clock() - newest.created_at
            await asyncio.sleep(min(max(self._grace - age, 0.0), self._grace))
            await self._store.keys.retire(before=newest.id, now=self._clock())
        stuck = await self._sweep(newest.id, total)
        while await self._left(newest.id) > len(stuck):
            await asyncio.sleep(LOCKED_PAUSE)
            stuck = await self._sweep(newest.id, total)
        in_use = await self._values.count()
        removed = tuple(row.id for row in older if row.id not in in_use)
        await self._store.keys.remove(removed)
        return Rotated(
            key=newest.id,
            resumed=resumed,
            sealed=in_use.get(newest.id, 0),
            removed=removed,
            stuck=tuple(str(value) for value in stuck),
        )

    async def _begin(self) -> tuple[tuple[DataKeyRow, ...], bool]:
        """Return the keys, the new one last, and whether it was there: a rotation that wasn't finished."""
        made: list[int] = []

        def make(rows: Sequence[DataKeyRow]) -> DataKeyRow | None:
            newest = rows[-1]
            try:
                unwrap(self._master, newest.id, newest.wrapped)
            except KeyringError as error:  # a key wrapped by another master than the others would lock everyone out
                detail = "The master key was changed just now."
                raise StartError(Refusal(code="conflict", detail=detail, hint="Set keys.source to it.")) from error
            if len(rows) > 1:
                return None
            made.append(newest.id + 1)
            return self._new_key(newest.id + 1)

        rows = await self._store.keys.succeed(make)
        await learn_keys(self._store, self._keyring, self._master)
        return rows, not made

    def _new_key(self, key_id: int) -> DataKeyRow:
        key = create_data_key()
        return DataKeyRow(
            id=key_id,
            wrapped=wrap(self._master, key_id, key),
            created_at=self._clock(),
            handed_on=self._keyring.seal(key, table="data_keys", column="handed_on", row=str(key_id)),
        )

    async def _left(self, key_id: int) -> int:
        return sum(number for found, number in (await self._values.count()).items() if found < key_id)

    async def _sweep(self, key_id: int, total: int) -> list[SealedValue]:
        """Seal anew whatever is sealed with an earlier key; return what doesn't open."""
        loop = asyncio.get_running_loop()
        stuck: list[SealedValue] = []
        done = total - await self._left(key_id)
        self._progress(max(done, 0), total)
        async for batch in self._values.older_than(key_id):
            began = loop.time()
            anew = []
            for value in batch:
                try:
                    plaintext = self._keyring.open(value.blob, **value.place)
                except KeyringError:
                    stuck.append(value)
                    continue
                anew.append((value, self._keyring.seal(plaintext, **value.place)))
            if anew:
                await self._values.replace(anew)
            done += len(batch)
            self._progress(max(0, min(done, total)), total)
            await asyncio.sleep(min(loop.time() - began, LONGEST_PAUSE))  # SQLite's lock is not a fair one
        return stuck


async def rewrap(store: Store, master: bytes, new_master: bytes) -> int:
    """Wrap the data keys by another master key, all in one transaction; return how many. Raises `StartError`."""

    def wrapped(row: DataKeyRow) -> bytes:
        try:
            return wrap(new_master, row.id, unwrap(master, row.id, row.wrapped))
        except KeyringError as error:
            detail = f"Data key {row.id} can't be wrapped anew ({error}); nothing was changed."
            raise StartError(Refusal(code="conflict", detail=detail, hint="Is keys.source the current one?")) from error

    return await store.keys.rewrap(wrapped)
