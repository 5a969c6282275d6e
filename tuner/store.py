"""The study store: the one truth about studies and their finished trials.

What Optuna's storage and MLflow show is copied from here and can be copied again, so a crash
between two writes loses nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Engine,
    ForeignKey,
    LargeBinary,
    String,
    UniqueConstraint,
    create_engine,
    event,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from tuner.outcome import FinishedTrial, TrialRequest, pack, unpack
from tuner.result import Status


class _Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True)}


def _now() -> datetime:
    return datetime.now(UTC)


class StudyRow(_Base):
    """One study. Table names carry a prefix because Optuna's tables share the database."""

    __tablename__ = "tuner_studies"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16), default="queued")
    error: Mapped[str | None] = mapped_column(default=None)
    search_closed: Mapped[bool] = mapped_column(default=False)
    wall_seconds: Mapped[float] = mapped_column(default=0.0)
    run_id: Mapped[str | None] = mapped_column(String(64), default=None)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    created: Mapped[datetime] = mapped_column(default=_now)
    updated: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)


class TrialRow(_Base):
    """One finished trial of a study."""

    __tablename__ = "tuner_trials"
    __table_args__ = (UniqueConstraint("study_id", "phase", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("tuner_studies.id", ondelete="CASCADE"))
    phase: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    strength: Mapped[float]
    seeds: Mapped[list[int]] = mapped_column(JSON)
    reason: Mapped[str | None]
    outcome: Mapped[bytes | None] = mapped_column(LargeBinary)
    run_id: Mapped[str | None] = mapped_column(String(64), default=None)
    finished: Mapped[datetime] = mapped_column(default=_now)

    def restored(self) -> FinishedTrial:
        """Return the trial as it was recorded."""
        return FinishedTrial(
            request=TrialRequest(
                phase=self.phase,  # type: ignore[arg-type]  # only `record` writes it
                number=self.number,
                strength=self.strength,
                seeds=tuple(self.seeds),
            ),
            outcome=None if self.outcome is None else unpack(self.outcome),
            reason=self.reason,
        )


class StudyStore:
    """Studies and finished trials in one database.

    Args:
        url: SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _durable_sqlite)
        _Base.metadata.create_all(self._engine)
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

    def open(self, study: str, *, name: str, fingerprint: str, spec: dict[str, Any]) -> StudyRow:
        """Return the study, written down first if it is new."""
        with self.session() as session:
            row = session.get(StudyRow, study)
            if row is None:
                row = StudyRow(id=study, name=name, fingerprint=fingerprint, spec=spec)
                session.add(row)
                session.flush()
            return row

    def get(self, study: str) -> StudyRow | None:
        """Return a study, or None if there is none of this id."""
        with self.session() as session:
            return session.get(StudyRow, study)

    def update(self, study: str, **values: Any) -> None:
        """Set columns of a study.

        Raises:
            KeyError: If there is no such study.
        """
        with self.session() as session:
            row = session.get(StudyRow, study)
            if row is None:
                raise KeyError(f"there is no study {study}")
            for name, value in values.items():
                setattr(row, name, value)

    def set_status(self, study: str, status: Status, error: str | None = None) -> None:
        """Say how a study stands."""
        self.update(study, status=status, error=error)

    def record(self, study: str, trial: FinishedTrial) -> None:
        """Write down a finished trial, durably."""
        request = trial.request
        with self.session() as session:
            session.add(
                TrialRow(
                    study_id=study,
                    phase=request.phase,
                    number=request.number,
                    strength=request.strength,
                    seeds=list(request.seeds),
                    reason=trial.reason,
                    outcome=None if trial.outcome is None else pack(trial.outcome),
                )
            )

    def trials(self, study: str) -> list[FinishedTrial]:
        """Return the finished trials in the order of their numbers, search before confirm."""
        with self.session() as session:
            rows = session.scalars(
                select(TrialRow)
                .where(TrialRow.study_id == study)
                .order_by(TrialRow.phase.desc(), TrialRow.number)
            )
            return [row.restored() for row in rows]

    def forget(self, study: str) -> None:
        """Delete a study and its trials."""
        with self.session() as session:
            row = session.get(StudyRow, study)
            if row is not None:
                session.query(TrialRow).where(TrialRow.study_id == study).delete()
                session.delete(row)


def _durable_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
