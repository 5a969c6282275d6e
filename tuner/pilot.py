"""A few trainings before a study is paid for: what it would take, and be able to show."""

from collections.abc import Callable
from functools import partial

from tuner.analysis.forecast import Forecast, forecast
from tuner.errors import SpecError, StudyFailedError
from tuner.execution.worker import Train, train_in_worker
from tuner.models.encoders.source import search_path
from tuner.orchestrator import opened
from tuner.search.phase import outcomes, trials_of
from tuner.search.plan import Plan
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

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
        SpecError: If several processes are to train a trial together, or settings or λs are to be
            dropped before the search.
        StudyFailedError: If a λ cannot be trained.
        StudyInUseError: If another process works on it.
    """
    spec, settings = study.spec, settings or Settings()
    if spec.ranks > 1 or spec.halving > 1 or spec.nuisance != "none":
        raise SpecError(
            "a pilot trains the first λs of the search alone: leave --ranks, --halving and "
            "--nuisance out"
        )
    if not spec.gpus:
        from tuner.models.compute.device import hide_gpus

        hide_gpus()  # its λs are part of a curve that workers without one train
    checkpoints = settings.checkpoints(study.id)
    work = train or partial(
        train_in_worker, threads=spec.cpus, checkpoints=checkpoints, path=search_path()
    )
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        store = StudyStore(database)
        finished, _ = opened(study, store, source)
        plan = Plan(spec=spec, validation=study.validation, focus=lambda: study.profile.focus)
        on_progress(len(trials_of("search", finished)), _LAMBDAS)
        while len(trials_of("search", finished)) < _LAMBDAS:
            request = plan.next(finished)[0]
            try:
                outcome = work(request, study.data, study.training, study.test_rows)
            except Exception as error:
                raise StudyFailedError(
                    f"λ = {request.strength:.3g} cannot be trained: {type(error).__name__}: {error}"
                ) from error
            lease.check()
            finished.append(FinishedTrial(request=request, outcome=outcome))
            store.record(study.id, finished[-1])
            on_progress(len(trials_of("search", finished)), _LAMBDAS)
    first = sorted(trials_of("search", finished), key=lambda trial: trial.request.number)
    return forecast(study, outcomes(first[:_LAMBDAS]))
