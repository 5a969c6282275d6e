"""The studies that wait to be run, and who may start which."""

from sqlalchemy import CTE, ColumnElement, func, select, update
from sqlalchemy.orm import Session

from tuner.storage.connections import LOOK, announce
from tuner.storage.database import Database
from tuner.storage.handouts import ELSEWHERE
from tuner.storage.leases import clock, held_studies, orphaned_studies
from tuner.storage.tables import LeaseRow, StudyRow, SubmissionRow, TrialRow
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

    def claim(self, count: int, *, max_running: int) -> list[str]:
        """Take the next studies, the first of them first, so that no other runner starts them.

        They are kept for a minute, in which their drivers have to take their leases, or `keep` is
        called.

        Args:
            count: How many, at most.
            max_running: Studies of one user that run at a time.
        """

        def work(session: Session) -> list[str]:
            studies = _next(session, count, max_running)
            failed = _fail_in_vain(session, studies)
            if failed:
                announce(session, LOOK)
            return _taken(session, [study for study in studies if study not in failed])

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
        return self._database.run(lambda session: held_studies(session, studies))

    def unwanted(self, studies: list[str]) -> set[str]:
        """Return those of some studies whose drivers are to stop."""
        cancelled = select(StudyRow.id).where(
            StudyRow.id.in_(studies), StudyRow.cancel_requested.is_(True)
        )
        return self._database.run(lambda session: set(session.scalars(cancelled)))

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


def _next(session: Session, count: int, max_running: int) -> list[str]:
    """Return the studies that may be started, the next first; so many at most.

    A user's turns are counted from how many studies of theirs run already. A study that several
    want has the first of their turns, and runs for whoever wanted it first.
    """
    wanted = _wanted(session)
    firsts = (
        select(func.min(wanted.c.number).label("number"))
        .where(wanted.c.is_busy, ~wanted.c.is_off)
        .group_by(wanted.c.study)
        .subquery()
    )
    running = (
        select(wanted.c.user, func.count().label("count"))
        .join(firsts, firsts.c.number == wanted.c.number)
        .group_by(wanted.c.user)
        .subquery()
    )
    turn = func.row_number().over(partition_by=wanted.c.user, order_by=wanted.c.number)
    turns = (
        select(
            wanted.c.study,
            wanted.c.number,
            (turn + func.coalesce(running.c.count, 0)).label("turn"),
        )
        .join(running, running.c.user == wanted.c.user, isouter=True)
        .where(~wanted.c.is_busy)
        .subquery()
    )
    first_turn = func.min(turns.c.turn)
    query = (
        select(turns.c.study)
        .where(turns.c.turn <= max_running)
        .group_by(turns.c.study)
        .order_by(first_turn, func.min(turns.c.number))
        .limit(count)
    )
    return list(session.scalars(query))


def _wanted(session: Session) -> CTE:
    """Submissions of studies that are not over, and whether somebody works on these."""
    now = clock(session)
    is_leased = LeaseRow.study_id.is_not(None) & StudyRow.id.not_in(orphaned_studies(session))
    return (
        select(
            StudyRow.id.label("study"),
            ((StudyRow.starting_until > now) | is_leased).label("is_busy"),
            _waits_for_others().label("is_off"),
            SubmissionRow.user_id.label("user"),
            SubmissionRow.number.label("number"),
        )
        .join(SubmissionRow, SubmissionRow.study_id == StudyRow.id)
        .outerjoin(LeaseRow, (LeaseRow.study_id == StudyRow.id) & (LeaseRow.expires > now))
        .where(_is_live(), SubmissionRow.cancelled.is_(False))
        .cte("wanted")
    )


def _is_live() -> ColumnElement[bool]:
    return StudyRow.status.in_(("queued", "running")) & StudyRow.cancel_requested.is_(False)


def _fail_in_vain(session: Session, studies: list[str]) -> set[str]:
    """Have those of some studies failed that were started in vain too often; return which."""
    doubtful = select(StudyRow).where(StudyRow.id.in_(studies), StudyRow.attempts >= _PATIENCE)
    failed = set()
    for row in session.scalars(doubtful):
        trials = select(func.count()).select_from(TrialRow).where(TrialRow.study_id == row.id)
        if row.attempts >= _PATIENCE + (session.scalar(trials) or 0):
            row.status = "failed"
            row.error = f"its driver died {row.attempts} times; the log of the service says why"
            failed.add(row.id)
    return failed


def _taken(session: Session, studies: list[str]) -> list[str]:
    """Take studies, but for those that another runner was faster to take."""
    if not studies:
        return []
    now = clock(session)
    taken = session.scalars(
        update(StudyRow)
        .where(StudyRow.id.in_(studies), StudyRow.starting_until <= now)
        .values(starting_until=now + _STARTING, attempts=StudyRow.attempts + 1)
        .returning(StudyRow.id)
        .execution_options(synchronize_session=False)
    )
    return sorted(taken, key=studies.index)


def _cancel(session: Session) -> None:
    """End what nobody wants, and no driver works on."""
    unwanted = select(StudyRow).where(
        StudyRow.cancel_requested.is_(True), StudyRow.status.in_(("queued", "running"))
    )
    rows = list(session.scalars(unwanted))
    held, now = (held_studies(session, [r.id for r in rows]), _now(session)) if rows else (set(), 0)
    for row in rows:
        if row.id not in held and (row.starting_until <= now or row.status == "queued"):
            row.status = "cancelled"
            announce(session, LOOK)


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
