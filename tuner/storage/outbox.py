"""The webhooks that are to be called, and when."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from tuner.storage.database import Database
from tuner.storage.leases import clock
from tuner.storage.tables import StudyRow, SubmissionRow
from tuner.study.result import ENDED

_SENDING = 60.0  # seconds in which nobody else sends a message


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is to be told about a submission that ended.

    Attributes:
        submission: Its id.
        user: Whose it is.
        url: Who is told.
        attempts: How often that was tried.
    """

    submission: str
    user: int
    url: str
    attempts: int


class WebhookOutbox:
    """Messages to those who asked to be told that a study has ended.

    What is promised: a message is due once its study ended, or its submission was cancelled, and
    not before. Of any number of services, one has it at a time; whatever happens to that one, it
    is due again a minute later, until `plan` says otherwise.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, but: Collection[int] = ()) -> Message | None:
        """Take a message that is due, so that no other service sends it; None if there is none.

        Args:
            but: Users whose messages wait.
        """
        return self._database.run(lambda session: _claim(session, but))

    def plan(self, message: Message, pause: float | None, error: str | None = None) -> None:
        """Count an attempt, and write down when a message is due again.

        Args:
            message: It.
            pause: Seconds until then; None if it need not be sent again.
            error: Why it did not arrive; its owner is shown it.
        """

        def work(session: Session) -> None:
            due = None if pause is None else clock(session) + pause
            session.execute(
                update(SubmissionRow)
                .where(SubmissionRow.id == message.submission)
                .values(webhook_due=due, webhook_attempts=message.attempts + 1, webhook_error=error)
            )

        self._database.run(work)


def _claim(session: Session, but: Collection[int]) -> Message | None:
    now = float(session.scalar(select(clock(session))) or 0.0)
    is_due = SubmissionRow.webhook_due <= now
    row = session.scalar(
        select(SubmissionRow)
        .join(StudyRow)
        .where(is_due, or_(StudyRow.status.in_(ENDED), SubmissionRow.cancelled))
        .where(SubmissionRow.user_id.not_in(but))
        .order_by(SubmissionRow.webhook_due, SubmissionRow.number)
        .limit(1)
    )
    if row is None:
        return None
    taken = session.execute(
        update(SubmissionRow)
        .where(SubmissionRow.number == row.number, is_due)
        .values(webhook_due=now + _SENDING)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]  # a CursorResult
        return None
    return Message(
        submission=row.id,
        user=row.user_id,
        url=str(row.webhook),
        attempts=row.webhook_attempts,
    )
