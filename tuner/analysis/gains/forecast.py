"""What a study would be able to show, from a few of its trainings: before it is paid for."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tuner.analysis.gains.gain import CrossedVariance, measured_gain
from tuner.analysis.gains.needs import POWER, enough
from tuner.models.outcome import TrainingOutcome
from tuner.study.scoring.scores import TARGETS
from tuner.study.scoring.targets import Target
from tuner.study.study import Study


class TargetForecast(BaseModel):
    """What the confirmation of one target would show, with 80 % power.

    Attributes:
        smallest_gain: The smallest gain worth having, in units of the metric.
        detectable: The least gain that would be confirmed with the seeds and test rows there are;
            None if rows are of too few groups to tell.
        seeds: Confirming seeds that would confirm the smallest one worth having; None if no number
            suffices with these test rows.
        rows: Labelled test rows that would, with the seeds asked for; None if no number suffices.
        both: Seeds and test rows in the proportion that they are asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smallest_gain: float
    detectable: float | None
    seeds: int | None
    rows: int | None
    both: tuple[int, int] | None


class Forecast(BaseModel):
    """What a study would take and be able to show.

    Attributes:
        study: Its id.
        name: Its name.
        metric: What is measured.
        seeds: Confirming seeds that it is asked for.
        rows: Labelled test rows, of so many groups if `groups` is given.
        groups: Of these rows; None where rows are independent.
        folds: Of how many folds these rows are; 1 where they are the test rows of the split.
        trained: Trainings of the pilot, which are part of the study.
        trainings: Of the whole study; one λ more may have to be confirmed.
        training_seconds: Of one training, on average.
        targets: By target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    name: str
    metric: str
    seeds: int
    rows: int
    groups: int | None
    folds: Annotated[int, Field(exclude_if=lambda folds: folds == 1)] = 1
    trained: int
    trainings: int
    training_seconds: float
    targets: dict[Target, TargetForecast]


def forecast(study: Study, searched: Sequence[TrainingOutcome]) -> Forecast:
    """Forecast what a study would show, from the first λs of its search.

    The variance of a gain over seeds and rows is the mean of theirs on validation rows; test rows
    stay unseen.

    Args:
        study: The study.
        searched: What its search trained so far, λ = 0 and at least one other among them.
    """
    spec = study.spec
    seeds, rows = len(spec.seeds("confirm")), len(study.test.truth)
    seconds = sum(outcome.seconds for outcome in searched)
    trained = sum(len(outcome.seeds) for outcome in searched)
    grouping = study.test.grouping
    return Forecast(
        study=study.id,
        name=study.name,
        metric=study.metric.name,
        seeds=seeds,
        rows=rows,
        groups=None if grouping is None else grouping.count,
        folds=spec.fold_count,
        trained=trained,
        trainings=spec.trials * spec.replicates + 2 * seeds,
        training_seconds=seconds / trained,
        targets={target: _of_target(study, searched, target) for target in TARGETS},
    )


def _of_target(study: Study, searched: Sequence[TrainingOutcome], target: Target) -> TargetForecast:
    validation, spec = study.validation, study.spec
    seeds, rows = len(spec.seeds("confirm")), len(study.test.truth)
    (baseline,) = (o for o in searched if o.strength == 0)
    smallest = study.smallest_gain(float(validation.scores(baseline.predictions, target).mean()))
    gains = [
        measured_gain(validation, o.predictions, baseline.predictions, target)
        for o in searched
        if o.strength > 0
    ]
    seen = [gain.variance for gain in gains if gain.interval and gain.variance is not None]
    if not seen:
        nothing = dict.fromkeys(("detectable", "seeds", "rows", "both"))
        return TargetForecast(smallest_gain=smallest, **nothing)
    names = [f.name for f in fields(CrossedVariance) if f.name != "folds"]
    mean: Any = {name: float(np.mean([getattr(v, name) for v in seen])) for name in names}
    planned = CrossedVariance(**mean, folds=seen[0].folds).scaled(
        seeds=seeds / spec.replicates, rows=rows / len(validation.truth)
    )
    planned = planned.in_folds(spec.fold_count)
    by_seeds, by_rows, both = enough(planned, smallest, seeds=seeds, rows=rows)
    return TargetForecast(
        smallest_gain=smallest,
        detectable=planned.half_width + POWER * float(np.sqrt(planned.total)),
        seeds=by_seeds,
        rows=by_rows,
        both=both,
    )
