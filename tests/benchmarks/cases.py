"""The data sets that the search is measured on, and their dense grids: the truth, at a price."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from tests.support import worlds
from tuner.analysis.curve import CurveModel
from tuner.analysis.observations import observe
from tuner.data import PairedDataset, from_arrays, read
from tuner.data.synthetic import WorldConfig, make_world
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.training.loop import train
from tuner.study.scores import TARGETS
from tuner.study.spec import StudySpec
from tuner.study.study import Study

UNITS = np.linspace(0, 1, 25)
REPLICATES = 10
SMALL = TrainingConfig(hidden=64, embedding=32, epochs=40, patience=8)
NARROW = SMALL.model_copy(update={"embedding": 4, "projection": "none"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One data set, and how its encoders are trained."""

    name: str
    dataset: PairedDataset
    training: TrainingConfig

    def study(self, **spec) -> Study:
        return Study.of(StudySpec(training=self.training, **spec), self.dataset)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """Gains over λ = 0 (higher is better) on a dense grid, per target.

    The highest of 25 noisy means is too high by more than a standard error wherever the top is
    flat, so the truth is the model of the curve, given all trainings.

    Attributes:
        raw: Per target, mean gain at each of UNITS.
        smooth: Per target, the model's gain at each λ.
        error: Per target, standard error of the mean of ten scores at the best λ.
        steps: Gradient steps of the whole grid.
    """

    raw: dict[str, np.ndarray]
    smooth: dict[str, np.ndarray]
    error: dict[str, float]
    steps: int

    @classmethod
    def of(cls, case: Case, outcomes: Sequence[TrainingOutcome]) -> Self:
        """Score what `grid` trained."""
        study, raw, smooth, error = case.study(), {}, {}, {}
        for target in TARGETS:
            seen = observe(study.validation, outcomes, target)
            curve = CurveModel.fit(replace(seen, resampled=None), study.spec.space)
            raw[target] = (seen.scores - seen.scores[0]).mean(1)
            smooth[target] = curve.mean(seen.lambdas)
            best = int(smooth[target].argmax())
            error[target] = seen.scores[best].std(ddof=1) / np.sqrt(REPLICATES)
        steps = sum(outcome.steps for outcome in outcomes)
        return cls(raw=raw, smooth=smooth, error=error, steps=steps)

    def at(self, target: str, unit: float) -> float:
        """The gain at a point between those of the grid."""
        return float(np.interp(unit, UNITS, self.smooth[target]))

    def regret(self, target: str, unit: float) -> float:
        """What a λ lacks of the best gain, in standard errors."""
        return (self.smooth[target].max() - self.at(target, unit)) / self.error[target]

    def raw_regret(self, target: str, unit: float) -> float:
        """The same against the raw means, whose best is a fluke in part."""
        lacks = self.raw[target].max() - np.interp(unit, UNITS, self.raw[target])
        return float(lacks) / self.error[target]


def cases() -> list[Case]:
    few = {"rows": 2000, "labelled": 150, "temperature": 0.3}
    made = {
        f"R = {r}, 150 labels": (make_world(WorldConfig(redundant=r, **few), seed=r).dataset, SMALL)
        for r in (0, 4, 8)
    }
    full = WorldConfig(redundant=4, rows=2000, temperature=0.3)
    return [
        Case(name=name, dataset=dataset, training=training)
        for name, (dataset, training) in {
            "mfeat fou, kar": (read("mfeat"), SMALL),
            "mfeat fac, mor": (read("mfeat", a="fac", b="mor"), SMALL),
            "mfeat zer, kar, 100 labels": (
                _few_labels(read("mfeat", a="zer", b="kar"), 100),
                SMALL,
            ),
            **made,
            "R = 4, all labels": (make_world(full, seed=3).dataset, SMALL),
            "all shared, 120 labels": (worlds.helps(), SMALL),
            "own information, narrow": (worlds.hurts(), NARROW),
            "regression": (worlds.regression(0, rows=1000), SMALL),
        }.items()
    ]


def grid(case: Case, group: int = 0) -> list[TrainingOutcome]:
    """Train every λ of the grid with ten seeds, each group with others, or read the last time's."""
    first = 1000 + group * REPLICATES  # no search ever draws these
    study, seeds = case.study(), range(first, first + REPLICATES)
    strengths = [float(study.spec.space.to_lambda(unit)) for unit in UNITS]
    return [_kept(study, case, strength, seeds) for strength in strengths]


def merged(outcomes: Sequence[TrainingOutcome]) -> TrainingOutcome:
    """Put the predictions of several trainings at one λ into one outcome."""
    first, *_ = outcomes
    return replace(
        first,
        seeds=np.concatenate([outcome.seeds for outcome in outcomes]),
        predictions={
            side: np.concatenate([outcome.predictions[side] for outcome in outcomes])
            for side in first.predictions
        },
        steps=sum(outcome.steps for outcome in outcomes),
    )


def _kept(study: Study, case: Case, strength: float, seeds: Sequence[int]) -> TrainingOutcome:
    folder = Path(tempfile.gettempdir()) / "tuner-dense-grids"
    folder.mkdir(exist_ok=True)
    changed = case.training.model_dump_json(exclude_defaults=True)
    asked = f"{case.dataset.fingerprint} {changed} {strength!r} {list(seeds)}"
    path = folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.npz"
    if not path.exists():
        outcome = train(study.data, study.training, strength=strength, seeds=seeds)
        path.write_bytes(outcome.to_bytes())
    return TrainingOutcome.from_bytes(path.read_bytes())


def _few_labels(dataset: PairedDataset, count: int) -> PairedDataset:
    y = dataset.y.copy()
    seen = np.random.default_rng(0).permutation(np.flatnonzero(dataset.split == 0))
    y[seen[count:]] = -1
    arrays = {"a": dataset.a.values, "b": dataset.b.values, "y": y, "split": dataset.split}
    return from_arrays(arrays, name=dataset.name)
