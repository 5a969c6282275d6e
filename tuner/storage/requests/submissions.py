"""What users asked for: submissions, each of a study that others may have asked for, too."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from tuner.errors import ConflictError, TooManyError
from tuner.storage.connections import LOOK, QUEUE, announce
from tuner.storage.database import Database
from tuner.storage.requests.listing import Filter, Order, Position
from tuner.storage.tables import (
    EventRow,
    ShareRow,
    StudyRow,
    SubmissionRow,
    TrialRow,
    UserRow,
    in_utc,
)
from tuner.study.result import ENDED, Status

_ALL, _LATEST_FIRST = Filter(), Order()


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A submission as its user sees it.

    Attributes:
        number: Order of arrival.
        id: What it is known by.
        owner: Name of the user whose it is.
        study: The study that answers it.
        name: Of the study.
        status: How it stands.
        error: Why it failed.
        answered: Whether the study had an answer when it was submitted.
        fingerprint: Of the data.
        spec: What is asked.
        options: How its user wants it run.
        trials: Finished trials.
        result: The answer, if there is one.
        webhook_error: Why its webhook could not be told, the last time.
        email_error: Why its e-mail could not be sent, the last time.
        created: When it was submitted.
        started: When work on the study began.
        ended: When the study ended.
        note: What its user wrote beside it.
        tags: Under what its user looks for it.
        archived: Whether its user has put it aside.
        source: What its data were called when they were sent.
        news: The last event of the study, if it goes on.
    """

    number: int
    id: str
    owner: str
    study: str
    name: str
    status: Status
    error: str | None
    answered: bool
    fingerprint: str
    spec: dict[str, Any]
    options: dict[str, Any]
    trials: int
    result: dict[str, Any] | None
    webhook_error: str | None
    email_error: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    note: str
    tags: tuple[str, ...]
    archived: bool
    source: str | None
    news: "News | None"


@dataclass(frozen=True, kw_only=True)
class News:
    """The last that happened to a study: an event's kind and content, and when that was."""

    kind: str
    content: dict[str, Any] = field(default_factory=dict)
    created: datetime


@dataclass(frozen=True, kw_only=True)
class CheckedSubmission:
    """A checked request for a study."""

    user: int
    study: str
    name: str
    fingerprint: str
    spec: dict[str, Any]
    source: str
    options: dict[str, Any]
    request: str
    idempotency_key: str | None
    webhook: str | None = None
    webhook_format: str | None = None
    email: str | None = None
    data_name: str | None = None
    most: int | None = None  # unfinished studies of this source that the user may have


class Submissions:
    """What users asked for.

    What is promised: equal questions of many users are one study, and a request that is sent twice
    with one idempotency key is one submission. A user sees what is theirs or was shown to them, and
    changes only what is theirs. A study goes on while somebody waits for it, and no longer.

    Args:
        database: Where they are.
        max_queued: Unfinished submissions that one user may have.
    """

    def __init__(self, database: Database, *, max_queued: int) -> None:
        self._database, self._max_queued = database, max_queued

    def submit(self, submission: CheckedSubmission) -> Submission:
        """Write a submission down, once for an idempotency key.

        A study that failed or was cancelled is queued again and goes on from its trials.

        Raises:
            ConflictError: If the idempotency key was used for another request.
            TooManyError: If the user has too many unfinished submissions.
        """
        existing = self.existing(submission.user, submission.idempotency_key, submission.request)
        if existing is not None:
            return existing
        try:
            return self._database.run(lambda session: self._submit(session, submission))
        except IntegrityError:  # the same request at the same time, or the same question
            existing = self.existing(
                submission.user, submission.idempotency_key, submission.request
            )
            return existing or self._database.run(lambda session: self._submit(session, submission))

    def existing(self, user: int, idempotency_key: str | None, request: str) -> Submission | None:
        """Return what an idempotency key was used for.

        Raises:
            ConflictError: If that was another request.
        """
        if idempotency_key is None:
            return None
        mine = (SubmissionRow.user_id == user, SubmissionRow.idempotency_key == idempotency_key)
        row = self._database.run(lambda session: session.scalar(select(SubmissionRow).where(*mine)))
        if row is None:
            return None
        if row.request != request:
            raise ConflictError("this Idempotency-Key was used for another request: take a new one")
        return self.get(user, row.id)

    def get(self, user: int, submission: str) -> Submission | None:
        """Return a submission that a user may see, or None if there is none of this id.

        The id of its study will do, too: the user's own comes first then, and the latest.
        """
        page = self._select(_visible_to(user), SubmissionRow.id == submission, limit=1)
        if page:
            return page[0]
        own = SubmissionRow.user_id == user
        for mine in (own, _visible_to(user)):
            page = self._select(mine, SubmissionRow.study_id == submission, limit=1)
            if page:
                return page[0]
        return None

    def page(
        self,
        user: int,
        *,
        limit: int,
        only: Filter = _ALL,
        order: Order = _LATEST_FIRST,
        after: Position | None = None,
    ) -> list[Submission]:
        """Return what a user submitted or was shown.

        Args:
            user: Whose.
            limit: At most so many.
            only: Only such.
            order: How they are sorted.
            after: Only such as come after this.
        """
        conditions = [_visible_to(user), *only.conditions()]
        if after is not None:
            conditions.append(order.after(after))
        return self._select(*conditions, limit=limit, order=order)

    def tags(self, user: int) -> list[str]:
        """Return the tags that a user gave, in order."""
        mine = select(SubmissionRow.tags).where(SubmissionRow.user_id == user)
        rows = self._database.run(lambda session: list(session.scalars(mine)))
        return sorted({tag for tags in rows for tag in tags})

    def edit(self, user: int, submission: str, **values: Any) -> Submission | None:
        """Set `name`, `note`, `tags` or `archived` of a submission that is the user's own."""

        def work(session: Session) -> None:
            row = _own(session, user, submission)
            for name, value in values.items() if row is not None else ():
                setattr(row, name, value)

        self._database.run(work)
        return self.get(user, submission)

    def cancel(self, user: int, submission: str) -> Submission | None:
        """Cancel a submission; its study ends unless somebody else waits for it."""

        def work(session: Session) -> None:
            row = _own(session, user, submission)
            study = None if row is None else session.get(StudyRow, row.study_id)
            if row is None or study is None or study.status in ENDED:
                return
            row.cancelled = True
            session.flush()
            if not _is_wanted(session, study.id):
                study.cancel_requested = True
            announce(session, QUEUE, LOOK)

        self._database.run(work)
        return self.get(user, submission)

    def delete(self, user: int, submission: str) -> bool:
        """Delete a submission, and its study unless somebody else asked for it, too.

        Returns:
            Whether there was one. A study that is running is cancelled, and deleted by its runner.
        """

        def work(session: Session) -> bool:
            row = _own(session, user, submission)
            if row is None:
                return False
            study_id = row.study_id
            session.delete(row)
            session.flush()
            others = session.scalar(select(exists().where(SubmissionRow.study_id == study_id)))
            study = session.get(StudyRow, study_id)
            if study is not None and not others:
                if study.status in ENDED or study.status == "queued":
                    session.execute(delete(StudyRow).where(StudyRow.id == study_id))
                else:
                    study.cancel_requested = True
            elif study is not None and not _is_wanted(session, study_id):
                study.cancel_requested = study.status not in ENDED
            announce(session, QUEUE, LOOK)
            return True

        return self._database.run(work)

    def share(self, user: int, submission: str, other: str) -> bool:
        """Let another user see a submission, too; whether there is such a user.

        Nothing happens unless the submission is the user's own.
        """

        def work(session: Session) -> bool:
            shown_to = session.scalar(select(UserRow.id).where(UserRow.name == other))
            if shown_to is None:
                return False
            share = session.get(ShareRow, (submission, shown_to))
            own = _own(session, user, submission)
            if share is None and own is not None and shown_to != user:
                session.add(ShareRow(submission_id=submission, user_id=shown_to))
            return True

        try:
            return self._database.run(work)
        except IntegrityError:  # at the same time by another request
            return True

    def unshare(self, user: int, submission: str, other: str) -> None:
        """Show a submission to another user no more."""

        def work(session: Session) -> None:
            if _own(session, user, submission) is not None:
                them = select(UserRow.id).where(UserRow.name == other).scalar_subquery()
                session.execute(
                    delete(ShareRow).where(
                        ShareRow.submission_id == submission, ShareRow.user_id == them
                    )
                )
                announce(session, LOOK)

        self._database.run(work)

    def shared_with(self, submission: str) -> list[str]:
        """Return the names of those who were shown a submission, in order."""
        names = (
            select(UserRow.name)
            .join(ShareRow)
            .where(ShareRow.submission_id == submission)
            .order_by(UserRow.name)
        )
        return self._database.run(lambda session: list(session.scalars(names)))

    def news(self, after: int) -> dict[str, int]:
        """Return the latest event of every study that has one after this; of none if after 0.

        What happened before anybody looked is no news.
        """
        latest = func.max(EventRow.id)
        query = select(EventRow.study_id, latest).group_by(EventRow.study_id)
        query = query.where(EventRow.id > after)
        if after == 0:
            query = query.where(EventRow.id == select(latest).scalar_subquery())
        return self._database.run(lambda session: dict(session.execute(query).tuples().all()))

    def events(self, study: str, *, after: int, limit: int = 500) -> list[EventRow]:
        """Return what happened to a study after an event."""
        query = (
            select(EventRow)
            .where(EventRow.study_id == study, EventRow.id > after)
            .order_by(EventRow.id)
            .limit(limit)
        )
        return self._database.run(lambda session: list(session.scalars(query)))

    def _check_room(self, session: Session, submission: CheckedSubmission) -> None:
        """Do nothing if a user may submit one more."""
        waiting = (
            select(func.count())
            .select_from(SubmissionRow)
            .join(StudyRow)
            .where(
                SubmissionRow.user_id == submission.user,
                SubmissionRow.cancelled.is_(False),
                StudyRow.status.in_(("queued", "running")),
            )
        )
        others = (StudyRow.source == submission.source, StudyRow.id != submission.study)
        for of, most in (((), self._max_queued), (others, submission.most)):
            if most is not None and (session.scalar(waiting.where(*of)) or 0) >= most:
                code = " of this code" if of else ""
                raise TooManyError(
                    f"you have {most} unfinished {'study' if most == 1 else 'studies'}{code}: wait "
                    "for one, or cancel it"
                )

    def _submit(self, session: Session, submission: CheckedSubmission) -> Submission:
        self._check_room(session, submission)
        study = session.get(StudyRow, submission.study)
        is_new = study is None or study.source is None
        if study is None:
            study = StudyRow(
                id=submission.study,
                name=submission.name,
                fingerprint=submission.fingerprint,
                spec=submission.spec,
            )
            session.add(study)
            session.flush()
        is_unanswered = study.status == "done" and study.result is None
        if is_unanswered or study.status in ("failed", "cancelled") or study.cancel_requested:
            study.status, study.error, study.cancel_requested = "queued", None, False
            is_new = True
        if is_new:  # else it is somebody's who waits for it: what they asked stays as it is
            study.source, study.options, study.attempts = submission.source, submission.options, 0
        session.flush()
        row = SubmissionRow(
            id=secrets.token_hex(8),
            user_id=submission.user,
            study_id=study.id,
            name=submission.name,
            idempotency_key=submission.idempotency_key,
            options=submission.options,
            request=submission.request,
            answered=study.status == "done",
            webhook=submission.webhook,
            webhook_due=None if submission.webhook is None else 0.0,
            webhook_format=submission.webhook_format,
            email=submission.email,
            email_due=None if submission.email is None else 0.0,
            source=submission.data_name,
        )
        session.add(row)
        session.flush()
        announce(session, QUEUE)
        owner = session.get_one(UserRow, submission.user).name
        return _submission(row, study, owner, trials=0, event=None)

    def _select(
        self, *conditions: ColumnElement[bool], limit: int, order: Order = _LATEST_FIRST
    ) -> list[Submission]:
        trials = (
            select(func.count())
            .select_from(TrialRow)
            .where(TrialRow.study_id == StudyRow.id)
            .scalar_subquery()
        )
        last = (
            select(func.max(EventRow.id))
            .where(EventRow.study_id == StudyRow.id, StudyRow.status.not_in(ENDED))
            .correlate(StudyRow)
            .scalar_subquery()
        )
        page = (  # by number first: results are large, and most are on other pages
            select(SubmissionRow.number)
            .join(StudyRow, StudyRow.id == SubmissionRow.study_id)
            .where(*conditions)
            .order_by(*order.sorting())
            .limit(limit)
        )
        query = (
            select(SubmissionRow, StudyRow, UserRow.name, trials, EventRow)
            .join(StudyRow, StudyRow.id == SubmissionRow.study_id)
            .join(UserRow, UserRow.id == SubmissionRow.user_id)
            .outerjoin(EventRow, EventRow.id == last)
            .where(SubmissionRow.number.in_(page))
            .order_by(*order.sorting())
            .options(defer(StudyRow.source))
        )
        return self._database.run(
            lambda session: [_submission(*row) for row in session.execute(query)]
        )


def _visible_to(user: int) -> ColumnElement[bool]:
    shown = select(ShareRow.submission_id).where(ShareRow.user_id == user)
    return or_(SubmissionRow.user_id == user, SubmissionRow.id.in_(shown))


def _own(session: Session, user: int, submission: str) -> SubmissionRow | None:
    mine = (SubmissionRow.user_id == user, SubmissionRow.id == submission)
    return session.scalar(select(SubmissionRow).where(*mine))


def _is_wanted(session: Session, study: str) -> bool:
    live = exists().where(SubmissionRow.study_id == study, SubmissionRow.cancelled.is_(False))
    return bool(session.scalar(select(live)))


def _submission(
    row: SubmissionRow, study: StudyRow, owner: str, trials: int, event: EventRow | None
) -> Submission:
    status: Status = "cancelled" if row.cancelled else study.status  # type: ignore[assignment]
    ended = (study.ended or study.updated) if study.status in ENDED else None
    return Submission(
        number=row.number,
        id=row.id,
        owner=owner,
        study=study.id,
        name=row.name,
        status=status,
        error=study.error,
        answered=row.answered,
        fingerprint=study.fingerprint,
        spec=study.spec,
        options=study.run_options if row.options is None else row.options,
        trials=trials,
        result=study.result if status == "done" else None,
        webhook_error=row.webhook_error,
        email_error=row.email_error,
        created=in_utc(row.created),
        started=None if study.started is None else in_utc(study.started),
        ended=None if ended is None else in_utc(ended),
        note=row.note,
        tags=tuple(row.tags),
        archived=row.archived,
        source=row.source,
        news=None if event is None else _news(event),
    )


def _news(event: EventRow) -> News:
    return News(kind=event.kind, content=event.content, created=in_utc(event.created))
