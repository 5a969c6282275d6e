"""Keeps MLflow up to date with a study without ever holding it up."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from tenacity import Retrying
from tenacity.retry import retry_if_exception
from tenacity.stop import stop_before_delay
from tenacity.wait import wait_exponential

from tuner.storage.studies import StudyStore
from tuner.study.result import MlflowLinks
from tuner.study.study import Study
from tuner.tracking.connection import as_tracking_error, is_trouble, redacted, summary
from tuner.tracking.content.encoders import EncoderContent
from tuner.tracking.content.shown import RunContent
from tuner.tracking.runs import RunMirror

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_LONGEST_WAIT = 60.0  # seconds between two attempts of the background thread
_REST = 4.0  # times as long as it took to write a trial
_MOST_AT_THE_END = 20  # trials of a study that stops: whoever stopped it does not wait for more
_JOIN = 10.0  # seconds that `close` waits for it
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts at the end


class StudyTracker:
    """Mirrors one study in MLflow.

    While training, `start` and `notify` leave the work to a background thread: trouble is logged
    and retried, never raised, and the caller never waits. At the end, `flush` and `finish` write
    what is missing and raise if that cannot be done.

    Args:
        study: The study, or what is shown of one of another kind.
        store: Where its trials are; the study is in it.
        tracking_uri: Database or tracking server of MLflow.
        artifact_location: Where a new experiment keeps files; None leaves it to the server.
        patience: Seconds for which `flush` and `finish` retry.
    """

    def __init__(
        self,
        study: Study | RunContent,
        store: StudyStore,
        *,
        tracking_uri: str,
        artifact_location: str | None = None,
        patience: float = 60.0,
    ) -> None:
        self._store, self._uri, self._patience = store, tracking_uri, patience
        content = EncoderContent(study) if isinstance(study, Study) else study
        self._mirror = RunMirror(content, store, tracking_uri, artifact_location)
        self._lock = threading.Lock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._in_trouble = self._has_begun = False

    def start(self) -> None:
        """Begin to mirror in the background, a study that was interrupted going on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()
            self.notify()

    def notify(self) -> None:
        """Say that the store has something new; returns at once."""
        self._wake.set()

    def sync(self, most: int | None = None) -> MlflowLinks:
        """Write what is missing, now, so many trials at most; what MLflow raises is raised."""
        with self._lock:
            self._has_begun = True
            try:
                run_id = self._mirror.sync(most)
            except Exception:
                self._mirror.forget()  # what was half done is looked up afresh
                raise
            return MlflowLinks(
                tracking_uri=redacted(self._uri),
                experiment_id=self._mirror.experiment_id,
                run_id=run_id,
            )

    def flush(self) -> MlflowLinks:
        """Write what is missing, retrying for a while.

        Raises:
            TrackingError: If MLflow could not be reached in that time.
        """
        return self.retried(self.sync)

    def finish(self, result: BaseModel, artifacts: Path) -> MlflowLinks:
        """Log the answer and end the study's run.

        Args:
            result: The answer.
            artifacts: Folder whose files go with it: the figure and the report.

        Raises:
            TrackingError: If MLflow could not be reached for a while.
        """

        def conclude() -> MlflowLinks:
            links = self.sync()
            self._mirror.finish(result, artifacts)
            return links

        return self.retried(conclude)

    def fail(self, reason: str) -> None:
        """End the study's run as failed; never raises."""
        self._conclude(lambda: self._mirror.fail(reason))

    def interrupt(self) -> None:
        """End the study's run as killed, until it is taken up again; never raises.

        Nothing happens if this process showed nothing of it: to begin, MLflow may take minutes.
        """
        if self._thread is None and not self._has_begun:
            return
        self._conclude(self._mirror.interrupt)

    def close(self) -> None:
        """Stop the background thread, which may be in the middle of a request."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_JOIN)

    def _work(self) -> None:
        """Write one trial after another, and rest: the driver has other things to do."""
        delay = 0.0
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing.is_set():
                return
            started = time.monotonic()
            if self._attempt(self._write_one):
                delay = 0.0
                self._closing.wait(_REST * (time.monotonic() - started))
            else:
                delay = min(_LONGEST_WAIT, max(1.0, 2 * delay))
                self._closing.wait(delay)
                self._wake.set()

    def _write_one(self) -> None:
        self.sync(most=1)
        if self._mirror.is_behind():
            self._wake.set()

    def _conclude(self, end: Callable[[], None]) -> None:
        self.close()
        if self._in_trouble or (self._thread is not None and self._thread.is_alive()):
            return  # the run stays as it is, and is found again when the study goes on

        def conclude() -> None:
            self.sync(_MOST_AT_THE_END)
            end()

        self._attempt(conclude)

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Try, and only log what went wrong: once, not with every attempt."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  # tracking never stops a study
            level = logging.DEBUG if self._in_trouble else logging.WARNING
            _log.log(
                level,
                "MLflow at %s is behind, will retry: %s",
                redacted(self._uri),
                redacted(summary(error)),
                exc_info=_log.isEnabledFor(logging.DEBUG),
            )
            self._in_trouble = True
            return False
        self._in_trouble = False
        return True

    def retried(self, action: Callable[[], _Answer]) -> _Answer:
        """Do something that MLflow is needed for, retrying for a while.

        Raises:
            TrackingError: If MLflow could not be reached in that time.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_trouble),
            stop=stop_before_delay(self._patience),
            wait=wait_exponential(multiplier=_SHORTEST_PAUSE, max=_LONGEST_PAUSE),
            reraise=True,
        )
        with as_tracking_error(self._uri):
            return retrying(action)
