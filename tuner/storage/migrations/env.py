"""Run by Alembic, in the transaction of `tuner.storage.schema.migrate`."""

from alembic import context

from tuner.storage.schema import VERSION_TABLE
from tuner.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
