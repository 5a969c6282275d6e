"""Seconds of training, beside those that a study took: the rest is overhead."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the seconds of training."""
    with op.batch_alter_table("tuner_studies") as studies:
        studies.add_column(
            sa.Column("training_seconds", sa.Double, nullable=False, server_default="0")
        )


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_studies") as studies:
        studies.drop_column("training_seconds")
