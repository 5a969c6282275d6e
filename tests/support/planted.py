"""Trainings of planted gains, with the noise of seeds and rows that real ones have."""

from collections.abc import Callable

import numpy as np

from tuner.data import PairedDataset, from_arrays
from tuner.models.config import TrainingConfig
from tuner.models.outcome import CURVES, TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.study.space import LambdaSpace
from tuner.study.trial import TrialRequest

Curve = Callable[[float], float]  # true gain in accuracy as a function of u
Train = Callable[[TrialRequest, TrainingData, TrainingConfig, Rows], TrainingOutcome]
SPACE = LambdaSpace()

_BASE = 0.6  # accuracy at λ = 0
SEEDS, ROWS = 0.014, 0.11  # standard deviations of a gain, over seeds and over rows


def bell(peak: float, height: float, width: float = 0.25) -> Curve:
    """From 0 at λ = 0 up to a height at u = peak, and down again."""
    start = np.exp(-((peak / width) ** 2) / 2)
    return lambda u: height * (np.exp(-(((u - peak) / width) ** 2) / 2) - start) / (1 - start)


def rows(labelled: int = 300, seed: int = 0, train: int = 60) -> PairedDataset:
    """So many labelled rows of validation and of test; nothing is to be learned from them."""
    rng = np.random.default_rng(seed)
    split = np.repeat([0, 1, 2], [train, labelled, labelled]).astype(np.int8)
    y = rng.integers(0, 2, split.size)
    a, b = rng.normal(size=(2, split.size, 2)).astype(np.float32)
    return from_arrays({"a": a, "b": b, "y": y, "split": split}, name="planted", seed=seed)


def plant(curves: dict[str, Curve], world: int, *, fold: int = 0) -> Train:
    """Return a `Train` whose encoders are right with probability .6 + curve + seed + row effects.

    Gains vary with the seed by an effect of each λ's own and one that changes slowly with u, and
    with the row likewise; both are drawn anew in every world. Given its probability, a row is right
    by luck that a seed has at every λ. Each fold has validation rows of its own, and the test rows
    of all.
    """

    def train(
        request: TrialRequest, data: TrainingData, config: TrainingConfig, test: Rows
    ) -> TrainingOutcome:
        u = float(SPACE.to_unit(request.strength))

        def predict(side: int, split: int, given: Rows) -> np.ndarray:
            truth = given.labelled().target
            rng = np.random.default_rng([world, side, split])
            near, far = rng.normal(size=(2, truth.size)) * ROWS / np.sqrt(2)
            by_row = near * min(4 * u, 1) + far * np.sqrt(u)
            right = []
            for seed in request.seeds:
                slow = np.random.default_rng([world, side, seed]).normal() * np.sqrt(u)
                luck = np.random.default_rng([world, side, split, seed]).random(truth.size)
                own = np.random.default_rng([world, side, seed, round(1e9 * u)]).normal()
                by_seed = SEEDS * (np.sqrt(0.5) * slow + 0.5 * own)
                chance = _BASE + curves["ab"[side]](u) + by_seed + by_row
                right.append(luck < chance)
            return np.where(right, truth, (truth + 1) % 2).astype(np.int32)

        confirm, replicates = request.phase == "confirm", len(request.seeds)
        told = {m: predict(k, 1 + 10 * fold, data.validation) for k, m in enumerate("ab")}
        tested = {m: predict(k, 2, test) for k, m in enumerate("ab")} if confirm else None
        state = {"head.weight": np.zeros((1, 2, 2), np.float32)}
        return TrainingOutcome(
            strength=request.strength,
            seeds=np.array(request.seeds, dtype=np.int64),
            predictions=told,
            test_predictions=tested,
            best_epoch={m: np.zeros(replicates, np.int64) for m in "ab"},
            curves={name: np.ones((replicates, config.epochs), np.float32) for name in CURVES},
            similarity={},
            steps=replicates,
            seconds=0.01,
            weights=dict.fromkeys("ab", state) if confirm else None,
        )

    return train
