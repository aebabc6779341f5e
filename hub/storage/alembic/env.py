"""What Alembic runs. The connection comes from :func:`hub.storage.migrations.migrate`, which holds the lock."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transaction_per_migration=False,
    render_as_batch=True,  # SQLite alters a table by writing it anew
)
with context.begin_transaction():
    context.run_migrations()
