"""Rows on a real Ray cluster: those in memory, and those in files that each machine maps."""

import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray

from tests.support import worlds
from tests.support.servers import until
from tuner.execution.cluster import ray_cluster
from tuner.execution.tune import run_trials
from tuner.execution.workers.distributed import train_together
from tuner.execution.workers.shared_rows import SharedRows
from tuner.execution.workers.worker import Resources, train_in_worker, train_request
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.rows import Rows
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import Train, TrialRequest

pytestmark = pytest.mark.integration
SPEC = StudySpec(training=TrainingConfig(epochs=2))
_WORKERS = 3


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(None, _WORKERS) as started:
        started.wait_until_ready()
        yield


def study(limit: int) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", limit)
        return Study.of(SPEC, worlds.null(0, rows=600))


ASKED = TrialRequest(phase="confirm", number=1, strength=0.5, seeds=(1, 2))
HELD, MAPPED = study(2**30), study(100)
OTHER = Study.of(SPEC, worlds.null(1, rows=600))


def arrays(*splits: Rows):
    return [values for rows in splits for values in vars(rows).values() if values is not None]


@ray.remote
def what_comes(shared: SharedRows, temporary: str | None = None):
    """The rows as a worker has them, and which files they are."""
    if temporary is not None:  # a machine of its own
        tempfile.tempdir = temporary
    data, test = shared.get()
    if temporary is not None:  # a process that is done would be given another's turn
        Path(temporary, f"{os.getpid()}.has-them").touch()
        until(lambda: len(list(Path(temporary).glob("*.has-them"))) == _WORKERS, 60.0)
    found = arrays(data.train, data.validation, test)
    files = {each.filename: Path(each.filename).stat().st_ino for each in found if _is_mapped(each)}
    return [np.array(each) for each in found], files, os.getpid()


def _is_mapped(array):
    return isinstance(array, np.memmap)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("asked", [HELD, MAPPED], ids=["held", "mapped"])
def test_workers_have_the_rows_of_the_driver(asked):
    shared = SharedRows.of(asked.data, asked.test_rows)
    found, names, _ = ray.get(what_comes.remote(shared))
    expected = arrays(HELD.data.train, HELD.data.validation, HELD.test_rows)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    driver = arrays(asked.data.train, asked.data.validation, asked.test_rows)
    assert set(names) == {each.filename for each in driver if _is_mapped(each)}
    assert bool(names) == (asked is MAPPED)


@pytest.mark.usefixtures("cluster")
def test_another_machine_copies_every_file_once(tmp_path):
    shared = SharedRows.of(MAPPED.data, MAPPED.test_rows)
    elsewhere = replace(shared, _folder=Path("/nowhere") / shared._folder.name, _block=1000)
    told = ray.get([what_comes.remote(elsewhere, str(tmp_path)) for _ in range(_WORKERS)])
    assert len({process for *_, process in told}) == _WORKERS
    expected = arrays(HELD.data.train, HELD.data.validation, HELD.test_rows)
    for found, files, _ in told:
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert files == told[0][1]  # the same inodes
        assert all(Path(name).is_relative_to(tmp_path) for name in files)


def read_again(calls: Path, asked: str | None):
    """Read rows where they lie, and tell that it was done."""
    with calls.open("ab") as file:
        file.write(b"1")
    if asked is None:
        raise FileNotFoundError("it is gone")
    found = {"held": HELD, "mapped": MAPPED, "other": OTHER}[asked]
    return found.data, found.test_rows


@pytest.fixture
def large(monkeypatch):
    """Rows are worth reading, however few."""
    monkeypatch.setattr("tuner.execution.workers.source.WORTH_BYTES", 1)


def on_another_machine(asked: Study, folder: Path, lies: str | None):
    """Return what three workers of another machine get, and how often it read where data lie."""
    read = partial(read_again, folder / "calls", lies)
    shared = SharedRows.of(asked.data, asked.test_rows, read)
    elsewhere = replace(shared, _source=replace(shared._source, driver="another"))
    if shared._folder is not None:
        elsewhere = replace(elsewhere, _folder=Path("/nowhere") / shared._folder.name)
    temporary = folder / "temporary"
    temporary.mkdir()
    told = ray.get([what_comes.remote(elsewhere, str(temporary)) for _ in range(_WORKERS)])
    assert len({process for *_, process in told}) == _WORKERS
    return told, len((folder / "calls").read_bytes())


@pytest.mark.usefixtures("cluster", "large")
@pytest.mark.parametrize(
    ("asked", "lies"),
    [
        pytest.param(MAPPED, "mapped", id="mapped"),
        pytest.param(HELD, "mapped", id="mapped there alone", marks=pytest.mark.system),
        pytest.param(HELD, "other", id="others lie there"),
        pytest.param(MAPPED, None, id="nothing lies there", marks=pytest.mark.system),
    ],
)
def test_another_machine_reads_where_the_data_lie_once_and_has_the_rows_of_the_driver(
    tmp_path, asked, lies
):
    told, times = on_another_machine(asked, tmp_path, lies)
    assert times == 1
    for found, files, _ in told:
        for ours, theirs in zip(
            found, arrays(HELD.data.train, HELD.data.validation, HELD.test_rows), strict=True
        ):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            assert ours.tobytes() == theirs.tobytes()
        assert bool(files) == (asked is MAPPED)
        assert files == told[0][1]  # the same inodes
        assert all(Path(name).is_relative_to(tmp_path) for name in files)
        assert len({Path(name).name for name in files}) == len(files)


@pytest.mark.usefixtures("cluster")
def test_the_machine_of_the_driver_reads_nothing_and_few_rows_are_sent(tmp_path, monkeypatch):
    read = partial(read_again, tmp_path / "calls", "held")
    assert SharedRows.of(HELD.data, HELD.test_rows, read)._source is None
    total = sum(e.nbytes for e in arrays(HELD.data.train, HELD.data.validation, HELD.test_rows))
    for worth, is_read in ((total + 1, False), (total, True)):
        monkeypatch.setattr("tuner.execution.workers.source.WORTH_BYTES", worth)
        shared = SharedRows.of(HELD.data, HELD.test_rows, read)
        assert (shared._source is not None) == is_read
    ray.get(what_comes.remote(shared))
    assert not (tmp_path / "calls").exists()


def run(asked: Study, train: Train, resources: Resources):
    """Have Tune train one trial on the rows of a study."""
    finished = []
    run_trials(
        asked.data,
        asked.test_rows,
        HELD.training,
        lambda running: [] if finished or running else [ASKED],
        finished.append,
        workers=1,
        train=train,
        resources=resources,
    )
    assert finished[0].reason is None
    return finished[0].outcome


@pytest.fixture(scope="module")
def alone():
    """The trial of one process."""
    prepare_process()
    return train_request(ASKED, HELD.data, HELD.training, HELD.test_rows)


@pytest.mark.usefixtures("cluster")
def test_a_search_on_mapped_rows_finds_what_one_on_held_rows_does(alone):
    mapped = run(MAPPED, partial(train_in_worker, threads=1, checkpoints=None), Resources())
    for name, curve in alone.curves.items():
        np.testing.assert_array_equal(mapped.curves[name], curve)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(MAPPED, id="mapped", marks=pytest.mark.system),
        pytest.param(HELD, id="held", marks=pytest.mark.soak),
    ],
)
def test_two_processes_give_the_trial_of_one(asked, alone):
    resources = Resources(ranks=2)
    together = run(asked, partial(train_together, resources=resources), resources)
    assert together.steps == alone.steps
    for name, weights in alone.weights["a"].items():
        assert together.weights["a"][name] == pytest.approx(weights, abs=1e-4), name
    for name, curve in alone.curves.items():
        assert together.curves[name] == pytest.approx(curve, rel=1e-3), name


@pytest.mark.parametrize("phase", ["search", "confirm"])
def test_training_on_files_gives_the_same_bits(phase):
    request = replace(ASKED, phase=phase)
    held, mapped = (
        train_request(request, asked.data, HELD.training, asked.test_rows)
        for asked in (HELD, MAPPED)
    )
    for name, curve in held.curves.items():
        assert curve.tobytes() == mapped.curves[name].tobytes(), name
    for side in ("a", "b"):
        np.testing.assert_array_equal(held.predictions[side], mapped.predictions[side])
    assert held.similarity["cka"].tobytes() == mapped.similarity["cka"].tobytes()
