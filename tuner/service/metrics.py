"""Prometheus metrics of the service."""

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from tuner.storage.studies import StudyStore

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


_tasks = Gauge("tuner_task_up", "Whether a task of the service works", ["task"], registry=_registry)
_failures = Counter(
    "tuner_task_failures", "Rounds of a task that failed", ["task"], registry=_registry
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request; a method that is none of HTTP's is `other`, as each label is kept."""
    _requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
    _seconds.labels(route).observe(seconds)


def note_failure(task: str) -> None:
    """Count a round of a task that failed."""
    _failures.labels(task).inc()


def exposition(
    store: StudyStore, tasks: Mapping[str, bool] = MappingProxyType({})
) -> tuple[bytes, str]:
    """Return all metrics in Prometheus' text format, and its media type.

    Args:
        store: The studies.
        tasks: What the service does besides answering, and whether each does its work.
    """
    for task, works in tasks.items():
        _tasks.labels(task).set(works)
    counts = store.counts()
    for status in ("queued", "running", "done", "failed", "cancelled"):
        _studies.labels(status).set(counts.studies.get(status, 0))
    _trials.labels("failed").set(counts.failed)
    _trials.labels("trained").set(counts.trained)
    _spent.set(counts.wall_seconds)
    _trained.set(counts.training_seconds)
    return generate_latest(_registry), CONTENT_TYPE_LATEST
