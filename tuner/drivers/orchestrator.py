"""A study from question to answer: search, confirm, choose, register, report.

Every step can be taken up again. The store holds each trial as it finishes, the plan derives from
those what is still to be trained, and all that Optuna and MLflow show is copied from the store.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.analysis.conclusion import conclude, curve_point
from tuner.analysis.curves.modelled import modelled_curve, prior_summary
from tuner.data import PairedDataset, from_arrays
from tuner.data.formats.shards import is_pattern
from tuner.data.formats.sources import is_uri
from tuner.data.memory.blocks import OnStep, silent
from tuner.drivers.driver import Driver
from tuner.drivers.profiling import Profiling
from tuner.errors import SpecError
from tuner.execution.cluster import default_workers
from tuner.execution.room import Alone, Room, Takes, check_sharing
from tuner.models.encoders.source import search_path
from tuner.prediction.sketch import sketch
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
from tuner.study.spec import spec_from_options
from tuner.study.study import Study, read_dataset, read_rows
from tuner.study.trial import OF_THE_MACHINE, FinishedTrial, PhaseName, Train, TrialRequest
from tuner.tracking.optuna_study import OptunaCopy
from tuner.tracking.publish import load_publishing, publish
from tuner.tracking.registered.exporting import EncoderProcesses
from tuner.tracking.tracker import StudyTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import ArrayLike

    from tuner.execution.workers.source import ReadRows
    from tuner.execution.workers.worker import Job, Resources
    from tuner.models.training.telling import Advance
    from tuner.storage.tables import StudyRow
    from tuner.study.result import CurvePoint


# Seconds between two times that it is told how far trainings are, and part of the study so far.
_OFTEN, _SELDOM, _PART = 2.0, 30.0, 0.005
_SOON = 5.0  # seconds before the end: what that takes is loaded meanwhile, and held no longer


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
        Study.of(spec, data).within(Budget(seconds=time_budget, steps=step_budget)),
        settings,
        workers=workers,
        on_progress=on_progress or show_progress(),
        source=source,
    )


def run_study(
    study: Study,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    on_progress: OnProgress = lambda _: None,
    on_step: OnStep = silent,
    train: "Train | None" = None,
    source: str | None = None,
    read: "Callable[[], PairedDataset] | None" = None,
) -> StudyResult:
    """Answer a study, going on from what is finished already.

    Args:
        study: What is asked.
        settings: Where things are kept; None for what the environment says.
        workers: Trials at a time, whatever the answer; None for as many as there is room for.
        on_progress: Told of every finished trial.
        on_step: Told what is done before the first training, in words.
        train: What a worker does instead of training, for tests.
        source: Path or URI that the data came from: `publish_study` reads them again.
        read: Reads the data on any machine of the cluster, if that can be done.

    Raises:
        SpecError: If it begins with a study of other data, or wants GPUs that are not here.
        PutOffError: If Ray does not start, or its cluster has no room: it can be tried again.
        EncoderModuleError: If a user's own encoder cannot be trained or registered.
        StudyFailedError: If the study cannot be answered.
        StudyInUseError: If another process works on it.
    """
    settings = settings or Settings()
    check_gpus(study.spec, settings)
    with Database(settings.store_url) as database, Lease(database, study.id) as lease:
        finished, row = opened(study, StudyStore(database), source)
        if row.result is not None and row.result["mlflow"] is not None:
            return StudyResult.model_validate(row.result)
        driver = Orchestrator(
            study=study,
            settings=settings,
            store=StudyStore(database),
            lease=lease,
            finished=finished,
            spent=row.wall_seconds,
            closed=row.search_closed,
            on_progress=on_progress,
            on_step=on_step,
            train=train,
            read=read,
        )
        return driver.run(workers or default_workers(settings.ray_address, study.spec))


def check_gpus(spec: Takes, settings: Settings) -> None:
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
    words = room.lacks(Alone(gpus=spec.gpus))
    if words is not None:
        raise SpecError(f"--gpus {spec.gpus:g}: the study {words}. Ask for less, or leave it out.")


def opened(
    study: Study, store: StudyStore, source: str | None
) -> "tuple[list[FinishedTrial], StudyRow]":
    """Return what is finished of a study; one that is new is checked before it is written down."""
    store.check_warm_start(study.spec.warm_start, study.dataset.fingerprint)
    before = store.get(study.id)
    if before is None:
        study.check_encoders()
    is_sketched = before is not None and before.sketch is not None
    row = store.open(
        study.id,
        name=study.name,
        fingerprint=study.dataset.fingerprint,
        spec=study.spec.model_dump(mode="json"),
        data=None if source is None else _from_everywhere(source),
        sketch=None if is_sketched else sketch(study.dataset),
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
class Orchestrator(Driver[StudyResult]):
    """The one process that works on a study of encoders.

    Attributes:
        study: What is asked.
        train: What a worker does instead of training, for tests.
        read: Reads the data on any machine of the cluster, if that can be done.
    """

    study: Study
    train: "Train | None" = None
    read: "Callable[[], PairedDataset] | None" = None
    _tell_at: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        study = self.study
        self._weights = WeightStore(self.store.database, self.settings.weights)
        self._tracker = StudyTracker(
            study,
            self.store,
            tracking_uri=self.settings.tracking_uri,
            artifact_location=self.settings.artifact_location,
        )
        self._optuna = OptunaCopy(study, self.settings.store_url)
        self._processes = EncoderProcesses()
        self._steps = sum(t.outcome.steps for t in self.finished if t.outcome is not None)
        self._meter = ProgressMeter(study.spec, study.validation, self.finished)

    @property
    def driven(self) -> Study:
        """The study."""
        return self.study

    @cached_property
    def _plan(self) -> Plan:
        return Plan.of(self.study)

    def run(self, workers: int) -> StudyResult:
        """Work on the study to its end, with so many trials at a time."""
        self._weights.sweep(self.study.id)
        return super().run(workers)

    def _is_complete(self) -> bool:
        """Whether nothing is left to be trained: the plan is asked where that may be."""
        return len(self.finished) > self.study.spec.trials and super()._is_complete()

    def _job(self, resources: "Resources") -> "Job":
        from tuner.execution.workers.shared_rows import SharedRows
        from tuner.execution.workers.worker import TrainOnRows
        from tuner.models.training.stacks import part_size

        study = self.study
        train = self.train or _training(resources, self.settings.checkpoints(study.id))
        folds, validated = study.folds, study.validation_folds
        # The first of the folds that are validated is the split.
        first, count = (0, 0) if folds is None else (0, folds.count)
        first, count = (first, count) if validated is None else (1, validated.count)
        divisions = [None, *range(first, count)]
        self._rows = [study.rows_of(fold) for fold in divisions]  # mapped files go with them
        job = TrainOnRows(
            rows=tuple(
                SharedRows.of(*rows, read=self._read_rows(fold))
                for fold, rows in zip(divisions, self._rows, strict=True)
            ),
            config=study.training,
            train=train,
            fold_of_seed={} if folds is None else folds.of_seed,
            validation_folds=validated,
            part_size=partial(
                part_size,
                rows=study.data.train.count,
                shapes=study.data.shapes,
                on_cpu=not resources.gpus,
            ),
        )
        self._parts = job.parts
        return job

    def _forget_parts(self, request: TrialRequest) -> None:
        checkpoints = self.settings.checkpoints(self.study.id)
        if checkpoints is None or len(self._parts(request)) == 1:
            return
        from tuner.execution.workers.worker import forget_parts

        forget_parts(request, checkpoints)

    def _read_rows(self, fold: int | None) -> "ReadRows | None":
        if self.read is None or self.settings.ray_address is None:
            return None
        return partial(read_rows, self.study.spec, self.read, fold)

    def _closed_now(self) -> bool:
        return self.study.budget.is_spent(seconds=self._wall_seconds(), steps=self._steps)

    def _asked(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        if opening := self._opening(running):
            return opening
        if not self.study.is_profiled:
            self._profile()
        return self._plan.next(self.finished, running=running, closed=self.closed)

    def _profile(self) -> None:
        """Have the study know its profile, and load meanwhile what proposals take."""
        with Profiling(self.study):
            if self.study.spec.sampler == "gp":
                import_module("torch")

    def _begin_tracking(self) -> None:
        super()._begin_tracking()
        self._once(self._optuna.open)

    def _opening(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        """What a new study begins with, if it keeps all workers busy.

        The cores are Ray's and the workers' then, who start sooner: the profile comes later.
        """
        opening = [] if self.finished or self.closed or running else self._plan.opening
        return opening if self._workers <= len(opening) else []

    def _kept(self, trial: FinishedTrial) -> FinishedTrial:
        return self._weights.keep(self.study.id, trial)

    def _noted(self, trial: FinishedTrial) -> None:
        self._forget_parts(trial.request)
        self._steps += 0 if trial.outcome is None else trial.outcome.steps
        self._optuna.follow(self.finished)
        self._meter.add(trial)

    def _end(self) -> None:
        self._processes.end()
        self._optuna.close()
        super()._end()

    def _conclude(self) -> StudyResult:
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
        result = result.model_copy(
            update={
                "curve_model": modelled_curve(study, self.finished),
                "prior": prior_summary(study, self.finished),
            }
        )
        return self._cut_short(result) if self.closed else result

    def _publish(self, result: StudyResult) -> StudyResult:
        return publish(
            self.study, result, self.finished, self._tracker, self.settings, self._processes
        )

    def _cut_short(self, result: StudyResult) -> StudyResult:
        """Have the answer say how far the search came, if its budget ended it."""
        asked = self.study.spec.trials
        tried = len(trials_of("search", self.finished))
        if tried >= asked:
            return result
        words = self.study.budget.words(tried, asked, steps=self._steps)
        return result.model_copy(update={"warnings": (*result.warnings, words)})

    def _hear(self, news: "Mapping[TrialRequest, Advance]") -> None:
        """Pass on how far trainings are, the less often the longer the study takes."""
        self._meter.hear(news)
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + max(_OFTEN, min(_SELDOM, _PART * (now - self._started)))
            self.on_progress(self._now(None))

    def _progress(self) -> Progress:
        point = curve_point(self.study.validation, self.finished[-1])
        return self._now(point)

    def _now(self, point: "CurvePoint | None") -> Progress:
        """How far the study is; what its end takes is loaded shortly before that."""
        progress = self._meter.progress(self._totals, point)
        left = progress.seconds_left
        if progress.phase == "confirm" and left is not None and left < _SOON:
            with suppress(OSError):  # told when they are needed
                self._processes.start()
            self._once(load_publishing)
        return progress

    @property
    def _totals(self) -> "dict[PhaseName, int]":
        totals = self._plan.totals
        if self.closed:
            totals |= dict.fromkeys(("nuisance", "rung", "search"), 0)
        return totals


def _training(resources: "Resources", checkpoints: str | None) -> "Train":
    from tuner.execution.workers.distributed import train_together
    from tuner.execution.workers.worker import train_in_worker

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
