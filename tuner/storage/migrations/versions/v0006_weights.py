"""Weights lie in files, which studies name."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table of names, and the column for those of a trial."""
    op.create_table(
        "tuner_weights",
        sa.Column("study_id", sa.String(16), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True, index=True),
    )
    with op.batch_alter_table("tuner_trials") as trials:
        trials.add_column(sa.Column("weights", sa.JSON))


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_trials") as trials:
        trials.drop_column("weights")
    op.drop_table("tuner_weights")
