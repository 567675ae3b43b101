"""Everything that lasts: connections, clients, secrets, the audit trail, the request log, keys.

    store        Store: opened, its groups of queries, closed
    rows         the rows as values
    connections, leases, due, clients, app_secrets, links, login_states, events, requests, tallies, revocations,
    deliveries, data_keys, meta, attention, census, limits
                 one group of queries each
    changes      the change feed, by which every process hears of every change
    listening    how it hears at once on PostgreSQL
    tables       the tables                  migrations   how older ones become them, with Alembic
    schema       which version a store has   sqlite_file  the file, before it is opened
    database     how transactions begin      transaction  one in use, which nobody leaves half-way
    postgresql   a server, and a transaction on it that ends in time
    failures     the databases' errors become ours            clock       whose time it is
    unlock       the keyring of a store      sealed       the type of what is sealed
    fence        nothing is written under a retired data key
    rotation     a new data key, under which everything goes; sealed_values is what it goes through
    turns        how limits are divided among replicas (pure)
    copying      a store moved to another database
    private_file a file for its owner alone

SQL is SQLAlchemy Core, the same for SQLite (aiosqlite) and PostgreSQL (asyncpg). Nothing here but rotation opens what
is sealed; times are arguments, and only `clock` reads one.
"""

from typing import TYPE_CHECKING, Any

from gateway.store.rows import (
    ClientRow,
    ConnectionRow,
    DataKeyRow,
    EventRow,
    LinkRow,
    LoginStateRow,
    Page,
    RequestRow,
    Status,
)

if TYPE_CHECKING:
    from gateway.store.failures import ConflictError
    from gateway.store.store import Store
    from gateway.store.unlock import keyring_from_store

__all__ = [
    "ClientRow",
    "ConflictError",
    "ConnectionRow",
    "DataKeyRow",
    "EventRow",
    "LinkRow",
    "LoginStateRow",
    "Page",
    "RequestRow",
    "Status",
    "Store",
    "keyring_from_store",
]

# SQLAlchemy takes a quarter of a second to import: whoever needs only the rows doesn't pay for it (PEP 562).
_LATE = {"ConflictError": "failures", "Store": "store", "keyring_from_store": "unlock"}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
