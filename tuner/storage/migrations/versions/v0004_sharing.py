"""Who else may see a submission, and who is told of its end."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table of shares, and what it takes to call a webhook."""
    op.create_table(
        "tuner_shares",
        sa.Column(
            "submission_id",
            sa.String(32),
            sa.ForeignKey("tuner_submissions.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column(
            "user_id",
            sa.Integer,
            sa.ForeignKey("tuner_users.id", ondelete="CASCADE"),
            primary_key=True,
            index=True,
        ),
    )
    with op.batch_alter_table("tuner_users") as users:
        users.add_column(sa.Column("webhook_secret", sa.String(64)))
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.add_column(sa.Column("webhook", sa.String(2048)))
        submissions.add_column(sa.Column("webhook_due", sa.Double))
        submissions.add_column(
            sa.Column("webhook_attempts", sa.Integer, nullable=False, server_default="0")
        )
        submissions.create_index("ix_tuner_submissions_webhook_due", ["webhook_due"])


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.drop_index("ix_tuner_submissions_webhook_due")
        for name in ("webhook", "webhook_due", "webhook_attempts"):
            submissions.drop_column(name)
    with op.batch_alter_table("tuner_users") as users:
        users.drop_column("webhook_secret")
    op.drop_table("tuner_shares")
