"""Metrics of an encoder's own predictions, and their spread under resampling of rows.

Scores come from scikit-learn. Resampling needs hundreds of them for every prediction, so the same
formulas stand here once more for many row weightings at a time, checked against scikit-learn's
`sample_weight` in the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tuner.models.typing import Array, Doubles

Resampler = Callable[[Array, Array, Doubles], Doubles]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score of predictions against labels.

    Attributes:
        name: As users write it.
        task: The task it belongs to.
        direction: `maximize` if a higher score is better.
    """

    name: str
    task: Literal["classification", "regression"]
    direction: Literal["maximize", "minimize"]

    @property
    def sign(self) -> int:
        """Factor that turns a score into a utility, where higher is better."""
        return 1 if self.direction == "maximize" else -1

    def score(self, truth: Array, prediction: Array) -> float:
        """Score predictions (rows,) against labels (rows,)."""
        # The defaults are means; scikit-learn takes a second to load.
        if self.name == "accuracy":
            return float(np.mean(truth == prediction))
        if self.name == MEAN.name:
            return float(np.mean(prediction, dtype=np.float64))
        if self.name == "mae":
            return float(np.mean(np.abs(truth - prediction)))
        from sklearn import metrics

        scorers: dict[str, Callable[[Array, Array], Any]] = {
            "balanced_accuracy": metrics.balanced_accuracy_score,
            "macro_f1": lambda y, p: metrics.f1_score(y, p, average="macro"),
            "r2": metrics.r2_score,
        }
        return float(scorers[self.name](truth, prediction))

    def mean_scores(self, truth: Array, predictions: Array, weights: Doubles) -> Doubles:
        """Mean score over replicates under each row weighting.

        Args:
            truth: Labels, (rows,).
            predictions: (replicates, rows).
            weights: (weightings, rows), for example how often a bootstrap drew each row.

        Returns:
            (weightings,) the mean over replicates of the weighted score; NaN for R² where no two
            labels that count differ.
        """
        return _RESAMPLERS[self.name](truth, predictions, weights)


# Of what is a score of each row already: there is no label to compare it with.
MEAN = Metric(name="mean", task="classification", direction="maximize")

METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", task="classification", direction="maximize"),
        Metric(name="balanced_accuracy", task="classification", direction="maximize"),
        Metric(name="macro_f1", task="classification", direction="maximize"),
        Metric(name="mae", task="regression", direction="minimize"),
        Metric(name="r2", task="regression", direction="maximize"),
    )
}
DEFAULT_METRIC = {"classification": "accuracy", "regression": "mae"}


def _accuracy(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    correct = (predictions == truth).mean(0)
    total: Doubles = weights @ correct / weights.sum(1)
    return total


def _mean(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    del truth
    total: Doubles = weights @ predictions.mean(0, dtype=np.float64) / weights.sum(1)
    return total


def _balanced_accuracy(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    member = _one_hot(truth, np.unique(truth))
    support = weights @ member
    hits = weights @ (member * (predictions == truth).mean(0)[:, None])
    present = support > 0
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=present)
    mean: Doubles = recall.sum(1) / present.sum(1)
    return mean


def _macro_f1(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    classes = np.union1d(truth, predictions)
    member = _one_hot(truth, classes)
    support = weights @ member
    means = []
    for prediction in predictions:
        guess = _one_hot(prediction, classes)
        guessed = weights @ guess
        hits = weights @ (member * guess)
        total = support + guessed
        f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
        means.append(f1.sum(1) / (total > 0).sum(1))
    average: Doubles = np.mean(means, axis=0)
    return average


def _mae(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    errors = np.abs(predictions.astype(np.float64) - truth).mean(0)
    mean: Doubles = weights @ errors / weights.sum(1)
    return mean


def _r2(truth: Array, predictions: Array, weights: Doubles) -> Doubles:
    y = truth.astype(np.float64) - truth.mean(dtype=np.float64)
    total = weights.sum(1)
    squares = weights @ y**2
    spread = squares - (weights @ y) ** 2 / total
    spread[spread <= 1e-12 * squares] = np.nan  # the label is constant
    residual = weights @ ((predictions.astype(np.float64) - truth) ** 2).mean(0)
    score: Doubles = 1 - residual / spread
    return score


def _one_hot(codes: Array, classes: Array) -> Doubles:
    member: Doubles = (codes[:, None] == classes).astype(np.float64)
    return member


_RESAMPLERS: dict[str, Resampler] = {
    "accuracy": _accuracy,
    MEAN.name: _mean,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "mae": _mae,
    "r2": _r2,
}
