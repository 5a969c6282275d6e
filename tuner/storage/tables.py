"""The tables of the study store. Their names carry a prefix: Optuna's are in the same database."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from tuner.models.outcome import TrainingOutcome
from tuner.study.result import ENDED
from tuner.study.trial import FinishedTrial, KeptWeights, TrialRequest

SKETCH = "sketch"  # among a study's options


class Base(DeclarativeBase):
    """What `tuner/migrations` has to build: a test compares the two."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True)}


def _now() -> datetime:
    return datetime.now(UTC)


def in_utc(moment: datetime) -> datetime:
    """Give a moment its time zone, which SQLite drops."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class StudyRow(Base):
    """One study.

    Attributes:
        id: See `StudySpec.study_id`.
        search_closed: No further search trial is to start.
        wall_seconds: Spent on it so far.
        training_seconds: Of that in trainings, those of all workers together.
        run_id: Of MLflow.
        source: Path or URI of its data, where a service runs it.
        options: What a service runs it with that does not identify it: workers, budgets. Of a
            study that no service runs: its budget, and `data`, the path or URI of its data. Of
            either, `sketch`, which `run_options` leaves out.
        attempts: How often a driver was started.
        starting_until: Seconds since 1970 until which a runner may be starting a driver.
        cancel_requested: Its driver is to stop.
        started: When its work began first; None if that was before this was noted.
        ended: When it ended; None if it has not, or that was before this was noted.
    """

    __tablename__ = "tuner_studies"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    error: Mapped[str | None] = mapped_column(default=None)
    search_closed: Mapped[bool] = mapped_column(default=False)
    wall_seconds: Mapped[float] = mapped_column(default=0.0)
    training_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    run_id: Mapped[str | None] = mapped_column(String(64), default=None)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    source: Mapped[str | None] = mapped_column(default=None)
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    starting_until: Mapped[float] = mapped_column(default=0.0, server_default="0")
    cancel_requested: Mapped[bool] = mapped_column(
        default=False, server_default=false(), index=True
    )
    created: Mapped[datetime] = mapped_column(default=_now)
    updated: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)
    started: Mapped[datetime | None] = mapped_column(default=None)
    ended: Mapped[datetime | None] = mapped_column(default=None)

    @property
    def sketch(self) -> dict[str, Any] | None:
        """Of the rows of its data, by modality: see `tuner.prediction.sketch`; None if not kept."""
        return (self.options or {}).get(SKETCH)

    @property
    def run_options(self) -> dict[str, Any]:
        """The options that people are shown."""
        return {name: value for name, value in (self.options or {}).items() if name != SKETCH}

    @validates("status")
    def _note_time(self, _: str, status: str) -> str:
        if status == "running" and self.started is None:
            self.started = _now()
        if status not in ENDED:
            self.ended = None
        elif status != self.status or self.ended is None:
            self.ended = _now()
        return status


class TrialRow(Base):
    """One finished trial of a study.

    Attributes:
        outcome: See `TrainingOutcome.to_bytes`; version 0.1.0 kept the weights in it.
        weights: See `KeptWeights`.
    """

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
    weights: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
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
            outcome=None if self.outcome is None else TrainingOutcome.from_bytes(self.outcome),
            reason=self.reason,
            weights=None if self.weights is None else KeptWeights(**self.weights),
        )


class WeightsRow(Base):
    """That a study has weights of a digest, or is about to write them.

    It outlives its study until the file is removed.

    Attributes:
        digest: See `tuner.models.weights`.
    """

    __tablename__ = "tuner_weights"

    study_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class LeaseRow(Base):
    """Who works on a study, and until when if nothing more is heard of it.

    Attributes:
        study_id: The study; it need not be written down yet.
        owner: Host, process and a random part: see `tuner.storage.leases`.
        expires: Seconds since 1970 by the clock of the database.
    """

    __tablename__ = "tuner_leases"

    study_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    expires: Mapped[float]


class HandoutRow(Base):
    """A training of a study that others train, from when it is wanted on.

    Attributes:
        seed: The one that it is of.
        lease: What it was handed out under last; None if it never was.
        worker: To whom, by the name that they gave.
        expires: Seconds since 1970 by the clock of the database, after which others may have it.
    """

    __tablename__ = "tuner_handouts"
    __table_args__ = (UniqueConstraint("study_id", "phase", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("tuner_studies.id", ondelete="CASCADE"))
    phase: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    strength: Mapped[float]
    seed: Mapped[int] = mapped_column(BigInteger)
    lease: Mapped[str | None] = mapped_column(String(32), unique=True, default=None)
    worker: Mapped[str | None] = mapped_column(String(255), default=None)
    expires: Mapped[float] = mapped_column(default=0.0, server_default="0")

    def request(self) -> TrialRequest:
        """Return what is to be trained."""
        return TrialRequest(
            phase=self.phase,  # type: ignore[arg-type]  # only `offer` writes it
            number=self.number,
            strength=self.strength,
            seeds=(self.seed,),
        )


class EventRow(Base):
    """Something that happened to a study, for whoever watches it."""

    __tablename__ = "tuner_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(
        ForeignKey("tuner_studies.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(default=_now)


class UserRow(Base):
    """Someone who submits studies.

    Attributes:
        webhook_secret: What the webhooks of this user are signed with, as version 0.1.0 kept it.
        sealed_secret: The same, so that only a service can read it: see `tuner.storage.secret`.
    """

    __tablename__ = "tuner_users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    webhook_secret: Mapped[str | None] = mapped_column(String(64), default=None)
    sealed_secret: Mapped[str | None] = mapped_column(String(255), default=None)
    created: Mapped[datetime] = mapped_column(default=_now)


class KeyRow(Base):
    """An API key, of which only a digest is kept.

    Attributes:
        id: The key's first letters, by which it is found and revoked.
        digest: SHA-256 of the whole key: 256 random bits need no slow hash.
        scopes: What it may do: `read`, `write`.
    """

    __tablename__ = "tuner_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("tuner_users.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    revoked: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=_now)


class SessionRow(Base):
    """A browser that has logged in with a key, whose rights it has until it logs out.

    Attributes:
        digest: SHA-256 of the session's token: 256 random bits need no slow hash.
        key_id: The key; once that is revoked, the session is over.
        expires: Seconds since 1970 by the clock of the database.
    """

    __tablename__ = "tuner_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("tuner_keys.id", ondelete="CASCADE"), index=True)
    expires: Mapped[float]


class SubmissionRow(Base):
    """A user's request for a study; equal questions of many users are one study.

    Attributes:
        number: Order of arrival.
        id: What the user knows it by.
        idempotency_key: Of the request, unique for a user.
        options: What its user wants it run with: workers, budgets; that of its study, which others
            may have asked for before, if None (written by version 0.1.0).
        request: SHA-256 of the request: the same key with another request is an error.
        answered: Whether the study had an answer already.
        cancelled: Whether the user wants it no more.
        webhook: URL that is told of its end.
        webhook_due: Seconds since 1970 before which it is not told; None if it need not be.
        webhook_attempts: How often that was tried.
        webhook_error: Why it did not arrive, the last time.
        webhook_format: How that is written, `standard` if None.
        email: Address that is told of its end; `email_due` and so on as of the webhook.
        note: What its user wrote beside it.
        tags: Under what its user looks for it.
        archived: Whether its user has put it aside.
        source: What its data were called when they were sent: a file's name, a URI.
    """

    __tablename__ = "tuner_submissions"
    __table_args__ = (UniqueConstraint("user_id", "idempotency_key"),)

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("tuner_users.id", ondelete="CASCADE"), index=True
    )
    study_id: Mapped[str] = mapped_column(
        ForeignKey("tuner_studies.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(255))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    options: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    request: Mapped[str] = mapped_column(String(64))
    answered: Mapped[bool]
    cancelled: Mapped[bool] = mapped_column(default=False)
    webhook: Mapped[str | None] = mapped_column(String(2048), default=None)
    webhook_due: Mapped[float | None] = mapped_column(default=None, index=True)
    webhook_attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    webhook_error: Mapped[str | None] = mapped_column(default=None)
    webhook_format: Mapped[str | None] = mapped_column(String(16), default=None)
    email: Mapped[str | None] = mapped_column(String(254), default=None)
    email_due: Mapped[float | None] = mapped_column(default=None, index=True)
    email_attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    email_error: Mapped[str | None] = mapped_column(default=None)
    note: Mapped[str] = mapped_column(default="", server_default="")
    tags: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    archived: Mapped[bool] = mapped_column(default=False, server_default=false())
    source: Mapped[str | None] = mapped_column(String(255), default=None)
    created: Mapped[datetime] = mapped_column(default=_now)


class LinkRow(Base):
    """A link that shows a submission to whoever has it, of which only a digest is kept.

    Attributes:
        id: The digest's first letters, by which it is found and revoked.
        digest: SHA-256 of the link's token: 256 random bits need no slow hash.
        expires: Seconds since 1970 by the clock of the database.
    """

    __tablename__ = "tuner_links"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    submission_id: Mapped[str] = mapped_column(
        ForeignKey("tuner_submissions.id", ondelete="CASCADE"), index=True
    )
    digest: Mapped[str] = mapped_column(String(64))
    expires: Mapped[float]
    created: Mapped[datetime] = mapped_column(default=_now)


class ShareRow(Base):
    """Another user who may see a submission, but not change it."""

    __tablename__ = "tuner_shares"

    submission_id: Mapped[str] = mapped_column(
        ForeignKey("tuner_submissions.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("tuner_users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
