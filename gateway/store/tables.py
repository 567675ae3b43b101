"""The tables. `migrations/` arrives at the same ones; a test holds the two together.

Only types that SQLite and PostgreSQL share. Times are seconds since the epoch. What is sealed is `Sealed`, and nothing
else need be said of it: rotation, and what holds for reading and writing, go by the type.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
    text,
)

from gateway.store.rows import LATENCIES, OUTCOMES
from gateway.store.sealed import Sealed

# Every constraint has a name, so that a later migration can name what it drops.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is spelled INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

version = Table(  # Alembic's own, spelled as it spells it, so that a fresh store is stamped without it
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Sealed, nullable=False),  # or plain: a sealed one is told by how it begins
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("retired_at", Double),
    Column("handed_on", LargeBinary),
)

connections = Table(
    "connections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("account_label", Text),
    Column("unique_id", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("fields", Sealed, nullable=False),
    Column("credentials", Sealed),
    Column("token_version", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Double),
    Column("expires_at", Double),
    Column("renew_at", Double),
    Column("retry_at", Double),
    Column("failures", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("created_by", Text, nullable=False),
    # One account is one connection, whoever connects it and however many do so at once.
    Index("uq_connections_app_unique_id", "app", "unique_id", unique=True),
    # Each list is read along an index that ends in the cursor. The label behind it is for a search, which reads an
    # index from end to end, and not the rows: those are a hundred times as long.
    Index("ix_connections_id_label", "id", "label"),
    Index("ix_connections_app_id_label", "app", "id", "label"),
    Index("ix_connections_status_id_label", "status", "id", "label"),
    Index("ix_connections_app_status_id_label", "app", "status", "id", "label"),
    # What is to be renewed next is found at its beginning, however many connections there are.
    Index("ix_connections_status_renew_at", "status", "renew_at"),
    # So is what needs a person: the newest first, and what has failed most often.
    Index("ix_connections_status_updated_at", "status", "updated_at"),
    Index("ix_connections_status_failures", "status", "failures"),
)

clients = Table(
    "clients",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("patterns", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)

app_secrets = Table(
    "app_secrets",
    metadata,
    Column("app", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sealed", Sealed, nullable=False),
    Column("updated_at", Double, nullable=False),
)

connect_links = Table(
    "connect_links",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("app", Text, nullable=False),
    Column("connection", Text),
    Column("fields", Sealed),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Column("created_by", Text, nullable=False),
    Column("claim", Text),
    Column("claimed_until", Double),
    Column("outcome", Sealed),
    Index("ix_connect_links_expires_at", "expires_at"),
)

login_states = Table(
    "login_states",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),
    Column("app", Text, nullable=False),
    Column("session_hash", LargeBinary, nullable=False),
    Column("sealed", Sealed, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("poll_at", Double),
    Column("poll_interval", Double),
    Index("ix_login_states_expires_at", "expires_at"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("connection", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("sealed", Sealed),
    Column("created_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", Double),
    Column("last_error", Text),
    Index("ix_revocations_connection_created_at", "connection", "created_at"),
    Index("ix_revocations_next_try_at", "next_try_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", Double, nullable=False),
    Column("last_error", Text),
    Index("ix_deliveries_connection_id", "connection", "id"),
    Index("ix_deliveries_next_try_at", "next_try_at"),
    sqlite_autoincrement=True,  # the order of a connection's messages: a number never comes back
)

events = Table(
    "events",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("app", Text),
    Column("connection", Text),
    Column("client", Text),
    Column("detail", JSON, nullable=False),
    Index("ix_events_connection_id", "connection", "id"),
    Index("ix_events_app_id", "app", "id"),
    Index("ix_events_kind_id", "kind", "id"),
    Index("ix_events_client_id", "client", "id"),
    sqlite_autoincrement=True,  # an entry's number is never given again
)

requests = Table(
    "requests",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("at", Double, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("entrance", Text, nullable=False),
    Column("app", Text),
    Column("connection", Text),
    Column("client", Text),
    Column("method", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", Text),
    Column("seconds", Double, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("refreshed", Boolean, nullable=False),
    Index("ix_requests_at", "at"),
    Index("ix_requests_app_id", "app", "id"),
    Index("ix_requests_connection_id", "connection", "id"),
    # What the gateway itself answered, which is little of it all: the rest costs this index nothing.
    Index(
        "ix_requests_app_code_id",
        "app",
        "code",
        "id",
        sqlite_where=text("code IS NOT NULL"),
        postgresql_where=text("code IS NOT NULL"),
    ),
    Index("ix_requests_client_id", "client", "id"),
    # Of what went wrong, by whose word and how: as above.
    Index(
        "ix_requests_code_id",
        "code",
        "id",
        sqlite_where=text("code IS NOT NULL"),
        postgresql_where=text("code IS NOT NULL"),
    ),
    Index(
        "ix_requests_refused_id",
        "id",
        sqlite_where=text("code IS NOT NULL"),
        postgresql_where=text("code IS NOT NULL"),
    ),
    Index(
        "ix_requests_status_class_id",
        text("(status / 100)"),
        "id",
        sqlite_where=text("status >= 400"),
        postgresql_where=text("status >= 400"),
    ),
    sqlite_autoincrement=True,
)

tallies = Table(
    "tallies",
    metadata,
    Column("dimension", Text, primary_key=True),  # all, app, connection, client
    Column("span", Integer, primary_key=True, autoincrement=False),  # seconds that a row is of
    Column("key", Text, primary_key=True),  # which app, connection or client; of all: ""
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # its beginning, a multiple of the span
    *(Column(name, Integer, nullable=False) for name in (*OUTCOMES, *LATENCIES)),
    Column("seconds", Double, nullable=False),
    # The busiest of a span are at the end of its part of this; so is what has grown old at the end of its dimension's.
    Index("ix_tallies_dimension_span_at_requests", "dimension", "span", "at", "requests"),
)

changes = Table(
    "changes",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    sqlite_autoincrement=True,  # readers remember the last number they saw: it must never come back
)

# What goes out, counted over all replicas (`store.limits`).
limits = Table(
    "limits",
    metadata,
    Column("key", Text, primary_key=True),
    Column("free_at", Double, nullable=False),
    Column("paused_until", Double, nullable=False),
)

slots = Table(
    "slots",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("held", Integer, nullable=False),
    Column("wanted", Integer, nullable=False),
    Index("ix_slots_owner", "owner"),
)

slot_holders = Table(
    "slot_holders",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("until", Double, nullable=False),
)


def _unlogged(table: Table, connection: Connection, **_: object) -> None:
    """They are true for seconds: a crash may empty them, and no commit has to wait for the disk."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ALTER TABLE {table.name} SET UNLOGGED"))


for _table in (limits, slots, slot_holders):
    event.listen(_table, "after_create", _unlogged)
