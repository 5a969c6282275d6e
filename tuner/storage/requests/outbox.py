"""The webhooks that are to be called and the e-mails that are to be sent, and when."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from tuner.storage.database import Database
from tuner.storage.leases import clock
from tuner.storage.tables import StudyRow, SubmissionRow
from tuner.study.result import ENDED

Channel = Literal["webhook", "email"]
_SENDING = 60.0  # seconds in which nobody else sends a message


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is to be told about a submission that ended.

    Attributes:
        submission: Its id.
        user: Whose it is.
        url: Who is told: a URL, or an address of e-mail.
        format: How a webhook is written, if that was said.
        attempts: How often that was tried.
    """

    submission: str
    user: int
    url: str
    attempts: int
    format: str | None = None


class Outbox:
    """Messages to those who asked to be told that a study has ended.

    What is promised: a message is due once its study ended, or its submission was cancelled, and
    not before. Of any number of services, one has it at a time; whatever happens to that one, it
    is due again a minute later, until `plan` says otherwise.

    Args:
        database: Where they are.
        channel: Which of them.
    """

    def __init__(self, database: Database, channel: Channel = "webhook") -> None:
        self._database, self._channel = database, channel

    def claim(self, *, but: Collection[int] = ()) -> Message | None:
        """Take a message that is due, so that no other service sends it; None if there is none.

        Args:
            but: Users whose messages wait.
        """
        return self._database.run(lambda session: _claim(session, self._channel, but))

    def plan(self, message: Message, pause: float | None, error: str | None = None) -> None:
        """Count an attempt, and write down when a message is due again.

        Args:
            message: It.
            pause: Seconds until then; None if it need not be sent again.
            error: Why it did not arrive; its owner is shown it.
        """

        def work(session: Session) -> None:
            due = None if pause is None else clock(session) + pause
            values = {"due": due, "attempts": message.attempts + 1, "error": error}
            session.execute(
                update(SubmissionRow)
                .where(SubmissionRow.id == message.submission)
                .values({f"{self._channel}_{name}": value for name, value in values.items()})
            )

        self._database.run(work)


def _claim(session: Session, channel: Channel, but: Collection[int]) -> Message | None:
    now = float(session.scalar(select(clock(session))) or 0.0)
    due = getattr(SubmissionRow, f"{channel}_due")
    is_due = due <= now
    row = session.scalar(
        select(SubmissionRow)
        .join(StudyRow)
        .where(is_due, or_(StudyRow.status.in_(ENDED), SubmissionRow.cancelled))
        .where(SubmissionRow.user_id.not_in(but))
        .order_by(due, SubmissionRow.number)
        .limit(1)
    )
    if row is None:
        return None
    taken = session.execute(
        update(SubmissionRow)
        .where(SubmissionRow.number == row.number, is_due)
        .values({f"{channel}_due": now + _SENDING})
    )
    if not taken.rowcount:  # type: ignore[attr-defined]  # a CursorResult
        return None
    return Message(
        submission=row.id,
        user=row.user_id,
        url=str(getattr(row, channel)),
        attempts=getattr(row, f"{channel}_attempts"),
        format=row.webhook_format,
    )
