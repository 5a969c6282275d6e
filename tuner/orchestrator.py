"""A study from question to answer: search, confirm, choose, register, report.

Every step can be taken up again. The store holds each trial as it finishes, the plan derives from
those what is still to be trained, and all that Optuna and MLflow show is copied from the store.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.analysis.conclusion import conclude, curve_point
from tuner.analysis.curves.modelled import modelled_curve
from tuner.data import PairedDataset, from_arrays
from tuner.data.formats.shards import is_pattern
from tuner.data.formats.sources import is_uri
from tuner.errors import PutOffError, SpecError, StudyInUseError
from tuner.execution.cluster import default_workers, ray_cluster
from tuner.execution.interrupts import interrupts_wait
from tuner.execution.room import Room, check_sharing
from tuner.models.encoders.source import search_path
from tuner.search.phase import trials_of
from tuner.search.plan import Plan
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.storage.weights import WeightStore
from tuner.study.budget import Budget
from tuner.study.notebook import show_progress
from tuner.study.progress import OnProgress, Progress, ProgressMeter
from tuner.study.result import StudyResult
from tuner.study.spec import StudySpec, spec_from_options
from tuner.study.study import Study, read_dataset
from tuner.study.trial import OF_THE_MACHINE, FinishedTrial, TrialRequest
from tuner.tracking.optuna_study import OptunaCopy
from tuner.tracking.publish import load_publishing, publish
from tuner.tracking.tracker import StudyTracker

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import ArrayLike

    from tuner.execution.worker import Resources, Train
    from tuner.storage.tables import StudyRow


def run(
    data: "str | Path | Mapping[str, ArrayLike] | PairedDataset",
    *,
    workers: int | None = None,
    time_budget: float | None = None,
    step_budget: int | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> StudyResult:
    """Find λ* of a data set, as the command `tuner run` does.

    Args:
        data: Path or URI of a file, the name of a shipped example, arrays by their names, or
            what `tuner.read` returned.
        workers: As of `run_study`.
        time_budget: As of `run_study`.
        step_budget: As of `run_study`.
        on_progress: As of `run_study`; by default a notebook shows it, and nothing else.
        options: Those of `StudySpec` and `TrainingConfig`: `trials=12`, `encoder_a="cnn"`.

    Raises:
        pydantic.ValidationError: If an option is unknown or its value is not allowed.
        DataError: If the data cannot be used.
        StudyFailedError: If the study cannot be answered.
    """
    settings, spec, source = Settings(), spec_from_options(options), None
    if isinstance(data, Mapping):
        how = spec.data_options | {"name": spec.name or "arrays"}
        data = from_arrays(data, seed=spec.seed, **how)
    if not isinstance(data, PairedDataset):
        source = str(data)
        data = read_dataset(spec, source, max_bytes=settings.max_data)
    return run_study(
        Study.of(spec, data),
        settings,
        workers=workers,
        time_budget=time_budget,
        step_budget=step_budget,
        on_progress=on_progress or show_progress(),
        source=source,
    )


def run_study(
    study: Study,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    time_budget: float | None = None,
    step_budget: int | None = None,
    on_progress: OnProgress = lambda _: None,
    train: "Train | None" = None,
    source: str | None = None,
) -> StudyResult:
    """Answer a study, going on from what is finished already.

    Args:
        study: What is asked.
        settings: Where things are kept; None for what the environment says.
        workers: Trials at a time, whatever the answer; None for as many as there is room for.
        time_budget: Seconds after which no further search trial starts: see `Study.within`.
        step_budget: Gradient steps after which none does.
        on_progress: Told of every finished trial.
        train: What a worker does instead of training, for tests.
        source: Path or URI that the data came from: `publish_study` reads them again.

    Raises:
        SpecError: If it begins with a study of other data, or wants GPUs that are not here.
        PutOffError: If Ray does not start, or its cluster has no room: it can be tried again.
        EncoderModuleError: If a user's own encoder cannot be trained or registered.
        StudyFailedError: If the study cannot be answered.
        StudyInUseError: If another process works on it.
    """
    settings = settings or Settings()
    study = study.within(Budget(seconds=time_budget, steps=step_budget))
    check_gpus(study.spec, settings)
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        store = StudyStore(database)
        finished, row = opened(study, store, source)
        if row.result is not None and row.result["mlflow"] is not None:
            return StudyResult.model_validate(row.result)
        driver = Orchestrator(
            study=study,
            settings=settings,
            store=store,
            weights=WeightStore(database, settings.weights),
            lease=lease,
            finished=finished,
            spent=row.wall_seconds,
            closed=row.search_closed,
            on_progress=on_progress,
        )
        return driver.run(workers or default_workers(settings.ray_address, study.spec), train)


def check_gpus(spec: StudySpec, settings: Settings) -> None:
    """Do nothing if this machine has the GPUs of a training; CPUs are shared where they are few.

    Raises:
        SpecError: If it has not: Ray would wait for them for ever. Or if ranks would share one.
    """
    check_sharing(spec)
    if settings.ray_address is not None or not spec.gpus:
        return
    room = Room.of_this_machine()
    if not room.gpus:
        from tuner.models.compute.device import why_no_gpu

        raise SpecError(f"--gpus {spec.gpus:g}: {why_no_gpu()}")
    words = room.lacks(spec.model_copy(update={"cpus": 1, "ranks": 1}))
    if words is not None:
        raise SpecError(f"--gpus {spec.gpus:g}: the study {words}. Ask for less, or leave it out.")


def opened(
    study: Study, store: StudyStore, source: str | None
) -> "tuple[list[FinishedTrial], StudyRow]":
    """Return what is finished of a study; one that is new is checked before it is written down."""
    store.check_warm_start(study.spec.warm_start, study.dataset.fingerprint)
    if store.get(study.id) is None:
        study.check_encoders()
    row = store.open(
        study.id,
        name=study.name,
        fingerprint=study.dataset.fingerprint,
        spec=study.spec.model_dump(mode="json"),
        data=None if source is None else _from_everywhere(source),
        shorter=study.shorter,
        budget=study.budget,
    )
    if row.result is None:  # what the machine failed for is tried again
        store.forget_failed(study.id, OF_THE_MACHINE)
    return store.trials(study.id), row


def _from_everywhere(source: str) -> str:
    """Return a path that holds in every folder, for one that holds in this."""
    path = Path(source)
    is_here = not is_uri(source) and (path.exists() or is_pattern(source))
    return str(path.absolute()) if is_here else source


@dataclass(kw_only=True, eq=False)
class Orchestrator:
    """The one process that works on a study."""

    study: Study
    settings: Settings
    store: StudyStore
    weights: WeightStore
    lease: Lease
    finished: list[FinishedTrial]
    spent: float
    closed: bool
    on_progress: OnProgress
    _started: float = field(default_factory=time.monotonic)
    _offered: list[TrialRequest] = field(default_factory=list)
    _begun: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        study = self.study
        self._tracker = StudyTracker(
            study,
            self.store,
            tracking_uri=self.settings.tracking_uri,
            artifact_location=self.settings.artifact_location,
        )
        self._optuna = OptunaCopy(study, self.settings.store_url)
        self._ended = {trial.request for trial in self.finished}
        self._steps = sum(t.outcome.steps for t in self.finished if t.outcome is not None)
        self._meter = ProgressMeter(study.spec, study.validation, self.finished)

    @cached_property
    def _plan(self) -> Plan:
        return Plan.of(self.study)

    def run(self, workers: int, train: "Train | None") -> StudyResult:
        """Work on the study to its end, with so many trials at a time."""
        self._workers = workers
        study_id = self.study.id
        self.weights.sweep(study_id)
        self.store.set_status(study_id, "running")
        try:
            if len(self.finished) <= self.study.spec.trials or self._next_trials(()):
                return self._train_all(train)
            return self._finish()
        except StudyInUseError:  # whoever has it now says how it stands
            raise
        except PutOffError as error:  # it waits, and says for what
            self.store.set_status(study_id, "queued", str(error))
            self._tracker.interrupt()
            raise
        except Exception as error:
            self.store.set_status(study_id, "failed", str(error))
            self._tracker.fail(str(error))
            raise
        except BaseException:  # interrupted: the study waits to be taken up again
            self.store.set_status(study_id, "queued")
            self._tracker.interrupt()
            raise
        finally:
            self.store.update(study_id, wall_seconds=self._wall_seconds())
            self._optuna.close()
            self._tracker.close()

    def _train_all(self, train: "Train | None") -> StudyResult:
        study = self.study
        spec = study.spec
        cpus = self._workers * spec.cpus * spec.ranks
        with ray_cluster(self.settings.ray_address, cpus) as cluster:
            from tuner.execution.tune import run_trials
            from tuner.execution.worker import Resources

            resources = Resources(cpus=spec.cpus, gpus=spec.gpus, ranks=spec.ranks)

            self._next_trials(())
            cluster.wait_until_ready()
            if self.settings.ray_address is not None:
                self._wait_for_room()
            run_trials(
                study.data,
                study.test_rows,
                study.training,
                self._next_trials,
                self._record,
                workers=self._workers,
                train=train or _training(resources, self.settings.checkpoints(study.id)),
                resources=resources,
            )
            cluster.end()
            return self._finish()

    def _wait_for_room(self) -> None:
        """Return once the cluster has what a training takes; meanwhile the study is queued."""
        from tuner.execution.room import wait_for_room

        told = partial(self.store.set_status, self.study.id, "queued")
        wait_for_room(self.study.spec, told)
        row = self.store.get(self.study.id)
        if row is not None and row.status == "queued":
            self.store.set_status(self.study.id, "running")

    def _next_trials(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        if not self.closed and self.study.budget.is_spent(
            seconds=self._wall_seconds(), steps=self._steps
        ):
            self.closed, self._offered = True, []
            self.store.update(self.study.id, search_closed=True)
        waiting = [r for r in self._offered if r not in self._ended and r not in running]
        # The plan looks at every finished trial: it is asked when nothing is left of its answer.
        self._offered = (
            waiting
            or self._opening(running)
            or self._plan.next(self.finished, running=running, closed=self.closed)
        )
        if self.finished:  # from here on: it takes seconds, and the first trial none
            self._tracker.start()
            self._once(self._optuna.open)
        if not self._offered and any(request.phase == "confirm" for request in running):
            self._once(load_publishing)  # a core has nothing left to do
        return self._offered

    def _opening(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        """What a new study begins with, if it keeps all workers busy.

        The cores are Ray's and the workers' then, who start sooner: the profile comes later.
        """
        opening = [] if self.finished or self.closed or running else self._plan.opening
        return opening if self._workers <= len(opening) else []

    def _record(self, trial: FinishedTrial) -> None:
        self.lease.check()
        with interrupts_wait():
            self._keep(trial)
        self.on_progress(self._progress())

    def _keep(self, trial: FinishedTrial) -> None:
        trial = self.weights.keep(self.study.id, trial)
        self.store.record(self.study.id, trial, wall_seconds=self._wall_seconds())
        self.finished.append(trial)
        self._ended.add(trial.request)
        self._steps += 0 if trial.outcome is None else trial.outcome.steps
        self._optuna.follow(self.finished)
        self._tracker.notify()
        self._meter.add(trial)

    def _once(self, work: Callable[[], None]) -> None:
        """Do something that takes seconds in the background, the first time that it is asked."""
        if work not in self._begun:
            self._begun.append(work)
            threading.Thread(target=work, daemon=True).start()

    def _finish(self) -> StudyResult:
        study = self.study
        self._optuna.sync(self.finished)
        choices = self._plan.choices(self.finished)
        result = conclude(
            study,
            choices,
            self.finished,
            settings=self._plan.settings(self.finished),
            baseline_settings=self._plan.baseline_settings(self.finished),
            wall_seconds=self._wall_seconds(),
        )
        result = result.model_copy(update={"curve_model": modelled_curve(study, self.finished)})
        if self.closed:
            result = self._cut_short(result)
        self.store.update(study.id, result=result.model_dump(mode="json"))
        result = publish(study, result, self.finished, self._tracker, self.settings)
        self.store.update(
            study.id, result=result.model_dump(mode="json"), status="done", error=None
        )
        return result

    def _cut_short(self, result: StudyResult) -> StudyResult:
        """Have the answer say how far the search came, if its budget ended it."""
        asked = self.study.spec.trials
        tried = len(trials_of("search", self.finished))
        if tried >= asked:
            return result
        words = self.study.budget.words(tried, asked, steps=self._steps)
        return result.model_copy(update={"warnings": (*result.warnings, words)})

    def _wall_seconds(self) -> float:
        return self.spent + time.monotonic() - self._started

    def _progress(self) -> Progress:
        totals = self._plan.totals
        if self.closed:
            totals |= dict.fromkeys(("nuisance", "rung", "search"), 0)
        return self._meter.progress(totals, curve_point(self.study.validation, self.finished[-1]))


def _training(resources: "Resources", checkpoints: str | None) -> "Train":
    from tuner.execution.distributed import train_together
    from tuner.execution.worker import train_in_worker

    path = search_path()
    if resources.ranks == 1:
        return partial(
            train_in_worker,
            threads=resources.cpus,
            checkpoints=checkpoints,
            gpus=resources.gpus,
            path=path,
        )
    return partial(train_together, resources=resources, checkpoints=checkpoints, path=path)
