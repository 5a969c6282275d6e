"""The studies that wait to be run, and who may start which."""

from collections import Counter, defaultdict

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from tuner.storage.database import Database
from tuner.storage.handouts import ELSEWHERE
from tuner.storage.leases import clock, held_studies
from tuner.storage.tables import StudyRow, SubmissionRow, TrialRow
from tuner.study.result import ENDED

_STARTING = 60.0  # seconds that a driver has to take its study's lease
_KEPT = 10.0  # seconds that a study is kept for a driver that runs
_PUT_OFF = 60.0  # seconds after which a study that could not begin is tried again
_PATIENCE = 5  # starts without a single finished trial more


class StudyQueue:
    """The studies that users wait for.

    What is promised: of any number of runners, one starts a study. Which is next is fair between
    users: whoever has the fewest running goes first, and of these whoever has waited longest. What
    somebody works on is left alone; what nobody works on any more is next again, unless starting
    it has been in vain too often: then it has failed.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, max_running: int) -> str | None:
        """Take the next study, so that no other runner starts it; None if there is none.

        It is kept for a minute, in which its driver has to take its lease, or `keep` is called.

        Args:
            max_running: Studies of one user that run at a time.
        """

        def work(session: Session) -> str | None:
            now = _now(session)
            for study in _waiting(session, now, max_running):
                if _take(session, study, now):
                    return study
            return None

        return self._database.run(work)

    def keep(self, studies: list[str]) -> None:
        """Keep other runners from studies whose drivers are there, but have not begun yet."""

        def work(session: Session) -> None:
            until = clock(session) + _KEPT
            session.execute(
                update(StudyRow)
                .where(StudyRow.id.in_(studies), StudyRow.starting_until < until)
                .values(starting_until=until)
            )

        self._database.run(work)

    def release(self, study: str, *, was_started: bool = True, is_put_off: bool = False) -> None:
        """Let a study be claimed, should it have to be: no driver is starting any more.

        At once, unless it was put off: then a minute later. That is so, too, where its driver has
        said what it waits for.

        Args:
            study: The study.
            was_started: Whether a driver was: an attempt that was none does not count.
            is_put_off: Whether it gives way to others.
        """

        def work(session: Session) -> None:
            row = session.get(StudyRow, study)
            if row is None:
                return
            waits = is_put_off or (row.status == "queued" and row.error is not None)
            row.starting_until = _now(session) + _PUT_OFF if waits else 0.0
            row.attempts -= 0 if was_started and not waits else 1

        self._database.run(work)

    def waiting_for_others(self, studies: list[str]) -> set[str]:
        """Return those whose drivers wait for room on a cluster, or for trainings elsewhere."""
        waiting = select(StudyRow.id).where(StudyRow.id.in_(studies), _waits_for_others())
        return self._database.run(lambda session: set(session.scalars(waiting)))

    def held(self, studies: list[str]) -> set[str]:
        """Return those of some studies that a driver works on."""
        return self._database.run(held_studies) & set(studies)

    def end_unwanted(self) -> list[str]:
        """End what was cancelled while no driver was there to hear of it, and delete what ended.

        Returns:
            Fingerprints of the data of studies that are gone, because nobody has a submission left.
        """

        def work(session: Session) -> list[str]:
            _cancel(session)
            return _delete(session)

        return self._database.run(work)


def _waits_for_others() -> ColumnElement[bool]:
    waits_for_room = (StudyRow.status == "queued") & StudyRow.error.is_not(None)
    return waits_for_room | (func.coalesce(StudyRow.source, "") == ELSEWHERE)


def _now(session: Session) -> float:
    return float(session.scalar(select(clock(session))) or 0.0)


def _waiting(session: Session, now: float, max_running: int) -> list[str]:
    """Studies that may be started, the next first."""
    busy, off = held_studies(session), set()
    submissions = defaultdict(list)  # (user, number) of each study's
    for study, starting_until, is_off, user, number in session.execute(
        select(
            StudyRow.id,
            StudyRow.starting_until,
            _waits_for_others(),
            SubmissionRow.user_id,
            SubmissionRow.number,
        )
        .join(SubmissionRow, SubmissionRow.study_id == StudyRow.id)
        .where(_is_live(), SubmissionRow.cancelled.is_(False))
    ):
        submissions[study].append((user, number))
        busy |= {study} if starting_until > now else set()
        off |= {study} if is_off else set()
    begun = (busy & submissions.keys()) - off
    running = Counter(user for study in begun for user, _ in submissions[study][:1])
    waiting = sorted(
        (running[user], number, study)
        for study, users in submissions.items()
        if study not in busy
        for user, number in users
    )
    return [study for already, _, study in waiting if already < max_running]


def _is_live() -> ColumnElement[bool]:
    return StudyRow.status.in_(("queued", "running")) & StudyRow.cancel_requested.is_(False)


def _take(session: Session, study: str, now: float) -> bool:
    """Take a study, unless another runner was faster; whether it is ours."""
    row = session.get(StudyRow, study)
    trials = session.scalar(
        select(func.count()).select_from(TrialRow).where(TrialRow.study_id == study)
    )
    if row is not None and row.attempts >= _PATIENCE + (trials or 0):
        row.status = "failed"
        row.error = f"its driver died {row.attempts} times; the log of the service says why"
        return False
    taken = session.execute(
        update(StudyRow)
        .where(StudyRow.id == study, StudyRow.starting_until <= now)
        .values(starting_until=now + _STARTING, attempts=StudyRow.attempts + 1)
    )
    return bool(taken.rowcount)  # type: ignore[attr-defined]  # a CursorResult


def _cancel(session: Session) -> None:
    """End what nobody wants, and no driver works on."""
    unwanted = select(StudyRow).where(
        StudyRow.cancel_requested.is_(True), StudyRow.status.in_(("queued", "running"))
    )
    rows = list(session.scalars(unwanted))
    held, now = (held_studies(session), _now(session)) if rows else (set(), 0.0)
    for row in rows:
        if row.id not in held and (row.starting_until <= now or row.status == "queued"):
            row.status = "cancelled"


def _delete(session: Session) -> list[str]:
    """Delete submitted studies that ended without a submission left; their data's fingerprints."""
    forgotten = select(StudyRow).where(
        StudyRow.cancel_requested.is_(True),  # else it was deleted with its last submission
        StudyRow.status.in_(ENDED),
        StudyRow.source.is_not(None),
        ~select(SubmissionRow.id).where(SubmissionRow.study_id == StudyRow.id).exists(),
    )
    gone = list(session.scalars(forgotten))
    for row in gone:
        session.delete(row)
    return [row.fingerprint for row in gone]
