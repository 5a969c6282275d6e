"""Links that show a study to whoever has them, until they expire or are revoked."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from tuner.errors import TooManyError
from tuner.storage.connections import LOOK, announce
from tuner.storage.database import Database
from tuner.storage.leases import clock
from tuner.storage.tables import LinkRow, SubmissionRow, in_utc

DAY = 86400.0  # seconds
_PREFIX = 12
_MOST = 100  # links of one submission


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link to a submission.

    Attributes:
        id: What it is known by; it opens nothing.
        submission: What it shows.
        user: Whose that is.
        expires: Until when it does.
        created: Since when.
    """

    id: str
    submission: str
    user: int
    expires: datetime
    created: datetime


class Links:
    """Links that show submissions.

    What is promised: only a digest of a link's token is kept. A link that expired, was revoked, or
    whose submission is gone opens as little as one that never was.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, user: int, submission: str, *, days: int) -> tuple[Link, str]:
        """Make a link to a submission of a user's, and the token that opens it.

        Raises:
            KeyError: If the user has no such submission.
            TooManyError: If there are as many links to it as there may be.
        """
        token = f"tl_{secrets.token_urlsafe(32)}"

        def work(session: Session) -> Link:
            mine = (SubmissionRow.user_id == user, SubmissionRow.id == submission)
            if session.scalar(select(SubmissionRow.number).where(*mine)) is None:
                raise KeyError(f"there is no submission {submission}")
            now = _now(session)
            session.execute(delete(LinkRow).where(LinkRow.expires <= now))
            of_it = select(func.count()).where(LinkRow.submission_id == submission)
            if (session.scalar(of_it) or 0) >= _MOST:
                raise TooManyError(f"this study has {_MOST} links: revoke one of them first")
            digest = _digest(token)
            row = LinkRow(
                id=digest[:_PREFIX],
                submission_id=submission,
                digest=digest,
                expires=now + days * DAY,
                created=datetime.fromtimestamp(now, UTC),
            )
            session.add(row)
            return _link(row, user)

        return self._database.run(work), token

    def of(self, user: int, submission: str) -> list[Link]:
        """Return the links to a submission of a user's that open it, the first first."""

        def work(session: Session) -> list[Link]:
            rows = session.scalars(
                _live(session)
                .where(SubmissionRow.user_id == user, SubmissionRow.id == submission)
                .order_by(LinkRow.created, LinkRow.id)
            )
            return [_link(row, user) for row in rows]

        return self._database.run(work)

    def revoke(self, user: int, submission: str, link: str) -> bool:
        """Let a link to a submission of a user's open it no more; whether there was one."""

        def work(session: Session) -> bool:
            row = session.scalar(
                _live(session).where(
                    LinkRow.id == link,
                    SubmissionRow.user_id == user,
                    SubmissionRow.id == submission,
                )
            )
            if row is not None:
                session.delete(row)
                announce(session, LOOK)
            return row is not None

        return self._database.run(work)

    def opened(self, token: str) -> Link | None:
        """Return the link that a token opens; None if there is none, or no longer."""
        digest = _digest(token)

        def work(session: Session) -> Link | None:
            row = session.execute(
                _live(session)
                .where(LinkRow.id == digest[:_PREFIX])
                .add_columns(SubmissionRow.user_id)
            ).first()
            if row is None or not secrets.compare_digest(row[0].digest, digest):
                return None
            return _link(row[0], row[1])

        return self._database.run(work)


def _live(session: Session) -> Select[LinkRow]:
    is_live = LinkRow.expires > clock(session)
    return select(LinkRow).join(SubmissionRow).where(is_live)


def _link(row: LinkRow, user: int) -> Link:
    return Link(
        id=row.id,
        submission=row.submission_id,
        user=user,
        expires=datetime.fromtimestamp(row.expires, UTC),
        created=in_utc(row.created),
    )


def _now(session: Session) -> float:
    return float(session.scalar(select(clock(session))) or 0.0)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
