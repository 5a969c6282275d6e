"""Runs the trials that a plan asks for on Ray Tune workers."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from models.config import TrainingConfig
from models.rows import Rows, TrainingData
from tuner.outcome import FinishedTrial, TrialRequest, unpack
from tuner.trial import Resources, Train, TrialWorker, train_request

NextTrials = Callable[[Collection[TrialRequest]], list[TrialRequest]]
Record = Callable[[FinishedTrial], None]

_ONE_CPU = Resources()
_RETRIES = 2  # of a trial whose worker died


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
        data: Training and validation rows, put once into the object store.
        test: Test rows, which only confirmations see.
        config: How to train.
        next_trials: Given what is running, what to run besides; asked again when a trial ends.
        record: Called with every finished trial, failed or not, before the next is asked for.
        workers: Trials at a time.
        train: What a worker does.
        resources: What a trial takes.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)  # else they start one by one
    searcher = _PlannedSearcher(next_trials, record, workers)
    worker = tune.with_resources(
        tune.with_parameters(TrialWorker, data=data, test=test, training=config, train=train),
        resources.of_worker(),
    )
    with tempfile.TemporaryDirectory(prefix="tuner-tune-") as scratch:
        tune.Tuner(
            worker,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Causes(searcher)],
            ),
        ).fit()
    if searcher.error is not None:
        raise searcher.error


class _PlannedSearcher(Searcher):
    """Hands a plan's requests to Tune, and their outcomes back.

    A trial whose worker died is handed out again from here: Tune's own retries count one death
    twice when it hears of it twice.
    """

    def __init__(self, next_trials: NextTrials, record: Record, workers: int) -> None:
        super().__init__(metric="done", mode="max")
        self._next_trials, self._record, self._workers = next_trials, record, workers
        self._waiting: list[TrialRequest] | None = None  # None: the plan has to be asked
        self._running: dict[str, TrialRequest] = {}
        self._deaths: Counter[TrialRequest] = Counter()
        self.cause = "no cause is known"
        self.error: Exception | None = None

    def suggest(  # type: ignore[override]  # Ray's signature leaves out FINISHED, a string
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        if self._waiting is None:
            self._waiting = []
            with self._held():
                self._waiting = self._next_trials(self._running.values())
        if not self._waiting:
            return None if self._running else Searcher.FINISHED
        if len(self._running) >= self._workers:
            return None
        request = self._running[trial_id] = self._waiting.pop(0)
        return {"request": request}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        del error  # told apart by what the result holds
        request = self._running.pop(trial_id, None)
        if request is None:
            return  # Tune tells some failures twice
        result = result or {}
        if "outcome" in result:
            self._finished(FinishedTrial(request=request, outcome=unpack(result["outcome"])))
        elif "reason" in result:
            self._finished(FinishedTrial(request=request, outcome=None, reason=result["reason"]))
        else:
            self._lost(request)

    def _lost(self, request: TrialRequest) -> None:
        self._deaths[request] += 1
        if self._deaths[request] <= _RETRIES:
            self._ask_again()
            return
        reason = f"its worker died {self._deaths[request]} times, lately for: {self.cause}"
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

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: a study goes on from its store."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: a study goes on from its store."""


class _Causes(tune.Callback):
    """Notes why a worker was lost, which Tune does not tell a searcher."""

    def __init__(self, searcher: _PlannedSearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        del iteration, trials, info
        told = Path(trial.error_file).read_text(encoding="utf-8").split("Failure #")[-1]
        self._searcher.cause = told.splitlines()[1].strip()
