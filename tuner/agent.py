"""Trains for a study of a service, on whatever machine this is: asks, trains, tells, until done."""

import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.client import Client
from tuner.errors import ScriptError, ServiceError, SpecError, StudyFailedError
from tuner.execution.workers.scripts import training_folder
from tuner.scripts.script import Script
from tuner.scripts.told import Told
from tuner.scripts.training import run_training
from tuner.study.trial import TrialRequest

_LEASE = 300.0  # seconds for which nothing may be heard of a training
_BEATS = 5  # heartbeats in that time
_DIGEST = 64  # letters of one that `Script` makes; what is shorter is the user's label
_REFUSED = (409, 413, 422)  # the training's fault, or it is another's: the next may do better
_LONGEST = 2000  # characters of a reason

OnTraining = Callable[[dict[str, Any], str], None]


def worker_name() -> str:
    """Return a name that no other worker has."""
    return f"{platform.node()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent:
    """A worker of a study whose code is trained elsewhere.

    Attributes:
        client: Of the service; its patience is how long that may be away.
        study: Id of the study.
        script: The code.
        folder: Where trainings leave their logs and files.
        worker: A name that no other worker has; whoever has it again has its training again.
        timeout: Seconds that a training may take; None for any.
        on_training: Told of each training what was asked, and in words what came of it: first that
            it begins.
        lease: Seconds after which others get a training of which nothing is heard.
    """

    client: Client
    study: str
    script: Script
    folder: Path
    worker: str = field(default_factory=worker_name)
    timeout: float | None = None
    on_training: OnTraining = lambda _asked, _words: None
    lease: float = _LEASE

    def work(self) -> None:
        """Train until the study is done; interrupted, give back what is not finished.

        Raises:
            SpecError: If the study is of other code.
            StudyFailedError: If the study failed or was cancelled.
            ServiceError: If the service refuses, or is away for longer than the client's patience.
        """
        self._check_code()
        while (asked := self.client.ask(self.study, self.worker, self.lease))["state"] != "done":
            if asked["state"] == "wait":
                time.sleep(asked["again_in"])
            else:
                self._train(asked)
        if asked["status"] != "done":
            error = f": {asked['error']}" if asked["error"] else ""
            raise StudyFailedError(f"study {self.study} {_HOW[asked['status']]}{error}")

    def _check_code(self) -> None:
        told = self.client.status(self.study)["spec"].get("script")
        if told is None:
            raise SpecError(f"study {self.study} is of a data set, and trained by the service")
        if len(told["digest"]) == _DIGEST and told["digest"] != self.script.digest:
            raise SpecError(
                f"study {self.study} is of other code than {self.script.name} here: bring the code "
                "and the words of the command to what they were, or submit it as a new study"
            )

    def _train(self, asked: dict[str, Any]) -> None:
        """Train once, and tell."""
        self.on_training(asked, "begins")
        lease = asked["lease"]
        try:
            with self._kept(lease):
                outcome = self._outcome(asked)
            self._tell(asked, outcome)
        except BaseException:
            with suppress(ServiceError), self.client.impatient() as client:
                client.release(self.study, lease)
            raise

    def _outcome(self, asked: dict[str, Any]) -> Told | str:
        """Return what a training reports, or why it failed."""
        request = TrialRequest(
            phase=asked["phase"],
            number=asked["trial"],
            strength=asked["strength"],
            seeds=(asked["seed"],),
        )
        try:
            reported = run_training(
                self.script,
                strength=asked["strength"],
                seed=asked["seed"],
                confirming=asked["confirming"],
                share=asked.get("share", 1.0),  # a service of before has none
                folder=training_folder(self.folder, request),
                timeout=self.timeout,
                resume=True,
            )
        except ScriptError as error:
            return str(error)
        return Told.of(reported)

    def _tell(self, asked: dict[str, Any], outcome: Told | str) -> None:
        words = f"failed: {outcome}" if isinstance(outcome, str) else "done"
        told = outcome[:_LONGEST] if isinstance(outcome, str) else outcome
        try:
            self.client.tell(self.study, asked["lease"], told)
        except ServiceError as error:
            if error.status not in _REFUSED:
                raise
            words = f"refused: {error}"
            if error.status != _REFUSED[0]:
                self.client.tell(self.study, asked["lease"], str(error)[:_LONGEST])
        self.on_training(asked, words)

    @contextmanager
    def _kept(self, lease: str) -> Iterator[None]:
        """Keep a training meanwhile; that others have it by now is heard when it is told."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.lease / _BEATS):
                with suppress(ServiceError), self.client.impatient() as client:
                    client.heartbeat(self.study, lease, self.lease)

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            ended.set()


_HOW = {"failed": "failed", "cancelled": "was cancelled"}
