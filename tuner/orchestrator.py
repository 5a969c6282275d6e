"""A study from question to answer: search, confirm, choose, register, report.

Every step can be taken up again. The store holds each trial as it finishes, the plan derives from
those what is still to be trained, and all that Optuna and MLflow show is copied from the store.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING

from tuner.analysis.conclusion import answer, curve_point
from tuner.errors import StudyInUseError, TrackingError
from tuner.execution.cluster import default_workers, ray_cluster
from tuner.execution.interrupts import interrupts_wait
from tuner.search.plan import Plan
from tuner.settings import Settings
from tuner.storage.leases import Lease
from tuner.storage.studies import StudyStore
from tuner.study.result import CurvePoint, Modalities, StudyResult
from tuner.study.study import Question
from tuner.study.trial import FinishedTrial, Phase, TrialRequest
from tuner.tracking.optuna_study import OptunaMirror
from tuner.tracking.tracker import StudyTracker

if TYPE_CHECKING:
    from collections.abc import Collection

    from tuner.execution.worker import Resources, Train

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is.

    Attributes:
        phase: What is being trained.
        done: Finished trials.
        total: Trials in all; the confirmations are an upper bound until the search has ended.
        failed: Finished trials that failed.
        best: (λ, joint validation score) of the best search trial so far: not yet the answer.
        point: What the trial that ended added to the λ-curve, if anything.
        seconds_left: Estimate from the trainings so far; None before the first.
    """

    phase: Phase
    done: int
    total: int
    failed: int
    best: tuple[float, float] | None
    point: CurvePoint | None
    seconds_left: float | None


Report = Callable[[Progress], None]


def run_study(
    question: Question,
    settings: Settings,
    *,
    workers: int | None = None,
    time_budget: float | None = None,
    step_budget: int | None = None,
    report: Report = lambda _: None,
    train: "Train | None" = None,
) -> StudyResult:
    """Answer a question, going on from what is finished already.

    Args:
        question: What is asked.
        settings: Where things are kept.
        workers: Trials at a time; never changes the answer. None for as many as this machine has
            CPUs for, or as a cluster has room for.
        time_budget: Seconds after which no further search trial starts; None for no limit.
        step_budget: Gradient steps after which none does.
        report: Told of every finished trial.
        train: What a worker does instead of training, for tests.

    Raises:
        StudyFailedError: If the study cannot be answered.
        StudyInUseError: If another process works on it.
    """
    with (
        closing(StudyStore(settings.store_url)) as store,
        Lease(store, question.study) as lease,
    ):
        row = store.open(
            question.study,
            name=question.name,
            fingerprint=question.dataset.fingerprint,
            spec=question.spec.model_dump(mode="json"),
        )
        if row.result is not None and row.result["mlflow"] is not None:
            return StudyResult.model_validate(row.result)
        driver = _Driver(
            question=question,
            settings=settings,
            store=store,
            lease=lease,
            finished=store.trials(question.study),
            spent=row.wall_seconds,
            closed=row.search_closed,
            time_budget=time_budget,
            step_budget=step_budget,
            report=report,
        )
        return driver.run(workers or default_workers(settings.ray_address, question.spec), train)


@dataclass(kw_only=True, eq=False)
class _Driver:
    """The one process that works on a study."""

    question: Question
    settings: Settings
    store: StudyStore
    lease: Lease
    finished: list[FinishedTrial]
    spent: float
    closed: bool
    time_budget: float | None
    step_budget: int | None
    report: Report
    _started: float = field(default_factory=time.monotonic)
    _trained: float = 0.0  # replicates trained by this process
    _best: tuple[float, float] | None = None
    _offered: list[TrialRequest] = field(default_factory=list)
    _done: Counter[Phase] = field(default_factory=Counter)
    _failed: int = 0
    _begun: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        question = self.question
        self._tracker = StudyTracker(
            question,
            self.store,
            tracking_uri=self.settings.tracking_uri,
            artifact_location=self.settings.artifact_location,
        )
        self._optuna = OptunaMirror(question, self.settings.store_url)
        self._ended = {trial.request for trial in self.finished}
        self._steps = sum(t.outcome.steps for t in self.finished if t.outcome is not None)
        for trial in self.finished:
            self._note_best(trial)
            self._count(trial)

    @cached_property
    def _plan(self) -> Plan:
        question = self.question
        return Plan(
            spec=question.spec,
            validation=question.validation,
            focus=lambda: question.profile.focus,
        )

    def run(self, workers: int, train: "Train | None") -> StudyResult:
        self._workers = workers
        study = self.question.study
        self.store.set_status(study, "running")
        try:
            if len(self.finished) <= self.question.spec.trials or self._next_trials(()):
                return self._train_all(train)
            return self._finish()
        except StudyInUseError:  # whoever has it now says how it stands
            raise
        except Exception as error:
            self.store.set_status(study, "failed", str(error))
            self._tracker.fail(str(error))
            raise
        except BaseException:  # interrupted: the study waits to be taken up again
            self.store.set_status(study, "queued")
            self._tracker.interrupt()
            raise
        finally:
            self.store.update(study, wall_seconds=self._wall_seconds())
            self._optuna.close()
            self._tracker.close()

    def _train_all(self, train: "Train | None") -> StudyResult:
        question = self.question
        spec = question.spec
        cpus = self._workers * spec.cpus * spec.ranks
        with ray_cluster(self.settings.ray_address, cpus) as cluster:
            from tuner.execution.tune import run_trials
            from tuner.execution.worker import Resources

            resources = Resources(cpus=spec.cpus, gpus=spec.gpus, ranks=spec.ranks)

            self._next_trials(())
            cluster.wait_until_ready()
            run_trials(
                question.data,
                question.test_rows,
                question.training,
                self._next_trials,
                self._record,
                workers=self._workers,
                train=train or _training(resources, self.settings.checkpoints(question.study)),
                resources=resources,
            )
            cluster.end()
            return self._finish()

    def _next_trials(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        if self._is_over_budget() and not self.closed:
            self.closed, self._offered = True, []
            self.store.update(self.question.study, search_closed=True)
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
            self._once(_load_publishing)  # a core has nothing left to do
        return self._offered

    def _opening(self, running: "Collection[TrialRequest]") -> list[TrialRequest]:
        """What a new study begins with, if it keeps all workers busy.

        The cores are Ray's and the workers' then, who start sooner: the profile comes later.
        """
        opening = [] if self.finished or self.closed or running else self._plan.opening
        return opening if self._workers <= len(opening) else []

    def _is_over_budget(self) -> bool:
        if self.time_budget is not None and self._wall_seconds() > self.time_budget:
            return True
        return self.step_budget is not None and self._steps > self.step_budget

    def _record(self, trial: FinishedTrial) -> None:
        self.lease.check()
        with interrupts_wait():
            self._keep(trial)
        self.report(self._progress())

    def _keep(self, trial: FinishedTrial) -> None:
        self.store.record(self.question.study, trial, wall_seconds=self._wall_seconds())
        self.finished.append(trial)
        self._ended.add(trial.request)
        self._steps += 0 if trial.outcome is None else trial.outcome.steps
        self._optuna.follow(self.finished)
        self._tracker.notify()
        self._trained += len(trial.request.seeds)
        self._note_best(trial)
        self._count(trial)

    def _once(self, work: Callable[[], None]) -> None:
        """Do something that takes seconds in the background, the first time that it is asked."""
        if work not in self._begun:
            self._begun.append(work)
            threading.Thread(target=work, daemon=True).start()

    def _finish(self) -> StudyResult:
        question, study = self.question, self.question.study
        self._optuna.sync(self.finished)
        choices = self._plan.choices(self.finished)
        result = answer(question, choices, self.finished, wall_seconds=self._wall_seconds())
        try:
            result = self._publish(result)
        except TrackingError as error:
            _log.warning("%s", error)
        self.store.update(study, result=result.model_dump(mode="json"), status="done", error=None)
        return result

    def _publish(self, result: StudyResult) -> StudyResult:
        """Register the encoders and log the report; the result says where."""
        from tuner.report.page import write_report
        from tuner.tracking.registry import register_encoders

        links = self._tracker.flush()
        models = self._tracker.retried(
            lambda: register_encoders(
                self.question,
                result,
                self.finished,
                tracking_uri=self.settings.tracking_uri,
                run_id=links.run_id,
            )
        )
        sides = {
            side: getattr(result.modalities, side).model_copy(update={"model": models[side]})
            for side in ("a", "b")
        }
        result = result.model_copy(update={"modalities": Modalities(**sides), "mlflow": links})
        folder = self.settings.reports(self.question.study)
        folder.mkdir(parents=True, exist_ok=True)
        write_report(self.question, result, self.finished, folder)
        self._tracker.finish(result, folder)
        return result

    def _wall_seconds(self) -> float:
        return self.spent + time.monotonic() - self._started

    def _progress(self) -> Progress:
        spec, totals = self.question.spec, self._plan.totals
        if self.closed:
            totals |= dict.fromkeys(("nuisance", "rung", "search"), 0)
        left = {phase: max(0, total - self._done[phase]) for phase, total in totals.items()}
        replicates = {"confirm": spec.confirm_replicates}
        todo = sum(count * replicates.get(p, spec.replicates) for p, count in left.items())
        return Progress(
            phase=next((phase for phase, count in left.items() if count), "confirm"),
            done=len(self.finished),
            total=len(self.finished) + sum(left.values()),
            failed=self._failed,
            best=self._best,
            point=curve_point(self.question.validation, self.finished[-1]),
            seconds_left=todo * (time.monotonic() - self._started) / self._trained,
        )

    def _count(self, trial: FinishedTrial) -> None:
        self._done[trial.request.phase] += 1
        self._failed += trial.outcome is None

    def _note_best(self, trial: FinishedTrial) -> None:
        if trial.outcome is None or trial.request.phase != "search":
            return
        scorer = self.question.validation
        score = float(scorer.scores(trial.outcome.predictions, "joint").mean())
        sign = scorer.metric.sign
        if self._best is None or sign * score > sign * self._best[1]:
            self._best = (trial.request.strength, score)


def _training(resources: "Resources", checkpoints: str | None) -> "Train":
    from tuner.execution.distributed import train_together
    from tuner.execution.worker import train_in_worker

    if resources.ranks == 1:
        return partial(train_in_worker, threads=resources.cpus, checkpoints=checkpoints)
    return partial(train_together, resources=resources, checkpoints=checkpoints)


def _load_publishing() -> None:
    """Load what the end of a study needs."""
    for module in (
        "tuner.tracking.registry",
        "tuner.report.page",
        "mlflow.pytorch",
        "torch._dynamo",
    ):
        import_module(module)
