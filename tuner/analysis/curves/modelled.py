"""The λ-curve as its model sees it, in the metric's own units: what figures draw."""

from collections.abc import Sequence

import numpy as np

from tuner.analysis.curves.model import CurveModel, Expectation
from tuner.analysis.curves.observations import Observations, observe
from tuner.models.outcome import TrainingOutcome
from tuner.study.result import (
    EarlierSummary,
    ModelledCurve,
    ModelledScore,
    PriorOnTarget,
    PriorSummary,
)
from tuner.study.scoring.targets import Question, Target
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial
from tuner.typing import Floats

_GRID = 49  # λs of a result; the curve is smooth


def modelled(
    observations: Observations,
    study: Question,
    target: Target,
    lambdas: Floats,
    expected: Expectation | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return the posterior mean of the score at λs (m,), and both ends of its 95 % interval.

    Scores are in the metric's own units: of an error, lower is better. Each of shape (m,).

    Args:
        observations: What the search saw.
        study: What was asked.
        target: Of what the scores are.
        lambdas: Shape (m,).
        expected: What past studies lead one to expect; None for what the search says alone.
    """
    model = CurveModel.fit(observations, study.spec.space, expected)
    sign = study.validation.sign(target)
    baseline = float(sign * observations.scores[observations.lambdas == 0].mean())
    mean, *interval = model.mean_and_interval(lambdas)
    ends = np.sort([baseline + sign * end for end in interval], axis=0)
    return baseline + sign * mean, ends[0], ends[1]


def modelled_curve(study: Study, finished: Sequence[FinishedTrial]) -> ModelledCurve:
    """Return what the model makes of the finished trials of the search, for every target."""
    lambdas, scores = modelled_targets(study, finished)
    return ModelledCurve(strengths=lambdas, **scores)


def modelled_targets(
    study: Question, finished: Sequence[FinishedTrial]
) -> tuple[tuple[float, ...], dict[Target, ModelledScore]]:
    """Return λs, and what the model makes of the finished trials of the search at these."""
    outcomes, lambdas = _searched(finished), _grid(study)
    scores: dict[Target, ModelledScore] = {}
    for target in study.validation.targets:
        seen = observe(study.validation, outcomes, target)
        expected = Expectation.of(study.spec.prior, target)
        scores[target] = _score(modelled(seen, study, target, lambdas, expected))
    return tuple(_readable(lambdas)), scores


def prior_summary(study: Question, finished: Sequence[FinishedTrial]) -> PriorSummary | None:
    """Return what past studies had to say, against what the search saw; None without any."""
    prior = study.spec.prior
    if prior is None:
        return None
    outcomes, lambdas = _searched(finished), _grid(study)
    told = {}
    for target in study.validation.targets:
        seen = observe(study.validation, outcomes, target)
        expected = Expectation.of(prior, target)
        model = CurveModel.fit(seen, study.spec.space, expected)
        alone = CurveModel.fit(seen, study.spec.space)
        told[target] = PriorOnTarget(
            believed=model.believed,
            best=_readable(lambdas)[int(model.mean(lambdas).argmax())],
            alone=_readable(lambdas)[int(alone.mean(lambdas).argmax())],
            curve=_score(modelled(seen, study, target, lambdas)),
            earlier=None if prior.earlier is None else _last(model.by_family),
        )
    return PriorSummary(
        source=prior.source,
        corpus=prior.corpus,
        weight=prior.weight,
        targets=told,
        earlier=None if prior.earlier is None else EarlierSummary(**dict(prior.earlier)),
    )


def _last(shares: Sequence[float]) -> float:
    """The weight of the family of an earlier study; 0 if the prior has no weight."""
    return shares[-1] if shares else 0.0


def _searched(finished: Sequence[FinishedTrial]) -> list[TrainingOutcome]:
    return [
        trial.outcome
        for trial in finished
        if trial.request.phase == "search" and trial.outcome is not None
    ]


def _grid(study: Question) -> Floats:
    return study.spec.space.to_lambda(np.linspace(0, 1, _GRID))


def _score(parts: tuple[Floats, Floats, Floats]) -> ModelledScore:
    mean, low, high = (tuple(_readable(part)) for part in parts)
    return ModelledScore(mean=mean, low=low, high=high)


def _readable(values: Floats) -> list[float]:
    """Round to what a picture can show: a result is stored, sent and read by people."""
    return [float(f"{value:.6g}") for value in values]
