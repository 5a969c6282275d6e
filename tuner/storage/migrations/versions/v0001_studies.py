"""Studies, their finished trials, and who works on them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tuner_studies",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False, index=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.String),
        sa.Column("search_closed", sa.Boolean, nullable=False),
        sa.Column("wall_seconds", sa.Double, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("result", sa.JSON),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "tuner_trials",
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
        sa.Column("seeds", sa.JSON, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("outcome", sa.LargeBinary),
        sa.Column("run_id", sa.String(64)),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("study_id", "phase", "number"),
    )
    op.create_table(
        "tuner_leases",
        sa.Column("study_id", sa.String(16), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("tuner_leases", "tuner_trials", "tuner_studies"):
        op.drop_table(table)
