"""Alembic's environment: it runs the steps in the connection, and the transaction, that `schema.upgrade` hands over."""

from alembic import context

from gateway.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can't alter most of a table; Alembic then makes a new one and copies
)
context.run_migrations()
