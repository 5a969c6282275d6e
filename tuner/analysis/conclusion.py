"""The answer of a study, from its finished trials."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuner.analysis.confirmed import Confirmed
from tuner.analysis.decision import Choice
from tuner.analysis.guess import guess_of
from tuner.analysis.headline import headline
from tuner.analysis.together import together
from tuner.models.config import TrainingConfig
from tuner.models.evaluation.similarity import calibrations
from tuner.models.outcome import TrainingOutcome
from tuner.study.answer import Modalities
from tuner.study.result import (
    Calibrated,
    CalibratedSimilarity,
    Cost,
    CurvePoint,
    DatasetSummary,
    FailedTrial,
    InformationSummary,
    MetricSummary,
    NuisanceSummary,
    NuisanceTrial,
    PartialTrial,
    PointScore,
    Similarity,
    StudyResult,
)
from tuner.study.scoring.scores import Scorer
from tuner.study.scoring.targets import Target, TargetScorer
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Overrides


def conclude(
    study: Study,
    choices: dict[Target, Choice],
    finished: Sequence[FinishedTrial],
    *,
    settings: Overrides,
    baseline_settings: Overrides,
    wall_seconds: float,
) -> StudyResult:
    """Put the answer together; links to MLflow are added where the study is registered.

    Args:
        study: What was asked.
        choices: What the search chose, per target.
        finished: Every finished trial.
        settings: What differs from the study's training configuration at every λ of the curve.
        baseline_settings: The same for λ = 0 in the confirmation.
        wall_seconds: How long the study took.

    Raises:
        StudyFailedError: If the baseline could not be trained with fresh seeds.
    """
    confirmation = Confirmed.of(study, finished)
    known = {target: confirmation.known(target, choice) for target, choice in choices.items()}
    a, b = confirmation.modality("a", known["a"]), confirmation.modality("b", known["b"])
    result = StudyResult(
        study=study.id,
        name=study.name,
        status="done",
        warnings=confirmation.learning.warnings,
        dataset=DatasetSummary.of(study.dataset, study.tested),
        metric=MetricSummary(name=study.metric.name, direction=study.metric.direction),
        information=InformationSummary.of(study.profile),
        joint=confirmation.joint(known["joint"]),
        modalities=Modalities(a=a, b=b),
        curve=curve(study.validation, finished),
        failures=failures(finished),
        stopped=_stopped(study.validation, finished),
        nuisance=_nuisance(study, finished, settings, baseline_settings),
        warm_start=getattr(study.spec.warm_start, "study", None),
        extends=next(iter(study.shorter), None),
        together=together(confirmation, study.test, known["joint"].candidate),
        folds=study.spec.fold_count,
        cost=cost_of(finished, wall_seconds),
        mlflow=None,
    )
    update = {"headline": headline(result), **_as_trained(study, result, finished)}
    return result.model_copy(
        update={**update, "guess": guess_of(study, _tested(confirmation, result))}
    )


def _as_trained(
    study: Study, result: StudyResult, finished: Sequence[FinishedTrial]
) -> dict[str, Any]:
    """What trainings ran in, and what it asks a reader to mind."""
    environments = _environments(finished)
    warnings = (*result.warnings, *_of_precision(environments), *_of_steps(study))
    return {"environments": environments, "warnings": warnings}


def _tested(confirmation: Confirmed, result: StudyResult) -> dict[Target, dict[str, np.ndarray]]:
    """Predictions of the registered encoders for test rows."""
    return {
        "a": confirmation.tested(result.registered_strength("a")),
        "b": confirmation.tested(result.registered_strength("b")),
    }


def curve(scorer: Scorer, finished: Sequence[FinishedTrial]) -> tuple[CurvePoint, ...]:
    """Return what the search saw at every λ, in the order of λ."""
    points = (curve_point(scorer, trial) for trial in finished)
    seen = (point for point in points if point is not None)
    return tuple(sorted(seen, key=lambda point: point.strength))


def curve_point(scorer: Scorer, trial: FinishedTrial) -> CurvePoint | None:
    """Return what a trial of the search saw; None if it failed, or was no trial of the search."""
    outcome = trial.outcome
    if outcome is None or trial.request.phase != "search":
        return None
    return CurvePoint(
        strength=outcome.strength,
        replicates=len(outcome.seeds),
        a=point_score(scorer, outcome, "a"),
        b=point_score(scorer, outcome, "b"),
        joint=point_score(scorer, outcome, "joint"),
        similarity=_similarity(outcome),
        calibrated=_calibrated(outcome),
    )


def failures(finished: Sequence[FinishedTrial]) -> tuple[FailedTrial, ...]:
    """Return the λs that could not be trained."""
    return tuple(
        FailedTrial(strength=t.request.strength, phase=t.request.phase, reason=t.reason)
        for t in finished
        if t.reason is not None
    )


def _stopped(scorer: Scorer, finished: Sequence[FinishedTrial]) -> tuple[PartialTrial, ...]:
    """The longest partial training of every λ that was not trained in full."""
    full = {t.request.strength for t in finished if t.request.phase == "search"}
    longest: dict[float, PartialTrial] = {}
    for trial in finished:
        request, outcome = trial.request, trial.outcome
        if request.phase != "rung" or outcome is None or request.strength in full:
            continue
        epochs = int(dict(request.settings)["epochs"])
        known = longest.get(request.strength)
        if known is None or known.epochs < epochs:
            longest[request.strength] = PartialTrial(
                strength=request.strength,
                epochs=epochs,
                joint=point_score(scorer, outcome, "joint"),
            )
    return tuple(longest[strength] for strength in sorted(longest))


def _nuisance(
    study: Study,
    finished: Sequence[FinishedTrial],
    settings: Overrides,
    baseline_settings: Overrides,
) -> NuisanceSummary | None:
    spec, validation = study.spec, study.validation
    if spec.nuisance == "none":
        return None
    return NuisanceSummary(
        mode=spec.nuisance,
        settings=dict(settings),
        baseline_settings=dict(baseline_settings),
        trials=tuple(
            NuisanceTrial(
                strength=t.request.strength,
                settings=dict(t.request.settings),
                joint=point_score(validation, t.outcome, "joint"),
            )
            for t in sorted(finished, key=lambda t: t.request.number)
            if t.request.phase == "nuisance" and t.outcome is not None
        ),
    )


def point_score(scorer: TargetScorer, outcome: TrainingOutcome, target: Target) -> PointScore:
    """Return the mean over replicates, and its standard error."""
    scores = scorer.scores(outcome.predictions, target)
    return PointScore(
        mean=float(scores.mean()), sem=float(scores.std(ddof=1) / np.sqrt(len(scores)))
    )


def _similarity(outcome: TrainingOutcome) -> Similarity | None:
    means = {name: float(values.mean()) for name, values in outcome.similarity.items()}
    return Similarity(**means) if means else None


def _calibrated(outcome: TrainingOutcome) -> CalibratedSimilarity | None:
    beyond = calibrations(outcome.similarity, outcome.similarity_null)
    parts = {name: Calibrated(**vars(one)) for name, one in beyond.items()}
    return CalibratedSimilarity(**parts) if parts else None


def _environments(finished: Sequence[FinishedTrial]) -> tuple[dict[str, str], ...]:
    """Where and how trials were trained, the commonest first; of old ones it is not known."""
    counts = Counter(
        tuple(trial.outcome.environment.items())
        for trial in finished
        if trial.outcome is not None and trial.outcome.environment
    )
    return tuple(dict(words) for words, _ in counts.most_common())


def _of_precision(environments: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Warn of trials that were not all trained in the same precision, as GPUs of two kinds do."""
    used = sorted({words.get("precision", "") for words in environments})
    if len(used) < 2:
        return ()
    return (
        f"Some trials were trained in {' and others in '.join(used)}, as their GPUs differ: train "
        "with --precision float32, or on GPUs of one kind.",
    )


def _of_steps(study: Study) -> tuple[str, ...]:
    """Warn where somebody asked for more epochs than the gradient steps of a training allow."""
    asked = study.spec.training.epochs
    if study.epochs >= asked or asked == TrainingConfig.model_fields["epochs"].default:
        return ()
    steps = asked * study.training.steps_of(study.data.train.count)
    return (
        f"Trained for {study.epochs:,} of {asked:,} epochs, as far as {study.max_steps:,} gradient "
        f"steps go: all of them are --max-steps {steps}.",
    )


def cost_of(finished: Sequence[FinishedTrial], wall_seconds: float) -> Cost:
    """Sum up what trials took."""
    outcomes = [t.outcome for t in finished if t.outcome is not None]
    return Cost(
        trials=len(finished),
        trainings=sum(len(outcome.seeds) for outcome in outcomes),
        gradient_steps=sum(outcome.steps for outcome in outcomes),
        training_seconds=sum(outcome.seconds for outcome in outcomes),
        wall_seconds=wall_seconds,
    )
