"""A few trainings before a study is paid for, which it goes on from."""

from collections.abc import Callable
from functools import partial

from tuner.analysis.gains.forecast import Forecast
from tuner.drivers.orchestrator import check_gpus, opened
from tuner.execution.workers.worker import train_in_worker
from tuner.models.encoders.source import search_path
from tuner.search.forecast.pilot import check_pilot, forecast_by_pilot
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial, Train


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
    check_pilot(study.spec)
    check_gpus(study.spec, settings)
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

        def keep(trial: FinishedTrial) -> None:
            lease.check()
            store.record(study.id, trial)

        return forecast_by_pilot(
            study,
            finished,
            lambda request: study.trained(request, work),
            keep=keep,
            on_progress=on_progress,
        )
