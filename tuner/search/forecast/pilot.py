"""The first λs of a study, trained before the whole is paid for: what that would show."""

from collections.abc import Callable, Sequence

from tuner.analysis.gains.forecast import Forecast, forecast
from tuner.errors import SpecError, StudyFailedError
from tuner.models.outcome import TrainingOutcome
from tuner.search.phase import outcomes, trials_of
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

_LAMBDAS = 3  # λ = 0, the largest and one in between


def check_pilot(spec: StudySpec) -> None:
    """Do nothing if one process can train the first of a study's λs as its workers would.

    Raises:
        SpecError: If several processes are to train a trial together, settings or λs are to be
            dropped before the search, or a validation fold has one seed.
    """
    if spec.ranks > 1 or spec.halving > 1 or spec.nuisance != "none":
        raise SpecError(
            "a pilot trains the first λs of the search alone: leave --ranks, --halving and "
            "--nuisance out"
        )
    if spec.validation_folds > 1 and spec.replicates < 2 * spec.validation_folds:
        raise SpecError(
            "a forecast tells seeds from rows by two seeds of each validation fold: use "
            f"--replicates {2 * spec.validation_folds}, or leave --validation-folds out"
        )


def forecast_by_pilot(
    study: Study,
    finished: Sequence[FinishedTrial],
    train: Callable[[TrialRequest], TrainingOutcome],
    *,
    keep: Callable[[FinishedTrial], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Forecast:
    """Train the first λs of a study's search that are not finished, and forecast from them.

    Args:
        study: What is asked.
        finished: What is finished of it.
        train: Trains a λ.
        keep: Given every λ as it is trained.
        on_progress: Told how many λs are trained, and of how many.

    Raises:
        StudyFailedError: If a λ cannot be trained.
    """
    plan, known = Plan.of(study), list(finished)
    while (done := len(trials_of("search", known))) < _LAMBDAS:
        on_progress(done, _LAMBDAS)
        trial = _trained(plan.next(known)[0], train)
        keep(trial)
        known.append(trial)
    first = sorted(trials_of("search", known), key=lambda trial: trial.request.number)
    return forecast(study, outcomes(first[:_LAMBDAS]))


def _trained(
    request: TrialRequest, train: Callable[[TrialRequest], TrainingOutcome]
) -> FinishedTrial:
    try:
        outcome = train(request)
    except Exception as error:
        raise StudyFailedError(
            f"λ = {request.strength:.3g} cannot be trained: {type(error).__name__}: {error}"
        ) from error
    return FinishedTrial(request=request, outcome=outcome)
