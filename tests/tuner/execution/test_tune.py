"""Trials on a real Ray cluster, with a stand-in for training."""

import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial

import pytest

from tests.support import worlds
from tests.support.simulated import simulate
from tuner.execution.cluster import ray_cluster
from tuner.execution.distributed import train_together
from tuner.execution.tune import run_trials
from tuner.execution.worker import Resources, train_request
from tuner.models.config import TrainingConfig
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


def run(batches, train=TRAIN, record=None, workers=2, resources=Resources()):  # noqa: B008  # it is frozen
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
        resources=resources,
    )
    return finished


@pytest.mark.usefixtures("cluster")
def test_two_ray_train_workers_give_the_trial_of_one():
    asked = [replace(requests(0.5, phase="confirm")[0], seeds=(1, 2, 3))]
    (alone,) = run([asked], train=train_request)
    resources = Resources(ranks=2)
    (together,) = run([asked], partial(train_together, resources=resources), resources=resources)
    assert together.reason is None
    one, two = alone.outcome, together.outcome
    assert one.steps == two.steps
    for name, weights in one.weights["a"].items():
        assert two.weights["a"][name] == pytest.approx(weights, abs=1e-4), name
    for name, curve in one.curves.items():
        assert two.curves[name] == pytest.approx(curve, rel=1e-3), name


@pytest.mark.usefixtures("cluster")
def test_batches_run_one_after_another_and_all_is_recorded():
    finished = run([requests(0.0, 1.0, 2.0), requests(3.0)])
    assert {t.request.strength for t in finished[:3]} == {0.0, 1.0, 2.0}
    assert finished[3].request.strength == 3.0
    for trial in finished:
        expected = TRAIN(trial.request, QUESTION.data, QUESTION.training, QUESTION.test_rows)
        assert (trial.outcome.predictions["a"] == expected.predictions["a"]).all()


@pytest.mark.usefixtures("cluster")
def test_a_worker_trains_one_trial_after_another(tmp_path):
    def train(*arguments):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.02)
        return TRAIN(*arguments)

    batches = [
        requests(*map(float, range(20))),
        requests(20.0),
        requests(*map(float, range(21, 40))),
    ]
    finished = run(batches, train=train)
    assert sorted(t.request.strength for t in finished) == list(range(40))
    assert len(list(tmp_path.iterdir())) <= 2


@pytest.mark.usefixtures("cluster")
def test_only_a_confirmation_sees_test_rows():
    def spy(request, data, config, test):
        outcome = TRAIN(request, data, config, test)
        return replace(outcome, steps=data.train.count + data.validation.count)

    (search,) = run([requests(0.5)], train=spy)
    assert search.outcome.test_predictions is None
    assert search.outcome.steps == QUESTION.data.train.count + QUESTION.data.validation.count
    (confirm,) = run([requests(0.5, phase="confirm")])
    assert confirm.outcome.test_predictions["a"].shape[1] == QUESTION.test_rows.count


@pytest.mark.usefixtures("cluster")
def test_what_training_raises_is_the_reason_and_the_rest_goes_on():
    def train(request, *rest):
        if request.strength == 1.0:
            raise FloatingPointError("planted")
        return TRAIN(request, *rest)

    finished = {t.request.strength: t for t in run([requests(0.0, 1.0, 2.0)], train=train)}
    assert finished[1.0].reason == "FloatingPointError: planted"
    assert finished[0.0].outcome is not None
    assert finished[2.0].outcome is not None


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_is_replaced_and_its_trial_done_again(tmp_path):
    once = tmp_path / "killed"

    def train(request, *rest):
        if request.strength == 1.0 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return TRAIN(request, *rest)

    finished = {t.request.strength: t for t in run([requests(0.0, 1.0, 2.0)], train=train)}
    assert once.exists()
    assert finished[1.0].outcome is not None
    assert len(finished) == 3


@pytest.mark.usefixtures("cluster")
def test_a_trial_that_always_kills_its_worker_fails_with_the_cause():
    def train(request, *rest):
        if request.strength == 1.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return TRAIN(request, *rest)

    batches = [requests(0.0, 2.0), requests(1.0)]  # so that its end is that of all
    finished = {t.request.strength: t for t in run(batches, train=train)}
    assert finished[1.0].reason.startswith("its worker died 3 times, lately for: The actor died")
    assert finished[2.0].outcome is not None


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


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_driver_is_raised_not_logged():
    def record(trial):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run([requests(0.0, 1.0), requests(2.0)], record=record)


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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
