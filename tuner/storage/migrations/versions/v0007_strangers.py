"""Sessions of browsers, secrets that only a service reads, and what each user asked and is told."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table of sessions, and the columns."""
    op.create_table(
        "tuner_sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column(
            "key_id",
            sa.String(16),
            sa.ForeignKey("tuner_keys.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("expires", sa.Double, nullable=False),
    )
    with op.batch_alter_table("tuner_users") as users:
        users.add_column(sa.Column("sealed_secret", sa.String(255)))
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.add_column(sa.Column("options", sa.JSON))
        submissions.add_column(sa.Column("webhook_error", sa.String))


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.drop_column("webhook_error")
        submissions.drop_column("options")
    with op.batch_alter_table("tuner_users") as users:
        users.drop_column("sealed_secret")
    op.drop_table("tuner_sessions")
