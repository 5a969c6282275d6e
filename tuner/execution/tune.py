"""Runs the trials that a plan asks for on Ray Tune workers.

What Tune calls a trial is a worker here, which trains one of the plan's trials after another. To
Tune a trial is an event a tenth of a second long, and where an actor is free it ends another that
is still being started: with short trials, most of what it starts.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tuner.execution.interrupts import raise_if_unheard
from tuner.execution.shared_rows import SharedRows
from tuner.execution.worker import Resources, Train, TrialWorker, train_request
from tuner.models.config import TrainingConfig
from tuner.models.outcome import TrainingOutcome
from tuner.models.rows import Rows, TrainingData
from tuner.study.trial import FinishedTrial, TrialRequest

NextTrials = Callable[[Collection[TrialRequest]], list[TrialRequest]]
Record = Callable[[FinishedTrial], None]

_ONE_CPU = Resources()
_RETRIES = 2  # of a trial whose worker died
_MEMORY_RETRIES = 9  # where memory ran out: others may have taken it, for a while
_IDLE = 30.0  # seconds after which a worker that has nothing to do leaves its CPUs to others
_NODE_DIED = "node has died"  # what Ray says then: no fault of the trial
_LOW_MEMORY = "low on memory"


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
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)  # else they start one by one
    os.environ["RAY_TUNE_CALLBACKS"] = f"{Quiet.__module__}.{Quiet.__name__}"
    crew = _Crew(next_trials, record, workers)
    rows = SharedRows.of(data, test)
    worker = tune.with_resources(
        tune.with_parameters(TrialWorker, rows=rows, training=config, train=train),
        resources.of_worker(),
    )
    with tempfile.TemporaryDirectory(prefix="tuner-tune-") as scratch:
        tune.Tuner(
            worker,
            tune_config=tune.TuneConfig(
                search_alg=_Recruiter(crew), scheduler=crew, num_samples=-1, reuse_actors=False
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if crew.error is not None:
        raise crew.error


class _Crew(FIFOScheduler):
    """Hands a plan's requests to workers, and their outcomes back.

    A trial whose worker died is handed out again from here: Tune's own retries count one death
    twice when it hears of it twice.

    Attributes:
        error: What the plan or the record raised, if anything.
    """

    def __init__(self, next_trials: NextTrials, record: Record, workers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's has no types
        self._next_trials, self._record, self._workers = next_trials, record, workers
        self._waiting: list[TrialRequest] | None = None  # None: the plan has to be asked
        self._crew: set[str] = set()
        self._running: dict[str, TrialRequest] = {}
        self._idle: dict[Trial, float] = {}  # since when
        self._deaths: Counter[TrialRequest] = Counter()
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._running and not self._requests()

    def recruit(self, worker: str) -> bool:
        """Take another worker on, if there is work for it."""
        wanted = min(self._workers, len(self._running) + len(self._requests()))
        if len(self._crew) >= wanted:
            return False
        self._crew.add(worker)
        return True

    def assign(self, trial: Trial) -> bool:
        """Give a worker its next request, if there is one."""
        requests = self._requests()
        if not requests:
            return False
        request = self._running[trial.trial_id] = requests.pop(0)
        actor: Any = trial.temporary_state.ray_actor
        actor.assign.remote(request)  # comes before the next step
        return True

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        request = self._running.pop(trial.trial_id, None)
        if request is not None:
            self._finished(_finished(request, result))
        if self.assign(trial):
            self._spread(tune_controller)
            return FIFOScheduler.CONTINUE
        self._idle[trial] = time.monotonic()
        self._spread(tune_controller, but=trial)
        return FIFOScheduler.STOP if self.is_done else FIFOScheduler.NOOP

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        if trial.trial_id not in self._crew:
            return  # Tune tells some failures twice
        self._leave(trial)
        request = self._running.pop(trial.trial_id, None)
        told = Path(trial.error_file).read_text(encoding="utf-8").split("Failure #")[-1]
        self._lost(request, told.partition("\n")[2])
        self._spread(tune_controller, but=trial)  # which Tune ends itself

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        del tune_controller, result
        self._leave(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        del tune_controller
        self._leave(trial)

    def _leave(self, trial: Trial) -> None:
        self._crew.discard(trial.trial_id)
        self._idle.pop(trial, None)

    def _spread(self, tune_controller: Any, but: Trial | None = None) -> None:
        """Give idle workers what waits; have those go who will not be needed, but for one."""
        for trial in list(self._idle):
            if not self.assign(trial):
                break
            del self._idle[trial]
            tune_controller._schedule_trial_train(trial)
        late = time.monotonic() - _IDLE
        unneeded = [trial for trial, since in self._idle.items() if since < late]
        for trial in list(tune_controller.get_live_trials()) if self.is_done else unneeded:
            if trial is not but:
                tune_controller.stop_trial(trial)

    def _requests(self) -> list[TrialRequest]:
        if self._waiting is None:
            self._waiting = []
            with self._held():
                self._waiting = self._next_trials(self._running.values())
        return self._waiting

    def _lost(self, request: TrialRequest | None, cause: str) -> None:
        """Have a request trained again; one that no worker lives to begin counts as begun."""
        request = request or next(iter(self._requests()), None)
        if request is None:
            return
        self._deaths[request] += _NODE_DIED not in cause
        if self._deaths[request] <= (_MEMORY_RETRIES if _LOW_MEMORY in cause else _RETRIES):
            self._ask_again()
            return
        reason = f"its worker died {self._deaths[request]} times, lately for: {_first_line(cause)}"
        self._finished(FinishedTrial(request=request, outcome=None, reason=reason))

    def _finished(self, trial: FinishedTrial) -> None:
        self._ask_again()
        with self._held():
            self._record(trial)

    def _ask_again(self) -> None:
        """Have the plan asked what to run, a lost trial among it; not after an error."""
        self._waiting = None if self.error is None else []

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep an error until Tune has stopped: Tune would only log it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised by `run_trials`
            self.error = error
            self._waiting = []

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing when Tune pickles itself: a study goes on from its store."""
        return {}


def _finished(request: TrialRequest, result: dict[str, Any]) -> FinishedTrial:
    if "reason" in result:
        return FinishedTrial(request=request, outcome=None, reason=result["reason"])
    return FinishedTrial(request=request, outcome=TrainingOutcome.from_bytes(result["outcome"]))


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


class _Recruiter(Searcher):
    """Has Tune start a worker when there is work for one more."""

    def __init__(self, crew: _Crew) -> None:
        super().__init__(metric="done", mode="max")
        self._crew = crew

    def suggest(  # type: ignore[override]  # Ray's signature leaves out FINISHED, a string
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        if self._crew.is_done:
            return Searcher.FINISHED
        return {} if self._crew.recruit(trial_id) else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the crew hears of it."""

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


# Tune has no other way to be told of an actor manager.
tune_controller.RayActorManager = _ActorManager  # type: ignore[attr-defined]
