"""Stand-ins for training: outcomes whose true curve is known, at no cost."""

from collections.abc import Callable

import numpy as np

from tuner.models.config import TrainingConfig
from tuner.models.outcome import ACCURACY_CURVES, CURVES, KeptByAccuracy, TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.study.spec import StudySpec
from tuner.study.trial import TrialRequest

Accuracy = Callable[[float], float]

# Enough to be decided, as a rule; searched in one batch.
DECIDED = StudySpec(
    trials=10,
    batch=10,
    replicates=4,
    confirm_replicates=6,
    smallest_gain=0.03,
    training=TrainingConfig(epochs=2),
)


def simulate(
    accuracy: Accuracy,
    skill: Callable[[TrainingConfig, float], float] = lambda *_: 0.0,
    *,
    by_accuracy: Accuracy | None = None,
    losses: Callable[[float, int], np.ndarray] = lambda _, epochs: np.ones(epochs),
) -> Callable[..., TrainingOutcome]:
    """Return a `Train` that is right with probability `accuracy(λ) + skill(training, λ)`.

    With `by_accuracy` the weights of the best validation accuracy are right with that probability;
    `losses` gives the validation loss of every epoch. A replicate's errors are drawn from its seed
    alone, so they are nearly the same at every λ, as those of real replicates are.
    """

    def train(
        request: TrialRequest, data: TrainingData, config: TrainingConfig, test: Rows
    ) -> TrainingOutcome:
        def predict(rows: Rows, stream: int, accuracy: Accuracy = accuracy) -> np.ndarray:
            truth = rows.labelled().target
            luck = np.stack(
                [np.random.default_rng([s, stream]).random(len(truth)) for s in request.seeds]
            )
            better = skill(request.training(config), request.strength)
            right = luck < accuracy(request.strength) + better
            return np.where(right, truth, (truth + 1) % data.outputs).astype(np.int32)

        confirm = request.phase == "confirm"
        replicates = len(request.seeds)
        state = {"head.weight": np.full((1, 2, 2), request.strength, np.float32)}
        curves = {name: np.ones((replicates, config.epochs), np.float32) for name in CURVES}
        for side in "ab":
            curves[f"validation_loss_{side}"][:] = losses(request.strength, config.epochs)
        curves |= dict.fromkeys(ACCURACY_CURVES, curves[CURVES[0]])
        other = None
        if by_accuracy is not None and confirm:
            kept = {m: predict(data.validation, k, by_accuracy) for k, m in enumerate("ab")}
            crossed = {f"loss/{m}": predict(data.validation, k) for k, m in enumerate("ab")}
            other = KeptByAccuracy(
                predictions=kept,
                test_predictions={m: predict(test, 2 + k, by_accuracy) for k, m in enumerate("ab")},
                best_epoch={m: np.ones(replicates, np.int64) for m in "ab"},
                crossed=crossed | {f"accuracy/{m}": codes for m, codes in kept.items()},
            )
        return TrainingOutcome(
            strength=request.strength,
            seeds=np.array(request.seeds, dtype=np.int64),
            predictions={m: predict(data.validation, k) for k, m in enumerate("ab")},
            test_predictions=(
                {m: predict(test, 2 + k) for k, m in enumerate("ab")} if confirm else None
            ),
            best_epoch={m: np.zeros(replicates, np.int64) for m in "ab"},
            curves=curves,
            similarity={},
            steps=replicates,
            seconds=0.01,
            weights=dict.fromkeys("ab", state) if confirm else None,
            by_accuracy=other,
        )

    return train
