"""The tables of the study store. Their names carry a prefix: Optuna's are in the same database."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tuner.outcome import FinishedTrial, TrialRequest, unpack


class Base(DeclarativeBase):
    """What `tuner/migrations` has to build: a test compares the two."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True)}


def _now() -> datetime:
    return datetime.now(UTC)


class StudyRow(Base):
    """One study."""

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


class TrialRow(Base):
    """One finished trial of a study."""

    __tablename__ = "tuner_trials"
    __table_args__ = (UniqueConstraint("study_id", "phase", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("tuner_studies.id", ondelete="CASCADE"))
    phase: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    strength: Mapped[float]
    seeds: Mapped[list[int]] = mapped_column(JSON)
    settings: Mapped[list[tuple[str, float]]] = mapped_column(JSON, server_default="[]")
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
                settings=tuple((name, value) for name, value in self.settings),
            ),
            outcome=None if self.outcome is None else unpack(self.outcome),
            reason=self.reason,
        )


class LeaseRow(Base):
    """Who works on a study, and until when if nothing more is heard of it.

    Attributes:
        study_id: The study; it need not be written down yet.
        owner: Host, process and a random part: see `tuner.lease`.
        expires: Seconds since 1970 by the clock of the database.
    """

    __tablename__ = "tuner_leases"

    study_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    expires: Mapped[float]
