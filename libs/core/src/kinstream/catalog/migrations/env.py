"""What Alembic runs: the caller hands its connection over and commits it."""

from alembic import context

from kinstream.catalog.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
