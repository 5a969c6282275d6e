"""Runs the trials that a plan asks for on Ray Tune workers.

What Tune calls a trial is a worker here, which trains one of the plan's trials after another. To
Tune a trial is an event a tenth of a second long, and where an actor is free it ends another that
is still being started: with short trials, most of what it starts. Who trains what is for the
dispatcher to say; this file translates between the two.

It uses what is not Ray's public interface, as only `cluster` does besides: `RayActorManager` and
that Tune takes it from `tune_controller`, `_schedule_trial_train`, and `temporary_state.ray_actor`.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import CLIReporter, TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tuner.errors import PutOffError
from tuner.execution.dispatcher import Dispatcher, NextTrials, Record
from tuner.execution.interrupts import raise_if_unheard
from tuner.execution.membership import Membership
from tuner.execution.workers.board import Board
from tuner.execution.workers.shared_rows import SharedRows
from tuner.execution.workers.worker import (
    Job,
    Resources,
    TrainOnRows,
    TrialWorker,
    train_request,
)
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.models.training.telling import PAUSE, Advance
from tuner.study.trial import FinishedTrial, Train, TrialRequest

_ONE_CPU = Resources()
_GIVEN_UP = (
    "the Ray cluster takes the process that works on this study for gone, most likely because its "
    "head was started again; what is finished is safe, and the study goes on when it is tried again"
)
_MOST_LOOKING = 20  # of the driver's time goes one part into looking how far trainings are

# Told how far the trainings are that are under way.
Hears = Callable[[Mapping[TrialRequest, Advance]], None]


def run_trials(
    data: TrainingData,
    test: Rows,
    config: TrainingConfig,
    next_trials: NextTrials,
    record: Record,
    *,
    workers: int,
    train: Train = train_request,
    resources: Resources = _ONE_CPU,
) -> None:
    """Run trials until the plan has no more to ask for.

    Args:
        data: Training and validation rows, which reach each machine once.
        test: Test rows, which only confirmations see.
        config: How to train.
        next_trials: Given what is running, what to run besides; asked again when a trial ends.
        record: Called with every finished trial, failed or not, before the next is asked for.
        workers: Trials at a time.
        train: What a worker does.
        resources: What a trial takes.

    Raises:
        Exception: What `next_trials` or `record` raised first, once no trial runs any more.
        PutOffError: If the cluster takes this process for gone: it can be tried again.
        KeyboardInterrupt: If the process is interrupted.
    """
    job = TrainOnRows(rows=(SharedRows.of(data, test),), config=config, train=train)
    run_job(job, next_trials, record, workers=workers, resources=resources)


def run_job(
    job: Job,
    next_trials: NextTrials,
    record: Record,
    *,
    workers: int,
    resources: Resources = _ONE_CPU,
    hears: Hears | None = None,
) -> None:
    """Run trials of any job until the plan has no more to ask for: see `run_trials`.

    Args:
        job: What a worker does.
        next_trials: As of `run_trials`.
        record: As of `run_trials`.
        workers: As of `run_trials`.
        resources: As of `run_trials`.
        hears: Told, every second or so, how far the trainings are that are under way and say so.
    """
    dispatcher = Dispatcher(next_trials, record, workers, job.parts)
    worker = tune.with_resources(tune.with_parameters(TrialWorker, job=job), resources.of_worker())
    board = job.board if isinstance(job, TrainOnRows) else None
    reader = None if board is None or hears is None else _Reader(board, dispatcher, hears)
    with Membership() as membership:

        def each_step() -> None:
            if membership.is_over:
                raise _GivenUpError
            if reader is not None:
                reader.look()

        try:
            _run(worker, dispatcher, workers, each_step)
        except _GivenUpError:
            raise PutOffError(_GIVEN_UP) from None
    if board is not None:
        board.clear()
    if dispatcher.error is not None:
        raise dispatcher.error


class _GivenUpError(KeyboardInterrupt):
    """The cluster takes this process for gone; Tune ends for it as for Ctrl-C."""


class _Reader:
    """Reads what trainings say of themselves, and passes on what is new."""

    def __init__(self, board: Board, dispatcher: Dispatcher, hears: Hears) -> None:
        self._board, self._dispatcher, self._hears = board, dispatcher, hears
        self._due, self._last = time.monotonic() + PAUSE, dict[TrialRequest, Advance]()

    def look(self) -> None:
        """Look at the board, if the last look was a second ago or more, by how long one takes."""
        started = time.monotonic()
        if started < self._due:
            return
        notes = self._dispatcher.advance(self._board.read(self._dispatcher.running.values()))
        if notes and notes != self._last:
            self._hears(notes)
        now, self._last = time.monotonic(), notes
        self._due = now + max(PAUSE, _MOST_LOOKING * (now - started))


def _run(worker: Any, dispatcher: Dispatcher, workers: int, each_step: Callable[[], None]) -> None:
    """Have Tune start workers until the dispatcher has nothing left for them."""
    worker.__qualname__ = TrialWorker.__qualname__  # by which Ray shows it, instead of a wrapper's
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)  # else they start one by one
    os.environ["RAY_TUNE_CALLBACKS"] = f"{Quiet.__module__}.{Quiet.__name__}"
    with _our_actor_manager(), tempfile.TemporaryDirectory(prefix="tuner-tune-") as scratch:
        tune.Tuner(
            worker,
            tune_config=tune.TuneConfig(
                search_alg=_Recruiter(dispatcher),
                scheduler=_Foreman(dispatcher, each_step),
                num_samples=-1,
                reuse_actors=False,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                progress_reporter=CLIReporter(),  # a notebook's clears what others show there
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


class _Foreman(FIFOScheduler):
    """Tells the dispatcher what Tune's trials do, and Tune's trials what it says.

    A trial whose worker died is handed out again by the dispatcher: Tune's own retries count one
    death twice when it hears of it twice.
    """

    def __init__(self, dispatcher: Dispatcher, each_step: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's has no types
        self._dispatcher, self._each_step = dispatcher, each_step
        self._trials: dict[str, Trial] = {}  # by their ids, which are the dispatcher's workers

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        self._each_step()  # ten times a second and more
        chosen: Trial | None = super().choose_trial_to_run(tune_controller)
        return chosen

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        del tune_controller
        self._trials[trial.trial_id] = trial

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        worker = trial.trial_id
        request = self._dispatcher.running.get(worker)
        if request is not None:  # else it is new, and says so
            self._dispatcher.finished(worker, _finished(request, result))
        has_work = self._assign(worker)
        self._spread(tune_controller, but=worker)
        if has_work:
            return FIFOScheduler.CONTINUE
        return FIFOScheduler.STOP if self._dispatcher.is_done else FIFOScheduler.NOOP

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        failures = Path(trial.error_file).read_text(encoding="utf-8").split("Failure #")
        self._dispatcher.lost(trial.trial_id, failures[-1].partition("\n")[2])
        self._spread(tune_controller, but=trial.trial_id)  # which Tune ends itself

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        del tune_controller, result
        self._dispatcher.leave(trial.trial_id)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        del tune_controller
        self._dispatcher.leave(trial.trial_id)

    def _assign(self, worker: str) -> bool:
        """Give a worker its next request, if there is one."""
        request = self._dispatcher.next_request(worker, time.monotonic())
        if request is None:
            return False
        actor: Any = self._trials[worker].temporary_state.ray_actor
        actor.assign.remote(request)  # comes before the next step
        return True

    def _spread(self, tune_controller: Any, but: str) -> None:
        """Give idle workers what waits, and have those go who are needed no more.

        Args:
            tune_controller: Tune.
            but: A worker that Tune itself sets to work, or ends.
        """
        for worker in self._dispatcher.idle:
            if worker != but and self._assign(worker):
                tune_controller._schedule_trial_train(self._trials[worker])
        for worker in self._dispatcher.dismissible(time.monotonic()):
            if worker != but:
                tune_controller.stop_trial(self._trials[worker])

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing when Tune pickles itself: a study goes on from its store."""
        return {}


def _finished(request: TrialRequest, result: dict[str, Any]) -> FinishedTrial:
    if "reason" in result:
        return FinishedTrial(request=request, outcome=None, reason=result["reason"])
    content = result["outcome"].pop()  # else Tune keeps it, weights and all, and writes it to disk
    return FinishedTrial(request=request, outcome=TrainingOutcome.from_bytes(content))


class _Recruiter(Searcher):
    """Has Tune start a worker when there is work for one more."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(metric="done", mode="max")
        self._dispatcher = dispatcher

    def suggest(  # type: ignore[override]  # Ray's signature leaves out FINISHED, a string
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        if self._dispatcher.is_done:
            return Searcher.FINISHED
        return {} if self._dispatcher.hire(trial_id) else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the dispatcher hears of it."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing when Tune pickles itself: a study goes on from its store."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: a study goes on from its store."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a study goes on from its store."""


class Quiet(TrialProgressCallback):
    """Takes the place of what prints progress, and hears the interrupts that Python dropped.

    Tune makes it by its name: one that it is given costs the import of every other kind, half a
    second.
    """

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Raise the interrupt, at most a tenth of a second after it came."""
        raise_if_unheard()

    def log_result(self, trial: Trial, result: dict[str, Any], error: bool = False) -> None:
        """Print nothing."""

    def _print(self, msg: str) -> None:
        """Print nothing."""


class _ActorManager(RayActorManager):
    """Takes for lost an actor that was ended because memory ran out: Tune itself would fail."""

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


@contextmanager
def _our_actor_manager() -> Iterator[None]:
    """Have Tune use our actor manager, of which it has no other way to be told."""
    theirs = tune_controller.RayActorManager  # type: ignore[attr-defined]  # it only imports it
    tune_controller.RayActorManager = _ActorManager  # type: ignore[attr-defined]
    try:
        yield
    finally:
        tune_controller.RayActorManager = theirs  # type: ignore[attr-defined]
