"""The study store: the one truth about studies and their finished trials.

What Optuna's storage and MLflow show is copied from here and can be copied again, so a crash
between two writes loses nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from tuner.errors import SpecError
from tuner.storage.connections import CHANNEL, hears_words
from tuner.storage.database import Database
from tuner.storage.tables import (
    SKETCH,
    EventRow,
    StudyRow,
    SubmissionRow,
    TrialRow,
    WeightsRow,
    in_utc,
)
from tuner.study.budget import NO_BUDGET, Budget
from tuner.study.result import Status
from tuner.study.spec import WarmStart
from tuner.study.trial import FinishedTrial, TrialRequest

_OF_ONE_STUDY = ("id", "study_id", "run_id")  # columns of a trial that no other study has


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedTrial:
    """A finished trial, and when it was written down."""

    trial: FinishedTrial
    finished: datetime


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much was done, by all studies together.

    Attributes:
        studies: How many there are of each status.
        trained: Finished trials with an outcome.
        failed: Finished trials without.
        wall_seconds: Spent on studies.
        training_seconds: Spent by workers on trainings.
    """

    studies: dict[str, int]
    trained: int
    failed: int
    wall_seconds: float
    training_seconds: float


class StudyStore:
    """Studies and finished trials.

    What is promised: a trial is recorded once, however often it is told; once a method has
    returned, what it wrote is there for every process, and for the next one after a crash.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(
        self,
        study: str,
        *,
        name: str,
        fingerprint: str,
        spec: dict[str, Any],
        data: str | None = None,
        sketch: Mapping[str, Sequence[int]] | None = None,
        shorter: Sequence[str] = (),
        budget: Budget = NO_BUDGET,
    ) -> StudyRow:
        """Return the study, written down first if it is new.

        Args:
            study: Its id.
            name: Its name.
            fingerprint: Of its data.
            spec: What is asked.
            data: Path or URI of its data, for who wants them again; the last one is kept.
            sketch: Of its rows, for studies of others that have some of them; the first is kept.
            shorter: Studies of the same question with fewer seeds: one that has no trial yet
                begins with those of the first of these that there is.
            budget: What its search may cost.
        """

        def work(session: Session) -> StudyRow:
            row = session.get(StudyRow, study)
            if row is None:
                row = StudyRow(id=study, name=name, fingerprint=fingerprint, spec=spec)
                row.options = budget.options
                session.add(row)
                session.flush()
            _begin_with(session, shorter, row)
            if data is not None and row.source is None:
                row.options = {**(row.options or {}), "data": data}
            if sketch is not None and row.sketch is None:
                row.options = {**(row.options or {}), SKETCH: sketch}
            session.flush()
            return row

        return self.database.run(work)

    def get(self, study: str) -> StudyRow | None:
        """Return a study, or None if there is none of this id."""
        return self.database.run(lambda session: session.get(StudyRow, study))

    def is_unwanted(self, study: str) -> bool:
        """Whether whoever works on a study is to stop: it was cancelled, or is gone."""
        query = select(StudyRow.cancel_requested).where(StudyRow.id == study)
        return self.database.run(lambda session: session.scalar(query)) is not False

    def find(self, known_as: str) -> StudyRow | None:
        """Return a study by its id, or by that of one of its submissions."""

        def work(session: Session) -> StudyRow | None:
            row = session.get(StudyRow, known_as)
            if row is not None:
                return row
            of_it = select(StudyRow).join(SubmissionRow).where(SubmissionRow.id == known_as)
            return session.scalar(of_it)

        return self.database.run(work)

    def listed(
        self, *, status: str | None = None, name: str | None = None
    ) -> list[tuple[StudyRow, int]]:
        """Return studies and how many finished trials each has, the latest first.

        Args:
            status: Only such as stand so.
            name: Only such as have this in their name.
        """
        trials = (
            select(func.count())
            .select_from(TrialRow)
            .where(TrialRow.study_id == StudyRow.id)
            .scalar_subquery()
        )
        query = select(StudyRow, trials).order_by(StudyRow.created.desc(), StudyRow.id)
        if status is not None:
            query = query.where(StudyRow.status == status)
        if name is not None:
            query = query.where(StudyRow.name.contains(name, autoescape=True))
        return self.database.run(
            lambda session: [(row, count) for row, count in session.execute(query)]
        )

    def trained(self, study: str) -> int:
        """Return how many finished trials a study has."""
        of_it = select(func.count()).select_from(TrialRow).where(TrialRow.study_id == study)
        return self.database.run(lambda session: session.scalar(of_it) or 0)

    def check_warm_start(self, warm_start: WarmStart | None, fingerprint: str) -> None:
        """Check that a search begins with an answer about the same data, as far as it is known.

        Where other data have their best λ says nothing about these: it is not even a good guess of
        where to look first.

        Raises:
            SpecError: If the earlier study was of data with another fingerprint.
        """
        earlier = None if warm_start is None else self.get(warm_start.study)
        if earlier is not None and earlier.fingerprint != fingerprint:
            raise SpecError(
                f"warm_start {earlier.id}: that was a study of other data ({earlier.name}); what "
                f"goes by its curve is tuner.expecting(study, 'none', settings, warm_start="
                f"'{earlier.id}')"
            )

    def update(self, study: str, **values: Any) -> None:
        """Set columns of a study; a status becomes an event, too.

        Raises:
            KeyError: If there is no such study.
        """

        def work(session: Session) -> None:
            row = session.get(StudyRow, study)
            if row is None:
                raise KeyError(f"there is no study {study}")
            for name, value in values.items():
                setattr(row, name, value)
            if "status" in values:
                session.flush()
                content = {"status": row.status, "error": row.error}
                _add_event(session, study, "status", content)

        self.database.run(work)

    def set_status(self, study: str, status: Status, error: str | None = None) -> None:
        """Say how a study stands."""
        self.update(study, status=status, error=error)

    def tell(self, study: str, kind: str, content: dict[str, Any]) -> None:
        """Add an event for whoever watches."""
        self.database.run(lambda session: _add_event(session, study, kind, content))

    def record(
        self, study: str, trial: FinishedTrial, *, wall_seconds: float | None = None
    ) -> None:
        """Write down a finished trial, durably; once, however often it is called.

        Args:
            study: The study.
            trial: The trial, without weights: `WeightStore.keep` puts them aside.
            wall_seconds: How long the study has taken so far.
        """
        request = trial.request
        outcome = None if trial.outcome is None else trial.outcome.to_bytes()

        def work(session: Session) -> None:
            if session.scalar(select(TrialRow.id).where(*_is(study, request))) is not None:
                return
            trained = 0.0 if trial.outcome is None else trial.outcome.seconds
            values: dict[str, Any] = {"training_seconds": StudyRow.training_seconds + trained}
            if wall_seconds is not None:
                values["wall_seconds"] = wall_seconds
            session.execute(update(StudyRow).where(StudyRow.id == study).values(values))
            session.add(
                TrialRow(
                    study_id=study,
                    phase=request.phase,
                    number=request.number,
                    strength=request.strength,
                    seeds=list(request.seeds),
                    settings=list(request.settings),
                    reason=trial.reason,
                    outcome=outcome,
                    weights=None if trial.weights is None else asdict(trial.weights),
                )
            )

        self.database.run(work)

    def trials(self, study: str) -> list[FinishedTrial]:
        """Return the finished trials in the order of their numbers, search before confirm."""
        ordered = (
            select(TrialRow)
            .where(TrialRow.study_id == study)
            .order_by(TrialRow.phase.desc(), TrialRow.number)
        )
        return self.database.run(
            lambda session: [row.restored() for row in session.scalars(ordered)]
        )

    def forget_failed(self, study: str, reasons: Collection[str]) -> None:
        """Forget the trials that failed for a reason that begins with one of `reasons`."""
        failed = (TrialRow.reason.startswith(reason, autoescape=True) for reason in reasons)
        forgotten = delete(TrialRow).where(TrialRow.study_id == study, or_(*failed))
        self.database.run(lambda session: session.execute(forgotten))

    def last_finished(self, study: str) -> datetime | None:
        """Return when the last trial finished; None if none has."""
        last = select(func.max(TrialRow.finished)).where(TrialRow.study_id == study)
        moment = self.database.run(lambda session: session.scalar(last))
        return None if moment is None else in_utc(moment)

    def track(self, study: str, run_id: str) -> None:
        """Note the run that shows a study, below which no trial has one yet."""

        def work(session: Session) -> None:
            session.execute(update(StudyRow).where(StudyRow.id == study).values(run_id=run_id))
            session.execute(update(TrialRow).where(TrialRow.study_id == study).values(run_id=None))

        self.database.run(work)

    def untracked(self, study: str, limit: int | None = None) -> list[RecordedTrial]:
        """Return trials that no run shows, the first that finished first, so many at most."""
        waiting = select(TrialRow).where(*_waits(study)).order_by(TrialRow.id).limit(limit)
        return self.database.run(
            lambda session: [
                RecordedTrial(trial=row.restored(), finished=in_utc(row.finished))
                for row in session.scalars(waiting)
            ]
        )

    def has_untracked(self, study: str) -> bool:
        """Whether there is a trial that no run shows."""
        waiting = select(exists().where(*_waits(study)))
        return bool(self.database.run(lambda session: session.scalar(waiting)))

    def mark_tracked(self, study: str, request: TrialRequest, run_id: str) -> None:
        """Note the run that shows a trial."""
        marked = update(TrialRow).where(*_is(study, request)).values(run_id=run_id)
        self.database.run(lambda session: session.execute(marked))

    def uses(self, fingerprint: str) -> bool:
        """Whether a study is about the data set of that fingerprint."""
        about = select(exists().where(StudyRow.fingerprint == fingerprint))
        return bool(self.database.run(lambda session: session.scalar(about)))

    def counts(self) -> Counts:
        """Return how much was done, by all studies together."""

        def work(session: Session) -> Counts:
            by_status = select(StudyRow.status, func.count()).group_by(StudyRow.status)
            finished = select(func.count(), func.count(TrialRow.reason)).select_from(TrialRow)
            spent = select(func.sum(StudyRow.wall_seconds), func.sum(StudyRow.training_seconds))
            trials, failed = session.execute(finished).one()
            wall_seconds, training_seconds = session.execute(spent).one()
            return Counts(
                studies=dict(session.execute(by_status).all()),
                trained=trials - failed,
                failed=failed,
                wall_seconds=wall_seconds or 0.0,
                training_seconds=training_seconds or 0.0,
            )

        return self.database.run(work)


def _add_event(session: Session, study: str, kind: str, content: dict[str, Any]) -> None:
    """Add an event, and tell whoever listens; both in one statement."""
    event = insert(EventRow).values(study_id=study, kind=kind, content=content)
    if hears_words(session):
        words = func.concat(f"{kind} {study} ", EventRow.id)
        event = event.returning(func.pg_notify(CHANNEL, words))
    session.execute(event)


def _begin_with(session: Session, shorter: Sequence[str], row: StudyRow) -> None:
    """Give a study without trials those of the first of others that there is."""
    earlier = next(filter(None, (session.get(StudyRow, study) for study in shorter)), None)
    begun = exists().where(TrialRow.study_id == row.id)
    if earlier is None or session.scalar(select(begun)):
        return
    for name in ("search_closed", "wall_seconds", "training_seconds"):
        setattr(row, name, getattr(earlier, name))
    for table in (TrialRow, WeightsRow):
        copied = [c.name for c in table.__table__.columns if c.name not in _OF_ONE_STUDY]
        of_it = select(literal(row.id), *(getattr(table, name) for name in copied))
        session.execute(
            insert(table).from_select(
                ["study_id", *copied], of_it.where(table.study_id == earlier.id)
            )
        )


def _is(study: str, request: TrialRequest) -> tuple[ColumnElement[bool], ...]:
    return (
        TrialRow.study_id == study,
        TrialRow.phase == request.phase,
        TrialRow.number == request.number,
    )


def _waits(study: str) -> tuple[ColumnElement[bool], ...]:
    return TrialRow.study_id == study, TrialRow.run_id.is_(None)
