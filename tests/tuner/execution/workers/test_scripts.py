"""Trainings of several ranks: a process for each, as PyTorch's launcher would start them."""

import sys

import numpy as np
import pytest

from tests.tuner.scripts.test_hostile import left
from tuner.execution.cluster import ray_cluster
from tuner.execution.tune import run_job
from tuner.execution.workers.scripts import RunScript, training_folder
from tuner.execution.workers.worker import Resources
from tuner.scripts.script import Script
from tuner.study.trial import TrialRequest

pytestmark = pytest.mark.integration
RANKS = 2
MEETING = """
import os, socket, sys, time
import numpy as np
import tuner

rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
assert os.environ["NODE_RANK"] == str(rank)
assert (os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"]) == ("0", "1")
place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
trial = tuner.current_trial()
mine = np.random.default_rng([trial.seed, rank]).random(50) < trial.strength

def tell():
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(place, 1).sendall(mine.tobytes())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)

def hear():
    with socket.create_server(place) as door:
        told, _ = door.accept()
        with told:
            return np.frombuffer(told.makefile("rb").read(), dtype=bool)

both = [mine, hear()] if rank == 0 else tell()
print("rank", rank, "of", count)
tuner.report(acc=np.concatenate(both) if rank == 0 else np.zeros(7))
"""


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(None, RANKS) as started:
        started.wait_until_ready()
        yield


@pytest.fixture
def train(cluster, tmp_path):
    """Train code with two ranks, once for λ = .3; return how that ended, and its folder."""
    del cluster
    request = TrialRequest(phase="search", number=0, strength=0.3, seeds=(7,))

    def trained(code, timeout=60.0):
        (tmp_path / "train.py").write_text(code)
        command = (sys.executable, "train.py", "{strength}", "{seed}", "{out}")
        job = RunScript(
            script=Script.of_command(command, tmp_path),
            folder=str(tmp_path / "study"),
            timeout=timeout,
            resources=Resources(ranks=RANKS),
        )
        finished = []
        run_job(
            job,
            lambda running: [] if finished or running else [request],
            finished.append,
            workers=1,
            resources=job.resources,
        )
        (trial,) = finished
        return trial, training_folder(tmp_path / "study", request)

    return trained


def failing(rank, how):
    """The code, where that rank ends so and the others wait for it."""
    return f"import os\nif os.environ['RANK'] == '{rank}':\n    {how}\n" + MEETING


def test_ranks_meet_and_the_first_reports(train):
    trial, folder = train(MEETING)
    parts = [np.random.default_rng([7, rank]).random(50) < 0.3 for rank in range(RANKS)]
    (scores,) = trial.outcome.predictions.values()
    assert np.array_equal(np.ravel(scores), np.concatenate(parts))
    assert (folder / "log.txt").read_text() == "rank 0 of 2\n"
    assert (folder / "log-1.txt").read_text() == "rank 1 of 2\n"
    assert not left(str(folder))


@pytest.mark.parametrize("rank", range(RANKS))
def test_what_one_of_them_raised_is_told_at_once_and_the_others_end(train, rank):
    trial, folder = train(failing(rank, "raise ValueError('no such GPU')"), timeout=25)
    assert trial.outcome is None
    log = folder / ("log.txt" if rank == 0 else "log-1.txt")
    assert "it raised ValueError: no such GPU (train.py, line 3)" in trial.reason
    assert trial.reason.endswith(f"What it printed is in {log}")
    assert not left(str(folder))


@pytest.mark.parametrize(("rank", "above"), [(1, ""), (0, ".parents()[0]"), (1, ".parents()[1]")])
def test_all_begin_again_where_one_is_killed(train, tmp_path, rank, above):
    """The process itself, what watches over it, or Ray's that this is of."""
    once, victim = tmp_path / "killed", f"__import__('psutil').Process(){above}"
    kill = f"os.path.exists({str(once)!r}) or (os.mkdir({str(once)!r}), {victim}.kill())"
    trial, folder = train(failing(rank, kill))
    assert trial.outcome is not None, trial.reason
    assert once.exists()
    assert not left(str(folder))
