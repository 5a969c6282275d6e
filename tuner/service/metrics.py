"""Prometheus metrics of the service."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from sqlalchemy import func, select

from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow, TrialRow

_registry = CollectorRegistry()
_requests = Counter(
    "tuner_requests",
    "Requests by route and status",
    ["method", "route", "status"],
    registry=_registry,
)
_seconds = Histogram("tuner_request_seconds", "Seconds of a request", ["route"], registry=_registry)
_studies = Gauge("tuner_studies", "Studies by status", ["status"], registry=_registry)
_trials = Gauge("tuner_trials", "Finished trials by outcome", ["outcome"], registry=_registry)
_spent = Gauge("tuner_study_seconds", "Wall-clock seconds of all studies", registry=_registry)
_trained = Gauge(
    "tuner_training_seconds", "Seconds that workers trained, of all studies", registry=_registry
)


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request."""
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(route).observe(seconds)


def exposition(store: StudyStore) -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its media type."""
    with store.session() as session:
        by_status = dict(
            session.execute(select(StudyRow.status, func.count()).group_by(StudyRow.status)).all()
        )
        failed = session.scalar(select(func.count()).where(TrialRow.reason.is_not(None))) or 0
        trials = session.scalar(select(func.count()).select_from(TrialRow)) or 0
        sums = select(func.sum(StudyRow.wall_seconds), func.sum(StudyRow.training_seconds))
        spent, trained = session.execute(sums).one()
    for status in ("queued", "running", "done", "failed", "cancelled"):
        _studies.labels(status).set(by_status.get(status, 0))
    _trials.labels("failed").set(failed)
    _trials.labels("trained").set(trials - failed)
    _spent.set(spent or 0.0)
    _trained.set(trained or 0.0)
    return generate_latest(_registry), CONTENT_TYPE_LATEST
