"""What users write beside a study, when it ran, who is told of its end, and links that show it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table of links, and the columns; all have defaults: older programs go on."""
    op.create_table(
        "tuner_links",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column(
            "submission_id",
            sa.String(32),
            sa.ForeignKey("tuner_submissions.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    with op.batch_alter_table("tuner_studies") as studies:
        studies.add_column(sa.Column("started", sa.DateTime(timezone=True)))
        studies.add_column(sa.Column("ended", sa.DateTime(timezone=True)))
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.add_column(sa.Column("note", sa.String, nullable=False, server_default=""))
        submissions.add_column(sa.Column("tags", sa.JSON, nullable=False, server_default="[]"))
        submissions.add_column(
            sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false())
        )
        submissions.add_column(sa.Column("source", sa.String(255)))
        submissions.add_column(sa.Column("webhook_format", sa.String(16)))
        submissions.add_column(sa.Column("email", sa.String(254)))
        submissions.add_column(sa.Column("email_due", sa.Double))
        submissions.add_column(
            sa.Column("email_attempts", sa.Integer, nullable=False, server_default="0")
        )
        submissions.add_column(sa.Column("email_error", sa.String))
        submissions.create_index("ix_tuner_submissions_email_due", ["email_due"])


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("tuner_submissions") as submissions:
        submissions.drop_index("ix_tuner_submissions_email_due")
        for name in (
            *("email_error", "email_attempts", "email_due", "email", "webhook_format"),
            *("source", "archived", "tags", "note"),
        ):
            submissions.drop_column(name)
    with op.batch_alter_table("tuner_studies") as studies:
        studies.drop_column("ended")
        studies.drop_column("started")
    op.drop_table("tuner_links")
