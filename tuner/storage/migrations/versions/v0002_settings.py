"""Trials that differ from their study in how they train."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the settings of a trial."""
    with op.batch_alter_table("tuner_trials") as trials:
        trials.add_column(sa.Column("settings", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_trials") as trials:
        trials.drop_column("settings")
