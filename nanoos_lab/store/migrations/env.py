"""Runs the migrations on the connection, and inside the transaction, that `versions.migrate` hands over."""

from alembic import context

from nanoos_lab.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
