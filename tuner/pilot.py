"""A few trainings before a study is paid for: what it would take, and be able to show."""

from collections.abc import Callable
from functools import partial

from tuner.analysis.gains.forecast import Forecast, forecast
from tuner.errors import SpecError, StudyFailedError
from tuner.execution.worker import Train, train_in_worker
from tuner.models.encoders.source import search_path
from tuner.orchestrator import check_gpus, opened
from tuner.search.phase import outcomes, trials_of
from tuner.search.plan import Plan
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, TrialRequest

_LAMBDAS = 3  # λ = 0, the largest and one in between


def pilot(
    study: Study,
    settings: Settings | None = None,
    *,
    source: str | None = None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    train: Train | None = None,
) -> Forecast:
    """Train the first λs of a study in this process, and say what the whole would show.

    They are the study's own trials: `run_study` goes on from them.

    Args:
        study: What is asked.
        settings: Where things are kept; None for what the environment says.
        source: Path or URI that the data came from.
        on_progress: Told how many λs are trained, and of how many.
        train: What is done instead of training, for tests.

    Raises:
        SpecError: If several processes are to train a trial together, settings or λs are to be
            dropped before the search, or GPUs are wanted that are not here.
        StudyFailedError: If a λ cannot be trained.
        StudyInUseError: If another process works on it.
    """
    settings = settings or Settings()
    _check(study.spec, settings)
    work = train or partial(
        train_in_worker,
        threads=study.spec.cpus,
        gpus=study.spec.gpus,
        checkpoints=settings.checkpoints(study.id),
        path=search_path(),
    )
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        store = StudyStore(database)
        finished, _ = opened(study, store, source)
        plan = Plan.of(study)
        while (done := len(trials_of("search", finished))) < _LAMBDAS:
            on_progress(done, _LAMBDAS)
            trial = _trained(plan.next(finished)[0], study, work)
            lease.check()
            store.record(study.id, trial)
            finished.append(trial)
    first = sorted(trials_of("search", finished), key=lambda trial: trial.request.number)
    return forecast(study, outcomes(first[:_LAMBDAS]))


def _check(spec: StudySpec, settings: Settings) -> None:
    """Do nothing if this process can train the first of a study's λs as its workers would."""
    if spec.ranks > 1 or spec.halving > 1 or spec.nuisance != "none":
        raise SpecError(
            "a pilot trains the first λs of the search alone: leave --ranks, --halving and "
            "--nuisance out"
        )
    check_gpus(spec, settings)


def _trained(request: TrialRequest, study: Study, work: Train) -> FinishedTrial:
    try:
        outcome = work(request, study.data, study.training, study.test_rows)
    except Exception as error:
        raise StudyFailedError(
            f"λ = {request.strength:.3g} cannot be trained: {type(error).__name__}: {error}"
        ) from error
    return FinishedTrial(request=request, outcome=outcome)
