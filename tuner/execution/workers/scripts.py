"""Trainings of a user's own code on Ray Tune workers: one λ and one seed each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuner.models.outcome import TrainingOutcome
from tuner.scripts.script import Script
from tuner.scripts.training import run_training
from tuner.study.scripts.trials import outcome_of
from tuner.study.spec import MOST_SEEDS
from tuner.study.trial import TrialRequest


@dataclass(frozen=True, kw_only=True)
class RunScript:
    """Runs the code in a process of its own, as a worker's `Job`.

    Attributes:
        script: The code.
        folder: Of the study: every training has a folder in it, with its log.
        timeout: Seconds that a training may take; None for any.
    """

    script: Script
    folder: str
    timeout: float | None = None

    def parts(self, request: TrialRequest) -> Sequence[TrialRequest]:
        """Return the request: it is of one seed."""
        return (request,)

    def begin(self) -> Callable[[TrialRequest], TrainingOutcome]:
        """Return what trains."""
        return self._train

    def end(self) -> None:
        """Nothing is left."""

    def _train(self, request: TrialRequest) -> TrainingOutcome:
        run = partial(run_training, self.script, timeout=self.timeout, resume=True)
        (seed,) = request.seeds
        reported = run(
            strength=request.strength,
            seed=seed,
            confirming=request.phase == "confirm",
            folder=training_folder(Path(self.folder), request),
        )
        return outcome_of(reported, request)


def training_folder(folder: Path, request: TrialRequest) -> Path:
    """Where a training of a study leaves its log and files."""
    number = request.number // MOST_SEEDS
    return folder / (
        f"{request.phase}-{number:02d}-strength-{request.strength:.4g}-seed-{request.seeds[0]}"
    )
