"""Whether encoders are better than a guess that never looks at their inputs."""

from collections.abc import Mapping

import numpy as np

from tuner.analysis.gains.gain import reach
from tuner.data import Split
from tuner.models.evaluation.metrics import Metric
from tuner.study.result import Guess, GuessComparison
from tuner.study.scoring.scores import Scorer
from tuner.study.scoring.targets import Target, mean_score
from tuner.study.study import Study
from tuner.typing import Array

_PERFECT = {"mae": 0.0}  # of all others it is 1


def guess_of(study: Study, predictions: Mapping[Target, dict[str, Array]]) -> Guess | None:
    """Compare encoders with always guessing the commonest class, or the median, of training rows.

    Args:
        study: What was asked.
        predictions: For A and B, what the recommended training predicts for test rows, by
            modality (replicates, rows).

    Returns:
        The guess and the encoders that are not surely better; None if all are: the 95 % interval
        of what they gain on it, over test rows, holds no loss.
    """
    label, constant = _constant(study)
    guess: dict[str, Array] = {"a": constant[None], "b": constant[None]}
    compared = {
        target: _comparison(study.test, study.metric, told, guess, target)
        for target, told in predictions.items()
    }
    if not any(compared.values()):
        return None
    score = float(study.metric.score(study.test.truth, constant))
    return Guess(label=label, score=score, a=compared.get("a"), b=compared.get("b"))


def _constant(study: Study) -> tuple[str | int | float, Array]:
    """What is guessed, as the data set writes it, and as predictions for test rows."""
    dataset, truth = study.dataset, study.test.truth
    known = dataset.y[dataset.indices(Split.TRAIN, labelled_only=True)]
    if dataset.classes is None:
        median = float(np.median(known))
        return median, np.full(len(truth), median)
    code = int(np.bincount(known).argmax())
    return dataset.classes[code], np.full(len(truth), code)


def _comparison(
    test: Scorer,
    metric: Metric,
    predictions: dict[str, Array],
    guess: dict[str, Array],
    target: Target,
) -> GuessComparison | None:
    """How an encoder compares; None if it is surely better, or rows are of one group."""
    told, guessed = (test.resampled(each, target) for each in (predictions, guess))
    if told is None or guessed is None:
        return None
    score, base = (mean_score(test, each, target) for each in (predictions, guess))
    gained, resampled = metric.sign * (score - base), metric.sign * (told - guessed)
    if test.grouping is None:
        low, high = np.nanquantile(resampled, (0.025, 0.975))
    else:  # few groups have no quantiles
        half = reach(resampled, test.grouping.freedom)
        low, high = gained - half, gained + half
    if gained > 0 and low >= 0:
        return None
    distance = _PERFECT.get(metric.name, 1.0) - base
    return GuessComparison(
        score=score,
        skill=(score - base) / distance if distance else 0.0,
        gain_interval=(float(low), float(high)),
    )
