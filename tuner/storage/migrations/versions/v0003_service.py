"""Users, keys, submissions and events: the service."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STUDY = ("tuner_studies.id", "CASCADE")
_USER = ("tuner_users.id", "CASCADE")


def upgrade() -> None:
    """Create the tables of the service, and what it needs to know of a study."""
    with op.batch_alter_table("tuner_studies") as studies:
        studies.add_column(sa.Column("source", sa.String))
        studies.add_column(sa.Column("options", sa.JSON, nullable=False, server_default="{}"))
        studies.add_column(sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
        studies.add_column(
            sa.Column("starting_until", sa.Double, nullable=False, server_default="0")
        )
        studies.add_column(
            sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false())
        )
    op.create_table(
        "tuner_events",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("study_id", sa.String(16), *_STUDY, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        _moment(),
    )
    op.create_table(
        "tuner_users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        _moment(),
    )
    op.create_table(
        "tuner_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        _reference("user_id", sa.Integer, *_USER),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        _moment(),
    )
    op.create_table(
        "tuner_submissions",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        _reference("user_id", sa.Integer, *_USER, index=True),
        _reference("study_id", sa.String(16), *_STUDY, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        _moment(),
        sa.UniqueConstraint("user_id", "idempotency_key"),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("tuner_submissions", "tuner_keys", "tuner_users", "tuner_events"):
        op.drop_table(table)
    with op.batch_alter_table("tuner_studies") as studies:
        for name in ("source", "options", "attempts", "starting_until", "cancel_requested"):
            studies.drop_column(name)


def _reference(
    name: str, kind: Any, target: str, ondelete: str, *, index: bool = False
) -> sa.Column[Any]:
    key = sa.ForeignKey(target, ondelete=ondelete)
    return sa.Column(name, kind, key, nullable=False, index=index)


def _moment() -> sa.Column[Any]:
    return sa.Column("created", sa.DateTime(timezone=True), nullable=False)
