"""The λ-curve as its model sees it, in the metric's own units: what figures draw."""

from collections.abc import Sequence

import numpy as np

from tuner.analysis.curves.model import CurveModel
from tuner.analysis.curves.observations import Observations, observe
from tuner.study.result import ModelledCurve, ModelledScore
from tuner.study.scoring.targets import Question, Target
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial
from tuner.typing import Floats

_GRID = 49  # λs of a result; the curve is smooth


def modelled(
    observations: Observations, study: Question, target: Target, lambdas: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the posterior mean of the score at λs (m,), and both ends of its 95 % interval.

    Scores are in the metric's own units: of an error, lower is better. Each of shape (m,).
    """
    model = CurveModel.fit(observations, study.spec.space)
    sign = study.validation.sign(target)
    baseline = float(sign * observations.scores[observations.lambdas == 0].mean())
    ends = np.sort([baseline + sign * end for end in model.interval(lambdas)], axis=0)
    return baseline + sign * model.mean(lambdas), ends[0], ends[1]


def modelled_curve(study: Study, finished: Sequence[FinishedTrial]) -> ModelledCurve:
    """Return what the model makes of the finished trials of the search, for every target."""
    lambdas, scores = modelled_targets(study, finished)
    return ModelledCurve(strengths=lambdas, **scores)


def modelled_targets(
    study: Question, finished: Sequence[FinishedTrial]
) -> tuple[tuple[float, ...], dict[Target, ModelledScore]]:
    """Return λs, and what the model makes of the finished trials of the search at these."""
    outcomes = [
        trial.outcome
        for trial in finished
        if trial.request.phase == "search" and trial.outcome is not None
    ]
    lambdas = study.spec.space.to_lambda(np.linspace(0, 1, _GRID))
    scores: dict[Target, ModelledScore] = {}
    for target in study.validation.targets:
        seen = observe(study.validation, outcomes, target)
        parts = modelled(seen, study, target, lambdas)
        mean, low, high = (tuple(_readable(part)) for part in parts)
        scores[target] = ModelledScore(mean=mean, low=low, high=high)
    return tuple(_readable(lambdas)), scores


def _readable(values: Floats) -> list[float]:
    """Round to what a picture can show: a result is stored, sent and read by people."""
    return [float(f"{value:.6g}") for value in values]
