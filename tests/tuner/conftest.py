"""Small real studies: a dozen trainings of a second in all, shared by the tests of a session."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tuner.data import from_arrays
from tuner.execution import interrupts
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import train
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.answer import (
    Answer,
    Modalities,
    ModalityAnswer,
    TestScores,
    ValidationScores,
    Verdict,
)
from tuner.study.result import (
    Cost,
    CurvePoint,
    DatasetSummary,
    FailedTrial,
    InformationSummary,
    MetricSummary,
    PointScore,
    StudyResult,
)
from tuner.study.scoring.targets import Target
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Overrides, TrialRequest, confirmations

CANDIDATE = 0.4
SEARCHED = (0.0, 0.05, 0.4, 4.0)
LABELS = ("grüne Tomate", "rote", "<gelbe>")


@dataclass(frozen=True, kw_only=True, eq=False)
class SmallStudy:
    """A study, its finished trials (one search trial failed), and its answer."""

    study: Study
    finished: list[FinishedTrial]
    result: StudyResult

    def store(self, url: str) -> StudyStore:
        """Write the study into a new store."""
        store = StudyStore(Database(url))
        study = self.study
        store.open(
            study.id,
            name=study.name,
            fingerprint=study.dataset.fingerprint,
            spec=study.spec.model_dump(mode="json"),
        )
        for trial in self.finished:
            store.record(study.id, trial)
        return store


@pytest.fixture
def database(database_url) -> Iterator[Database]:
    """A database with our tables, of each kind in turn."""
    with Database(database_url) as database:
        yield database


@pytest.fixture
def store(database) -> StudyStore:
    """A study store, on each kind of database in turn."""
    return StudyStore(database)


@pytest.fixture(scope="session")
def classification() -> SmallStudy:
    """Three classes with strings as labels; aligned for A, not for B."""
    return make_study("classification")


@pytest.fixture(scope="session")
def regression() -> SmallStudy:
    """Values far from zero, scored by their mean absolute error."""
    return make_study("regression")


def make_study(
    task: str,
    *,
    name: str | None = None,
    seed: int = 0,
    settings: Overrides = (),
    folds: int = 1,
    validation_folds: int = 1,
) -> SmallStudy:
    """Train a small study of 120 pairs, confirmed with training settings of its own."""
    rng = np.random.default_rng(7)
    latent = rng.normal(size=(120, 3)).astype(np.float32)
    a = (20 + 5 * latent @ rng.normal(size=(3, 5))).astype(np.float32)
    b = (latent @ rng.normal(size=(3, 4)) - 3).astype(np.float32)
    codes = latent.argmax(1)
    y = np.array(LABELS)[codes] if task == "classification" else 300 + 40 * latent[:, 0]
    dataset = from_arrays({"a": a, "b": b, "y": y}, name=f"small-{task}")
    spec = StudySpec(
        name=name,
        trials=5,
        replicates=2,
        confirm_replicates=3 if folds == 1 else 2 * folds,
        folds=folds,
        validation_folds=validation_folds,
        seed=seed,
        training=TrainingConfig(epochs=4, batch_size=32, hidden=8, embedding=6),
    )
    study = Study.of(spec, dataset)
    is_plain = folds == validation_folds == 1
    seeds = (1, 2) if is_plain else spec.seeds("search")
    finished = [_trial(study, "search", n, s, seeds) for n, s in enumerate(SEARCHED)]
    failed = TrialRequest(phase="search", number=len(SEARCHED), strength=3.0, seeds=seeds)
    reason = "TrainingDivergedError: a loss became inf & <b>worse</b>"
    finished.append(FinishedTrial(request=failed, outcome=None, reason=reason))
    dealt = [(11, 12, 13)] if is_plain else spec.dealt(spec.seeds("confirm"))
    confirmed = enumerate((s, seeds) for s in (0.0, CANDIDATE) for seeds in dealt)
    finished += [_trial(study, "confirm", n, s, seeds, settings) for n, (s, seeds) in confirmed]
    return SmallStudy(study=study, finished=finished, result=_result(study, finished))


def _trial(study, phase, number, strength, seeds, settings=()) -> FinishedTrial:
    request = TrialRequest(
        phase=phase, number=number, strength=strength, seeds=seeds, settings=settings
    )

    def on(request, data, config, test):
        return train(
            data,
            request.training(config),
            strength=request.strength,
            seeds=request.seeds,
            test=test if phase == "confirm" else None,
        )

    return FinishedTrial(request=request, outcome=study.trained(request, on))


def _result(study: Study, finished: Sequence[FinishedTrial]) -> StudyResult:
    """An answer by hand: its scores are measured, its verdicts are made up."""
    return StudyResult(
        study=study.id,
        name=study.name,
        status="done",
        dataset=DatasetSummary.of(study.dataset),
        metric=MetricSummary(name=study.metric.name, direction=study.metric.direction),
        information=InformationSummary.of(study.profile),
        joint=Answer(
            strength=0.0,
            interval=(0.0, 4.0),
            verdict="undecided",
            candidate=CANDIDATE,
            gain=0.001,
            gain_interval=(-0.02, 0.022),
            evidence="the interval of the gain holds 0",
        ),
        modalities=Modalities(
            a=_modality(study, finished, "a", "align"),
            b=_modality(study, finished, "b", "do not align"),
        ),
        curve=tuple(_points(study, finished)),
        failures=tuple(
            FailedTrial(strength=t.request.strength, phase="search", reason=t.reason)
            for t in finished
            if t.reason is not None
        ),
        cost=Cost(
            trials=7, trainings=14, gradient_steps=100, training_seconds=1.5, wall_seconds=75.0
        ),
        mlflow=None,
    )


def _modality(
    study: Study, finished: Sequence[FinishedTrial], target: Target, verdict: Verdict
) -> ModalityAnswer:
    trials = confirmations(finished, study.folds)
    confirmed = {strength: trial.outcome for strength, trial in trials.items()}
    baseline, best = (
        {
            "validation": study.validation.scores(outcome.predictions, target).mean(),
            "test": study.test.scores(outcome.test_predictions, target).mean(),
        }
        for outcome in (confirmed[0.0], confirmed[CANDIDATE])
    )
    gain = study.metric.sign * (best["test"] - baseline["test"])
    return ModalityAnswer(
        strength=CANDIDATE if verdict == "align" else 0.0,
        interval=(0.05, 1.5),
        verdict=verdict,
        candidate=CANDIDATE,
        evidence="the interval of the gain lies on one side of 0",
        validation=ValidationScores(baseline=baseline["validation"], best=best["validation"]),
        test=TestScores(
            baseline=baseline["test"],
            best=best["test"],
            gain=gain,
            gain_interval=(gain - 0.03, gain + 0.03),
        ),
        model=None,
    )


def _points(study, finished):
    for trial in finished:
        if trial.request.phase == "search" and trial.outcome is not None:
            scores = {
                target: study.validation.scores(trial.outcome.predictions, target)
                for target in ("a", "b", "joint")
            }
            yield CurvePoint(
                strength=trial.request.strength,
                replicates=len(trial.request.seeds),
                **{
                    target: PointScore(
                        mean=values.mean(), sem=values.std(ddof=1) / np.sqrt(len(values))
                    )
                    for target, values in scores.items()
                },
            )


class _Interrupted:
    """What is raised while it is destroyed never gets out."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def unheard_interrupt() -> Iterator[Callable[[], None]]:
    """Interrupts this process as the command would be, at a moment when Python drops it."""

    def interrupt() -> None:
        told = _Interrupted()
        del told

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    interrupts.raise_on_interrupt()
    yield interrupt
    interrupts._unheard.clear()
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def store_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def tracking_uri(tmp_path, mlflow_template) -> str:
    """An MLflow database of the test's own: a copy, because making one takes seconds."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(mlflow_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    from tuner.tracking.connection import connect

    path = tmp_path_factory.mktemp("mlflow") / "template.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def new_home(mlflow_template) -> Callable[[Path], Path]:
    """Makes a home whose MLflow database is there already: see `tracking_uri`."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(mlflow_template, folder / "mlflow.db")
        return folder

    return make


MakeStudy = Callable[..., SmallStudy]
