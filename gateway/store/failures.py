"""The seam where the databases' errors become ours: everything above sees `StoreError` and `ConflictError` alone.

Errors are told apart by their codes, never by their text: SQLite's result codes, PostgreSQL's SQLSTATE.
"""

import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.errors import Refusal, StoreError

RETRY_AFTER = 1  # seconds; most of what is wrong here is over in that time, and asking is cheap

HINT = "Try again in a moment. If it stays so, see that the database of store.url is up, whole, and has room."

PRIMARY = 0xFF  # SQLite's extended result codes keep the primary one in the low byte
_SQLITE = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_FULL: "is on a full disk",
    sqlite3.SQLITE_IOERR: "can't be read or written (input/output error; is the disk full?)",
    sqlite3.SQLITE_CORRUPT: "is corrupt; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CANTOPEN: "can't be opened",
    sqlite3.SQLITE_PERM: "may not be accessed by this user",
    sqlite3.SQLITE_AUTH: "may not be accessed by this user",
}
_SQLSTATE = {
    "28000": "does not let this user in: there is none, or not from here, or only by TLS (sslmode=require in the URL)",
    "28P01": "refuses the password",
    "08P01": "refuses this connection (its log says why; it may want TLS: sslmode=require in the URL)",
    "25P03": "gave up a transaction that stood still",
    "42501": "refuses a right (the user of the URL must own the tables, or be allowed to make them)",
    "42704": "doesn't know a parameter of its URL",
    "42P01": "lacks a table (has a newer gateway changed its schema?)",
    "42703": "lacks a column (has a newer gateway changed its schema?)",
    "53300": "has no free connection (see max_connections)",
    "57014": "took too long",
}
_SQLSTATE_CLASS = {
    "08": "can't be reached, or has stopped answering",
    "28": "refuses the user or the password",
    "3D": "does not exist",
    "40": "is busy with conflicting transactions",
    "42": "lacks a table or a right",
    "53": "is out of space, memory or connections",
    "57": "is shutting down or restarting",
}


class ConflictError(StoreError):
    """A row of this key, or of this account, is there already."""


class DriverError(Exception):
    """What the driver says about words that don't go through SQLAlchemy; `orig` is its own error."""

    def __init__(self, orig: BaseException) -> None:
        super().__init__(type(orig).__name__)
        self.orig = orig


class RetiredKeyError(StoreError):
    """What was to be written is sealed with a data key that a rotation has retired meanwhile: seal it anew."""


def describe(error: BaseException) -> str:
    """Return what is wrong with the store, as the end of "The store …"."""
    origin = getattr(error, "orig", None) or error
    code = getattr(origin, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _SQLITE.get(code & PRIMARY, f"failed with {getattr(origin, 'sqlite_errorname', code)}")
    state = getattr(origin, "sqlstate", None)
    if isinstance(state, str):
        return _SQLSTATE.get(state) or _SQLSTATE_CLASS.get(state[:2], f"failed with SQLSTATE {state}")
    if isinstance(error, PoolTimeoutError):
        return "has no free connection"
    if isinstance(error, OSError):
        return _describe_os(error)
    return f"failed ({type(origin).__name__})"


def _describe_os(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "doesn't answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"can't be trusted: its certificate doesn't pass ({error.verify_message})"
    if type(error) is ConnectionError:  # asyncpg's own, which has no number: the server has declined TLS
        return "can't be reached over TLS, which sslmode in its URL asks for"
    return f"can't be reached ({error.strerror or type(error).__name__})"


@contextmanager
def translated() -> Iterator[None]:
    """Raise `ConflictError` or `StoreError` for whatever the database raises inside.

    The statement and its values are left out: they hold what is sealed, and names that are nobody's business.
    """
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(Refusal(code="conflict", detail="This exists already.")) from error
    except (SQLAlchemyError, DriverError, sqlite3.Error, OSError) as error:
        detail = f"The store {describe(error)}."
        raise StoreError(Refusal(code="overloaded", detail=detail, hint=HINT, retry_after=RETRY_AFTER)) from error
