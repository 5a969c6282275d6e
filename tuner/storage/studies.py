"""The study store: the one truth about studies and their finished trials.

What Optuna's storage and MLflow show is copied from here and can be copied again, so a crash
between two writes loses nothing.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, delete, event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from tuner.storage.schema import migrate
from tuner.storage.tables import EventRow, StudyRow, TrialRow
from tuner.study.result import Status
from tuner.study.trial import FinishedTrial

_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")

_PATIENCE = 300.0  # seconds that a database server may be away in the middle of a study
_PAUSE = 1.0


class StudyStore:
    """Studies and finished trials in one database.

    Args:
        url: SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.
        patience: Seconds to wait for a database server that goes away, before giving up.
    """

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self.url, self._patience = url, patience
        self._engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _durable_sqlite)
        migrate(self._engine)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    @property
    def engine(self) -> Engine:
        """The database."""
        return self._engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction that commits at the end, or rolls back on an error."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def open(self, study: str, *, name: str, fingerprint: str, spec: dict[str, Any]) -> StudyRow:
        """Return the study, written down first if it is new."""

        def work(session: Session) -> StudyRow:
            row = session.get(StudyRow, study)
            if row is None:
                row = StudyRow(id=study, name=name, fingerprint=fingerprint, spec=spec)
                session.add(row)
                session.flush()
            return row

        return self.run(work)

    def get(self, study: str) -> StudyRow | None:
        """Return a study, or None if there is none of this id."""
        return self.run(lambda session: session.get(StudyRow, study))

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
                told = {"status": row.status, "error": row.error}
                session.add(EventRow(study_id=study, kind="status", content=told))

        self.run(work)

    def set_status(self, study: str, status: Status, error: str | None = None) -> None:
        """Say how a study stands."""
        self.update(study, status=status, error=error)

    def record(
        self, study: str, trial: FinishedTrial, *, wall_seconds: float | None = None
    ) -> None:
        """Write down a finished trial, durably; once, however often it is called.

        Args:
            study: The study.
            trial: The trial.
            wall_seconds: How long the study has taken so far.
        """
        request = trial.request
        outcome = None if trial.outcome is None else trial.outcome.to_bytes()

        def work(session: Session) -> None:
            known = select(TrialRow.id).where(
                TrialRow.study_id == study,
                TrialRow.phase == request.phase,
                TrialRow.number == request.number,
            )
            if session.scalar(known) is not None:
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
                )
            )

        self.run(work)

    def tell(self, study: str, kind: str, content: dict[str, Any]) -> None:
        """Add an event for whoever watches."""
        row = {"study_id": study, "kind": kind, "content": content}
        self.run(lambda session: session.add(EventRow(**row)))

    def trials(self, study: str) -> list[FinishedTrial]:
        """Return the finished trials in the order of their numbers, search before confirm."""
        ordered = (
            select(TrialRow)
            .where(TrialRow.study_id == study)
            .order_by(TrialRow.phase.desc(), TrialRow.number)
        )
        return self.run(lambda session: [row.restored() for row in session.scalars(ordered)])

    def forget(self, study: str) -> None:
        """Delete a study and its trials."""
        self.run(lambda session: session.execute(delete(StudyRow).where(StudyRow.id == study)))

    def run(self, work: Callable[[Session], _Given]) -> _Given:
        """Do work in a transaction; again if the database server went away in the middle."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self.session() as session:
                    return work(session)
            except OperationalError as fault:
                if self._engine.dialect.name == "sqlite" or time.monotonic() > deadline:
                    raise
                _log.warning("the database is away, trying again: %s", fault.orig)
                time.sleep(_PAUSE)


def _durable_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
