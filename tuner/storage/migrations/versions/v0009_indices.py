"""Indices by which a runner finds, among all studies, those that wait or are to be ended."""

from alembic import op

revision = "0009"
down_revision = "0008"
_COLUMNS = ("status", "cancel_requested")


def upgrade() -> None:
    """Create them."""
    for name in _COLUMNS:
        op.create_index(f"ix_tuner_studies_{name}", "tuner_studies", [name])


def downgrade() -> None:
    """Remove them."""
    for name in _COLUMNS:
        op.drop_index(f"ix_tuner_studies_{name}", "tuner_studies")
