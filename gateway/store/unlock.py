"""Where the keyring and the store meet: data keys are unwrapped, and a canary shows that they are right."""

from functools import partial

import structlog

from gateway.errors import Refusal, StartError
from gateway.keyring import Keyring, KeyringError, create_data_key, unwrap, wrap
from gateway.store.rows import DataKeyRow
from gateway.store.store import Store

CANARY = "canary"
_SONG = b"the data keys of this store are the ones it was made with"

_log = structlog.get_logger()


async def keyring_from_store(store: Store, master: bytes, now: float) -> Keyring:
    """Return the keyring of this store, kept up to date. On an empty store the first data key and the canary are made.

    Raises `StartError` where `master` isn't this store's master key; nothing is changed then.
    """
    rows = await store.keys.all()
    if not rows:
        rows = await _first_key(store, master, now)
    try:
        keyring = Keyring({row.id: unwrap(master, row.id, row.wrapped) for row in rows})
        await _listen(store, keyring)
    except KeyringError as error:
        raise _refused(error) from error
    store.database.opened_with(keyring, partial(learn_keys, store, keyring, master))
    return keyring


async def learn_keys(store: Store, keyring: Keyring, master: bytes) -> None:
    """Add the data keys that were made since. Raises `StoreError`.

    One that `master` doesn't open, because the master key was changed since this process began, was handed on by the
    key before it. One that can't be had at all is left out: what is sealed with it doesn't open, and says so.
    """
    for row in await store.keys.all():
        if keyring.knows((row.id,)):
            continue
        try:
            keyring.add({row.id: _unwrapped(row, keyring, master)})
        except KeyringError as error:
            hint = "start again with the keys.source of now"
            _log.error("keys.not_opened", key=row.id, reason=str(error), hint=hint)


def _unwrapped(row: DataKeyRow, keyring: Keyring, master: bytes) -> bytes:
    try:
        return unwrap(master, row.id, row.wrapped)
    except KeyringError:
        if row.handed_on is None:
            raise
        return keyring.open(row.handed_on, table="data_keys", column="handed_on", row=str(row.id))


async def _first_key(store: Store, master: bytes, now: float) -> tuple[DataKeyRow, ...]:
    if await store.meta.get(CANARY) is not None:
        if rows := await store.keys.all():
            return rows  # another process, which started beside this one, has made both since we looked
        raise _refused(KeyringError("the store has a canary and no data keys"))
    try:
        row = DataKeyRow(id=1, wrapped=wrap(master, 1, create_data_key()), created_at=now)
    except KeyringError as error:
        raise _refused(error) from error
    await store.keys.add(row)  # or another process's, which started beside this one: what the store has is right
    return await store.keys.all()


async def _listen(store: Store, keyring: Keyring) -> None:
    place = {"table": "meta", "column": "value", "row": CANARY}
    canary = await store.meta.get(CANARY)
    if canary is None:
        canary = (await store.meta.establish({CANARY: keyring.seal(_SONG, **place)}))[CANARY]
    if keyring.open(canary, **place) != _SONG:
        raise KeyringError("the canary sings another song")


def _refused(error: KeyringError) -> StartError:
    return StartError(
        Refusal(
            code="internal",
            detail=f"The master key is not the one this store was made with ({error}).",
            hint=(
                "Check `keys.source`: after `gateway keys rotate --master-to` it is the new one. Nothing was changed; "
                "without the right key the connections can't be read."
            ),
        )
    )
