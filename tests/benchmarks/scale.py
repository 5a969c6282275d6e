"""A simulated cluster: trials of a second that only sleep, and a driver that does all it does.

Usage: python -m tests.benchmarks.scale [TRIALS-FOR-THE-DRIVER-ALONE]

Utilisation is the share of their time that workers spend in trials, once all have begun: starting
64 processes on two cores takes a minute, and says nothing of a cluster. The driver's seconds are
those between a trial's end and the next one's start: writing it down, the copies for Optuna and
MLflow, and asking the plan.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from tests.support import worlds
from tests.support.simulated import simulate
from tuner.models.config import TrainingConfig
from tuner.settings import Settings
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

SECONDS = 1.0
WORKERS = (1, 4, 16, 64)
ROUNDS = 20  # trials of each worker that are looked at


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    cluster = Table("workers", "trials", "utilisation", "driver, ms a trial")
    for workers in WORKERS:
        found = _measured("cluster", workers, 10_000)
        cluster.add_row(
            str(workers), str(found["trials"]), f"{found['utilisation']:.0%}",
            f"{found['driver'] * 1e3:.0f}",
        )  # fmt: skip
    alone = Table("trials so far", "driver, ms a trial")
    for until, seconds in _measured("driver", 64, most)["driver"]:
        alone.add_row(str(until), f"{seconds * 1e3:.0f}")
    Console(width=100).print(cluster, alone)


def _measured(what: str, workers: int, trials: int) -> dict:
    command = [sys.executable, "-c", "import sys; from tests.benchmarks.scale import work; work()"]
    told = subprocess.run(
        [*command, what, str(workers), str(trials)], check=True, capture_output=True, text=True
    )
    return json.loads(told.stdout.splitlines()[-1])


def work() -> None:
    """Measure one line, in a process of its own."""
    what, workers, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    spec = StudySpec(
        trials=trials,
        batch=max(4, workers),
        replicates=2,
        sampler="random",
        training=TrainingConfig(epochs=2),
    )
    study = Study.of(spec, worlds.null(0, rows=200))
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), ray_address=None)
        measure = _on_a_cluster if what == "cluster" else _driver_alone
        print(json.dumps(measure(study, settings, workers)))


class _EnoughError(Exception):
    """The search is over: nothing after it is measured."""


def _on_a_cluster(study: Study, settings: Settings, workers: int) -> dict:
    from tuner.drivers import orchestrator

    ends: list[float] = []
    spent, begun = 0.0, settings.folder / "begun"
    begun.mkdir()
    record, next_trials = orchestrator.Orchestrator._record, orchestrator.Orchestrator._next_trials

    def timed(call, driver, argument):
        nonlocal spent
        started = time.perf_counter()
        found = call(driver, argument)
        spent += time.perf_counter() - started
        return found

    def recorded(driver, trial):
        nonlocal spent
        if not ends and len(list(begun.iterdir())) < workers:
            record(driver, trial)
            spent = 0.0
            return
        ends.append(time.perf_counter())
        timed(record, driver, trial)
        if len(ends) > ROUNDS * workers:
            raise _EnoughError

    orchestrator.Orchestrator._record = recorded
    orchestrator.Orchestrator._next_trials = lambda *given: timed(next_trials, *given)
    simulated = simulate(lambda strength: 0.6 + strength / 20)

    def train(*arguments):
        (begun / str(os.getpid())).touch()
        time.sleep(SECONDS)
        return simulated(*arguments)

    with contextlib.suppress(_EnoughError):
        orchestrator.run_study(study, settings, workers=workers, train=train)
    rate = (len(ends) - 1) / (ends[-1] - ends[0])
    return {
        "trials": len(ends),
        "utilisation": rate * SECONDS / workers,
        "driver": spent / len(ends),
    }


def _driver_alone(study: Study, settings: Settings, workers: int) -> dict:
    import tuner.execution.tune
    from tuner.drivers import driver, orchestrator

    simulated = simulate(lambda strength: 0.6 + strength / 20)
    spent: list[float] = []

    @contextlib.contextmanager
    def no_cluster(*_):
        yield mock.Mock()

    def run_job(_, next_trials, record, **__):
        waiting = next_trials(())
        while waiting and len(spent) < study.spec.trials:
            request = waiting[0]
            finished = FinishedTrial(
                request=request,
                outcome=simulated(request, study.data, study.training, study.test_rows),
            )
            started = time.perf_counter()
            record(finished)
            waiting = next_trials(())
            spent.append(time.perf_counter() - started)
        raise _EnoughError

    driver.ray_cluster, tuner.execution.tune.run_job = no_cluster, run_job
    orchestrator.Orchestrator._job = lambda *_: None  # which needs Ray
    with contextlib.suppress(_EnoughError):
        orchestrator.run_study(study, settings, workers=workers)
    marks = [n for n in (10, 100, 300, 1000, 3000, 10_000) if n <= len(spent)]
    parts = zip([0, *marks], marks, strict=False)
    return {"driver": [(end, sum(spent[start:end]) / (end - start)) for start, end in parts]}


if __name__ == "__main__":
    main()
