"""The way to MLflow: a client for one server, never a global tracking URI or an active run."""

import logging
import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tuner.errors import TrackingError
from tuner.storage.database import DatabaseError, alone, make_private, sqlite_file

TAG_STUDY = "tuner.study"
TAG_FINGERPRINT = "tuner.fingerprint"

_LONGEST_TAG = 8000
# Read when mlflow is first imported. Its own retries would hold a caller for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # and asking for the run, to say its name
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class Point(NamedTuple):
    """One value of a metric; the time is in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int = 0


def connect(tracking_uri: str) -> Any:
    """Return an `MlflowClient` for a tracking server or database."""
    client = _client()
    with alone(tracking_uri):  # two that build MLflow's tables at a time break each other's
        _build(tracking_uri, client)
        return client(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _client() -> Any:
    """Load MLflow, which takes seconds, and return its client's class."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    if os.environ["MLFLOW_LOGGING_LEVEL"] == "WARNING":  # mlflow may have been imported before
        logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient


def pytorch_flavour() -> Any:
    """Load MLflow's flavour of PyTorch, without Lightning where that is installed: seconds.

    What of MLflow logs trainings of Lightning still loads it when it is used.
    """
    of_lightning = "mlflow.pytorch._lightning_autolog"
    if not {of_lightning, "mlflow.pytorch", "pytorch_lightning"} & sys.modules.keys():
        sys.modules[of_lightning] = None  # type: ignore[assignment]  # as if it were not there
        try:
            return import_module("mlflow.pytorch")
        finally:
            del sys.modules[of_lightning]
    return import_module("mlflow.pytorch")


def _build(tracking_uri: str, client: Any) -> None:
    """Build MLflow's tables in a new SQLite file as a whole: half of them it can never complete."""
    path = sqlite_file(tracking_uri)
    if path is None or (path.exists() and path.stat().st_size):
        return
    tables = Path(__file__).with_name(f"mlflow-{version('mlflow')}.sql")
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        aside = Path(folder, path.name)
        if tables.exists():  # MLflow itself goes through all its versions, for seconds
            with closing(sqlite3.connect(aside)) as database:
                database.executescript(tables.read_text(encoding="utf-8"))
        client(tracking_uri=f"sqlite:///{aside}")
        make_private(aside)
        aside.replace(path)


def log(
    client: Any,
    run_id: str,
    *,
    points: Sequence[Point] = (),
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log to a run in as few requests as MLflow's limits allow, to which its client divides it."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(p.name, p.value, p.time, p.step) for p in points],
        params=[Param(name, str(value)) for name, value in (params or {}).items()],
        tags=[RunTag(name, value[:_LONGEST_TAG]) for name, value in (tags or {}).items()],
    )


def pages(search: Any, **query: Any) -> Iterator[Any]:
    """Yield every result of a paged search."""
    token = None
    while True:
        page = search(**query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def is_trouble(error: BaseException) -> bool:
    """Whether an error is MLflow's, a database's or the network's, not a fault of this program."""
    from mlflow.exceptions import MlflowException

    # What requests raises is an OSError too.
    return isinstance(error, (MlflowException, DatabaseError, OSError, TrackingError))


@contextmanager
def as_tracking_error(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's trouble into an error of ours.

    Raises:
        TrackingError: In place of what MLflow, its database or the network raised.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TrackingError) or not is_trouble(error):
            raise
        raise TrackingError(
            f"could not log to MLflow at {redacted(tracking_uri)} ({redacted(summary(error))})"
        ) from error


# As urllib3 says it, after what was asked and of which pool of connections.
_AWAY = re.compile(
    r"(?s)Max retries exceeded.*?(\[Errno -?\d+\] [\w ]+|timed out|Cannot connect to \w+)"
)


def summary(error: BaseException) -> str:
    """First line of an error's message, after its kind; of a server that is away that it is."""
    if (reason := _AWAY.search(str(error))) is not None:
        return f"no answer: {reason[1]}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def redacted(text: str) -> str:
    """Hide user and password in URIs."""
    return re.sub(r"://[^/\s@]+@", "://***@", text)
