"""Which versions of the program can work on the tables: see `tuner.storage.schema`."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add it to the table of the version; programs before this step look at the version alone."""
    op.add_column(
        "tuner_version", sa.Column("oldest", sa.String(32), nullable=False, server_default="0010")
    )


def downgrade() -> None:
    """Remove it."""
    with op.batch_alter_table("tuner_version") as version:
        version.drop_column("oldest")
