"""Trainings that are handed out to whoever trains elsewhere: see `tuner.storage.handouts`."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "tuner_handouts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "study_id",
            sa.String(16),
            sa.ForeignKey("tuner_studies.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("strength", sa.Double, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("lease", sa.String(32), unique=True),
        sa.Column("worker", sa.String(255)),
        sa.Column("expires", sa.Double, nullable=False, server_default="0"),
        sa.UniqueConstraint("study_id", "phase", "number"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("tuner_handouts")
