"""Trials on a real Ray cluster, with a stand-in for training; see `test_dispatcher`, too."""

import gc
import os
import signal
import threading
import time
from dataclasses import replace
from importlib import import_module

import numpy as np
import psutil
import pytest
import ray
from ray.air.execution import PlacementGroupResourceManager, ResourceRequest
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial

from tests.support import worlds
from tests.support.simulated import simulate
from tests.tuner.execution.test_causes import MEMORY
from tuner.execution.causes import in_one_line
from tuner.execution.cluster import ray_cluster
from tuner.execution.tune import _ActorManager, run_job, run_trials
from tuner.execution.workers.shared_rows import SharedRows
from tuner.execution.workers.worker import TrainOnRows
from tuner.models.config import TrainingConfig
from tuner.models.errors import DeviceError
from tuner.models.training.telling import Advance, listener
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import TrialRequest

pytestmark = pytest.mark.integration
QUESTION = Study.of(StudySpec(training=TrainingConfig(epochs=2)), worlds.null(0, rows=200))
TRAIN = simulate(lambda strength: 0.6 + strength / 20)


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(None, 2) as started:
        started.wait_until_ready()
        yield


def requests(*strengths: float, phase="search") -> list[TrialRequest]:
    return [
        TrialRequest(phase=phase, number=n, strength=s, seeds=(1, 2))
        for n, s in enumerate(strengths)
    ]


def run(batches, train=TRAIN, record=None, workers=2):
    """Run batches one after another."""
    finished, waiting, known = [], list(batches), []

    def keep(trial):
        finished.append(trial)
        if record is not None:
            record(trial)

    def next_trials(running):
        done = [trial.request for trial in finished]
        if not running and set(done) == set(known) and waiting:
            known.extend(waiting.pop(0))
        return [r for r in known if r not in done and r not in running]

    run_trials(
        QUESTION.data,
        QUESTION.test_rows,
        QUESTION.training,
        next_trials,
        keep,
        workers=workers,
        train=train,
    )
    return finished


@pytest.mark.usefixtures("cluster")
def test_how_far_trainings_are_is_heard_while_they_go_on(tmp_path):
    """λ = 1 trains until both were heard of at once, λ = 0 until it was three times alone."""

    def train(request, *rest):
        hears, began = listener(), time.monotonic()
        enough = tmp_path / str(request.strength)
        while not enough.exists() and (seconds := time.monotonic() - began) < 60:
            hears(Advance(ended=0, stacked=2, epoch=seconds, epochs=10**4, patience=3))
            time.sleep(0.1)
        return TRAIN(request, *rest)

    heard, alone, finished = [], [], []
    asked = requests(0.0, 1.0)
    rows = SharedRows.of(QUESTION.data, QUESTION.test_rows)
    job = TrainOnRows(rows=(rows,), config=QUESTION.training, train=train)

    def next_trials(running):
        done = [trial.request for trial in finished]
        return [one for one in asked if one not in done and one not in running]

    def hears(news):
        heard.append({request.strength: advance.epoch for request, advance in news.items()})
        if len(news) == 2:
            (tmp_path / "1.0").touch()
        elif len(finished) == 1:
            alone.append(heard[-1])
            if len(alone) == 3:
                (tmp_path / "0.0").touch()

    run_job(job, next_trials, finished.append, workers=2, hears=hears)
    assert [trial.request.strength for trial in finished] == [1.0, 0.0]
    assert [news.keys() for news in alone[:3]] == [{0.0}] * 3
    told = [news[0.0] for news in heard if 0.0 in news]
    assert told == sorted(told)
    assert len(set(told)) >= 3
    assert all(trial.outcome is not None for trial in finished)
    assert job.board.read(asked) == {}  # nothing stays behind


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [1, 2])
def test_seeds_of_one_trial_are_spread_over_workers_and_put_together(tmp_path, workers):
    """Where there are two workers, the first part ends once the other has begun the second."""

    def train(request, *rest):
        (tmp_path / str(os.getpid())).touch()
        until = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < workers and time.monotonic() < until:
            time.sleep(0.01)
        return TRAIN(request, *rest)

    (asked,) = requests(0.5, phase="confirm")
    asked = replace(asked, seeds=(1, 2, 3, 4, 5))
    rows = SharedRows.of(QUESTION.data, QUESTION.test_rows)
    job = TrainOnRows(rows=(rows,), config=QUESTION.training, train=train, part_size=lambda *_: 2)
    finished = []
    offered = [asked]
    run_job(
        job,
        lambda running: [r for r in offered if r not in running and not finished],
        finished.append,
        workers=workers,
    )
    (trial,) = finished
    assert trial.request == asked
    expected = TRAIN(asked, QUESTION.data, QUESTION.training, QUESTION.test_rows)
    for name in ("seeds", "predictions", "test_predictions", "curves", "weights"):
        np.testing.assert_equal(getattr(trial.outcome, name), getattr(expected, name), err_msg=name)
    assert trial.outcome.steps == expected.steps
    assert len(list(tmp_path.iterdir())) == workers


@pytest.mark.usefixtures("cluster")
def test_an_outcome_is_nobodys_but_the_plans():
    """Tune keeps the last result of each worker, and writes it down: weights were in it."""
    kept = []

    def look(trial):
        tunes = [each for each in gc.get_objects() if isinstance(each, Trial)]
        kept.extend(content for each in tunes for content in each.last_result.get("outcome", []))

    finished = run([requests(0.0, 1.0, 2.0, phase="confirm"), requests(0.5)], record=look)
    assert all(trial.outcome.weights for trial in finished[:3])
    assert kept == []


@pytest.mark.usefixtures("cluster")
def test_two_workers_train_one_trial_after_another_and_all_is_recorded(tmp_path):
    def train(request, data, *rest):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.02)
        assert psutil.Process().cmdline()[0] == "ray::TrialWorker.train"  # as operators see it
        if request.strength == 1.0:
            raise FloatingPointError("planted")
        return replace(TRAIN(request, data, *rest), steps=data.train.count + data.validation.count)

    theirs = tune_controller.RayActorManager
    batches = [requests(*map(float, range(20))), requests(20.0), requests(21.0, phase="confirm")]
    finished = {t.request.strength: t for t in run(batches, train=train)}
    assert sorted(finished) == list(range(22))
    assert len(list(tmp_path.iterdir())) <= 2
    assert finished.pop(1.0).reason == "FloatingPointError: planted"
    for trial in finished.values():
        expected = TRAIN(trial.request, QUESTION.data, QUESTION.training, QUESTION.test_rows)
        assert (trial.outcome.predictions["a"] == expected.predictions["a"]).all()
        assert trial.outcome.steps == QUESTION.data.train.count + QUESTION.data.validation.count
    assert finished[20.0].outcome.test_predictions is None
    confirmed = finished[21.0].outcome.test_predictions["a"]
    assert confirmed.shape[1] == QUESTION.test_rows.count
    assert tune_controller.RayActorManager is theirs  # ours was there for that run alone


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_is_replaced_and_its_trial_done_again_but_not_for_ever(tmp_path):
    once, lost = tmp_path / "killed", tmp_path / "lost"

    def train(request, *rest):
        if request.strength == 3.0 or (request.strength == 1.0 and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if request.strength == 2.0 and not lost.exists():
            lost.write_text(str(os.getpid()))
            raise DeviceError("the GPU was lost")
        assert request.strength != 2.0 or lost.read_text() != str(os.getpid())
        return TRAIN(request, *rest)

    batches = [requests(0.0, 1.0, 2.0), requests(3.0)]  # so that its end is that of all
    finished = {t.request.strength: t for t in run(batches, train=train)}
    assert once.exists()
    assert lost.exists()
    assert finished.pop(3.0).reason == (
        "its worker died 3 times, lately for: "
        "its process was killed, perhaps because memory ran out, or it crashed"
    )
    assert sorted(finished) == [0.0, 1.0, 2.0]
    assert all(trial.outcome is not None for trial in finished.values())


class _Away:
    """Training whose code no worker has."""

    def __reduce__(self):
        return import_module, ("encoders_that_nobody_has",)


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_cannot_start_fails_with_its_exception():
    (trial,) = run([requests(1.0)], train=_Away(), workers=1)
    assert trial.reason == (
        "its worker died 3 times, lately for: "
        "ModuleNotFoundError: No module named 'encoders_that_nobody_has'"
    )


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.2])
def test_a_worker_killed_from_outside_costs_no_trial_whenever_it_is(delay, tmp_path):
    pids = tmp_path / "pids"

    def train(request, *rest):
        pids.write_text(str(os.getpid()))
        time.sleep(0.1)
        return TRAIN(request, *rest)

    killed = []

    def record(trial):
        if len(killed) == 0:
            killed.append(int(pids.read_text()))
            threading.Timer(delay, os.kill, (killed[0], signal.SIGKILL)).start()

    finished = run([requests(*map(float, range(8)))], train=train, record=record)
    assert killed
    assert sorted(t.request.number for t in finished) == list(range(8))
    assert [t.reason for t in finished] == [None] * 8


class _Worker:
    def train(self):
        return 1


@pytest.mark.usefixtures("cluster")
def test_an_actor_that_was_ended_because_memory_ran_out_is_lost_like_another():
    manager = _ActorManager(resource_manager=PlacementGroupResourceManager())
    told = []
    actor = manager.add_actor(
        ray.remote(_Worker),
        kwargs={},
        resource_request=ResourceRequest([{"memory": 1}]),
        on_error=lambda _, error: told.append(error),
    )
    while not manager.is_actor_started(actor):
        manager.next(timeout=1)
    task = TrackedActorTask(actor, on_error=lambda _, error: told.append(error))
    manager._actor_task_failed(task, OutOfMemoryError(MEMORY))
    manager.cleanup()
    assert [type(error) for error in told] == [RayActorError, RayActorError]
    assert in_one_line(str(told[0])) == in_one_line(MEMORY)


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_driver_is_raised_not_logged():
    def record(trial):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run([requests(0.0, 1.0), requests(2.0)], record=record)


@pytest.mark.usefixtures("cluster")
def test_an_interrupt_that_python_dropped_does_not_wait_for_the_next_trial(unheard_interrupt):
    def train(request, *rest):
        time.sleep(30 * request.number)
        return TRAIN(request, *rest)

    recorded = []

    def record(trial):
        recorded.append(trial.request.number)
        unheard_interrupt()

    with pytest.raises(KeyboardInterrupt):
        run([requests(0.0, 1.0)], train=train, record=record)
    assert recorded == [0]
