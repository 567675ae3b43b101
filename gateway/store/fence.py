"""No sealed value is written under a data key that was retired: checked in the transaction that writes it.

A process can be stopped for any time between sealing and writing. Without this check it could wake after a rotation
has ended, and leave a value (a rotated token!) whose key is gone. With it the write is refused, and sealed anew.

Retiring a key and writing under it exclude each other: on SQLite there is one writer at a time; on PostgreSQL the key's
row is locked FOR SHARE until the writer commits, so that retiring waits for whoever was earlier, and is seen by whoever
comes later.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import CursorResult, select

from gateway.errors import Refusal
from gateway.store.failures import RETRY_AFTER, RetiredKeyError
from gateway.store.sealed import Sealed, sealed_with
from gateway.store.tables import data_keys

LIVING = select(data_keys.c.id).where(data_keys.c.retired_at.is_(None)).with_for_update(read=True)


def key_ids_written(result: CursorResult[Any]) -> set[int]:
    """Return the data keys of the sealed values in a statement that was executed."""
    context: Any = result.context
    binds = getattr(context.compiled, "binds", {})
    names = [name for name, bind in binds.items() if isinstance(bind.type, Sealed)]
    if not names:
        return set()
    found = {sealed_with(row.get(name)) for row in context.compiled_parameters for name in names}
    return {key_id for key_id in found if key_id is not None}


def require_living(used: set[int], living: Iterable[int]) -> None:
    """Raise `RetiredKeyError` unless every key that was used may still seal. A store without keys has retired none."""
    keys = set(living)
    if keys and not used <= keys:
        detail = "The data key that this was sealed with has been replaced meanwhile."
        raise RetiredKeyError(Refusal(code="overloaded", detail=detail, retry_after=RETRY_AFTER))
