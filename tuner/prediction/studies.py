"""A finished study of a user's as a record of the corpus."""

from collections.abc import Sequence

from tuner.analysis.curves.observations import observe
from tuner.errors import SpecError
from tuner.prediction.features import features_of
from tuner.prediction.record import Curve, Record, settings_of
from tuner.prediction.sketch import sketch
from tuner.study.scoring.scores import TARGETS
from tuner.study.space import LambdaSpace
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial


def record_of(study: Study, finished: Sequence[FinishedTrial]) -> Record:
    """Keep the curves that the search of a study saw on its validation rows.

    Args:
        study: Of classes, measured by accuracy, on independent rows, with settings as given.
        finished: Its trials.

    Raises:
        SpecError: If no prediction could use it: why.
    """
    reason = _unfit(study)
    if reason is not None:
        raise SpecError(f"study {study.id} ({study.name}) cannot join the corpus: {reason}")
    outcomes = [
        trial.outcome
        for trial in finished
        if trial.request.phase == "search" and trial.outcome is not None
    ]
    strengths = {outcome.strength for outcome in outcomes}
    if 0.0 not in strengths or len(strengths) < 2:
        raise SpecError(
            f"study {study.id} ({study.name}) cannot join the corpus: its search has no training "
            "of λ = 0 and of another λ"
        )
    rows = len(study.validation.truth)
    return Record(
        name=study.name,
        source=f"own {study.dataset.fingerprint[:16]}",
        licence="your own",
        origin="your own",
        study=study.id,
        sketch=sketch(study.dataset),
        training=settings_of(study.training, study.spec.training),
        features=features_of(study.dataset, study.profile, seed=study.spec.seed),
        curves={t: Curve.of(observe(study.validation, outcomes, t), rows) for t in TARGETS},
    )


def _unfit(study: Study) -> str | None:
    """Why its curves are of another kind than any prediction; None if they are not."""
    if study.dataset.task != "classification" or study.metric.name != "accuracy":
        return f"gains of {study.metric.name} are in other units than those of accuracy"
    if study.dataset.group is not None:
        return "its rows come in groups or copies, and those of the corpus are independent"
    if study.spec.max_lambda > LambdaSpace().maximum:
        return f"its λs reach to {study.spec.max_lambda:g}, beyond {LambdaSpace().maximum:g}"
    if study.spec.nuisance != "none" or study.spec.halving > 1:
        return "its λs were not all trained by the settings that it was given"
    if study.spec.validation_folds > 1:
        return "its seeds were validated on rows of their own, and those of the corpus on the same"
    return None
