"""Weights beside the store: whole, once, and no longer than something names them."""

import logging
import re
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from tests.tuner.storage.test_studies import trial
from tuner.errors import EncoderNotKeptError
from tuner.models.weights import WeightsFile
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.storage.tables import StudyRow
from tuner.storage.weights import WeightFiles, WeightStore


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return str(tmp_path / "w") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/w"


@pytest.fixture
def weights(store, place):
    return WeightStore(store.database, place)


@pytest.fixture
def store(store) -> StudyStore:
    """One with two studies in it."""
    for study in ("s1", "s2"):
        store.open(study, name="n", fingerprint="f" * 64, spec={})
    return store


def confirmation(value=0.5, number=0):
    """One with weights of that value."""
    finished = trial(number, phase="confirm")
    state = {
        "a": {"head.weight": np.full((1, 2, 3), value, np.float32)},
        "b": {"head.weight": np.full((1, 7), value, np.float32)},
    }
    return replace(finished, outcome=replace(finished.outcome, weights=state))


def digests(value):
    state = confirmation(value).outcome.weights
    return {WeightsFile(each).digest for each in state.values()}


def delete(store, study):
    with store.database.session() as session:
        session.delete(session.get(StudyRow, study))


def listed(place):
    files, folder = fsspec.url_to_fs(place)
    return {path.rpartition("/")[2] for path in files.find(folder)}


def test_weights_come_back_as_they_were_trained(store, weights, place):
    before = confirmation()
    store.record("s1", weights.keep("s1", before))
    (after,) = store.trials("s1")
    assert after.outcome.weights is None
    for modality, state in before.outcome.weights.items():
        loaded = WeightFiles(place).load(after, modality)
        assert loaded.keys() == state.keys()
        np.testing.assert_array_equal(loaded["head.weight"], state["head.weight"])
        assert loaded["head.weight"].dtype == np.float32
    assert listed(place) == set(after.weights.digests.values()) == digests(0.5)


def test_a_trial_without_weights_stays_as_it_is(weights, place):
    search, failed = trial(0), trial(1, reason="NaN")
    assert weights.keep("s1", search) is search
    assert weights.keep("s1", failed) is failed
    assert listed(place) == set()


def test_what_an_earlier_version_kept_in_the_row_is_read_from_there(store, place):
    store.record("s1", confirmation(2.0))
    (after,) = store.trials("s1")
    assert WeightFiles(place).load(after, "a")["head.weight"].max() == 2.0


def test_equal_weights_are_one_file_until_the_last_study_goes(store, weights, place):
    for study in ("s1", "s2"):
        store.record(study, weights.keep(study, confirmation()))
    assert listed(place) == digests(0.5)
    delete(store, "s1")
    weights.sweep()
    assert listed(place) == digests(0.5)
    delete(store, "s2")
    weights.sweep()
    assert listed(place) == set()


def test_a_longer_study_keeps_the_weights_that_it_began_with(store, weights, place):
    store.record("s1", weights.keep("s1", confirmation(2.0)))
    question = {"name": "n", "fingerprint": "f" * 64, "spec": {"seed": 0}}
    store.open("longer", **question, shorter=["s1"])
    delete(store, "s1")
    weights.sweep("longer")
    assert listed(place) == digests(2.0)
    (kept,) = store.trials("longer")
    assert WeightFiles(place).load(kept, "a")["head.weight"].max() == 2.0


def test_what_no_trial_came_to_name_goes_when_the_study_is_taken_up(store, weights, place):
    """As a driver leaves it that is killed between the file and the row."""
    store.record("s1", weights.keep("s1", confirmation(1.0)))
    weights.keep("s1", confirmation(2.0, number=1))
    weights.keep("s2", confirmation(3.0))
    weights.sweep()  # both may be at work
    assert listed(place) == digests(1.0) | digests(2.0) | digests(3.0)
    weights.sweep("s1")
    assert listed(place) == digests(1.0) | digests(3.0)
    delete(store, "s2")
    weights.sweep()
    assert listed(place) == digests(1.0)


@pytest.mark.integration
def test_a_process_that_is_killed_while_it_writes_leaves_nothing_for_good(tmp_path):
    url, place = f"sqlite:///{tmp_path / 'studies.db'}", tmp_path / "w"
    program = """
        import os, sys
        from tests.tuner.storage.test_weights import confirmation
        from tuner.models.weights import WeightsFile
        from tuner.storage.database import Database
        from tuner.storage.weights import WeightStore

        whole = WeightsFile.chunks
        def some(file):
            chunks = whole(file)
            yield next(chunks)
            yield next(chunks)
            os.kill(os.getpid(), 9)
        weights = WeightStore(Database(sys.argv[1]), sys.argv[2])
        made = WeightsFile.__init__
        def make(file, state):
            made(file, state)
            file.chunks = lambda: some(file)
        WeightsFile.__init__ = make
        weights.keep("s1", confirmation())
    """
    with Database(url) as database:
        store, weights = StudyStore(database), WeightStore(database, str(place))
        store.open("s1", name="n", fingerprint="f" * 64, spec={})
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program), url, str(place)])
        assert killed.returncode == -9
        assert listed(str(place)) != set()
        assert not listed(str(place)) & digests(0.5)
        store.record("s1", weights.keep("s1", confirmation()))
        assert listed(str(place)) == digests(0.5)
        delete(store, "s1")
        weights.sweep()
        assert listed(str(place)) == set()


def test_half_a_file_is_swept_away_and_never_taken_for_a_whole_one(store, weights, place):
    kept = weights.keep("s1", confirmation())
    files, folder = fsspec.url_to_fs(place)
    path = f"{folder}/{kept.weights.digests['a']}"
    files.pipe_file(f"{path}.s1.part", b"cut")
    files.pipe_file(path, b"short")
    weights.sweep("s1")
    assert listed(place) == set()
    kept = weights.keep("s1", confirmation())
    files.pipe_file(path, b"short")  # as a disk does that lost power
    kept = weights.keep("s1", confirmation())
    assert WeightFiles(place).load(kept, "a")["head.weight"].max() == 0.5


def test_what_cannot_be_written_costs_the_encoder_and_leaves_the_trial(store, tmp_path, caplog):
    (tmp_path / "file").touch()
    weights = WeightStore(store.database, str(tmp_path / "file" / "w"))
    store.record("s1", weights.keep("s1", confirmation()))
    (after,) = store.trials("s1")
    assert after.outcome.weights is None
    assert after.weights.digests == {}
    with pytest.raises(
        EncoderNotKeptError,
        match=r"^The encoder of A is not registered: its weights could not be written to .*/file/w"
        r": .*Not a directory.*\. Another --seed trains it anew$",
    ):
        WeightFiles(str(tmp_path)).load(after, "a")
    assert "the encoder of A is lost" in caplog.text


def test_a_disk_that_is_full_is_left_without_halves(weights, place, monkeypatch):
    def full(file):
        yield b"some"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WeightsFile, "chunks", full)
    file = object.__new__(WeightsFile)
    file.digest, file.size = "d" * 64, 100
    with pytest.raises(OSError, match="No space left"):
        WeightFiles(place).write(file, "s1")
    assert listed(place) == set()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"are not there. If they are in another folder, set TUNER_HOME or TUNER_CHECK"),
        (b"", r"cannot be read: the file is damaged, it holds something else than was written"),
        (b"other", r"cannot be read: the file is damaged"),
    ],
)
def test_weights_that_are_lost_or_damaged_are_told_by_a_sentence(weights, place, content, sentence):
    kept = weights.keep("s1", confirmation())
    files, folder = fsspec.url_to_fs(place)
    path = f"{folder}/{kept.weights.digests['b']}"
    files.rm_file(path)
    if content is not None:
        files.pipe_file(path, content)
    file = re.escape(f"{place}/{kept.weights.digests['b']}")
    with pytest.raises(
        EncoderNotKeptError,
        match=f"^The encoder of B is not registered: its weights, {file}, {sentence}",
    ):
        WeightFiles(place).load(kept, "b")
    assert WeightFiles(place).load(kept, "a").keys() == {"head.weight"}


def test_files_that_cannot_be_removed_are_tried_again(store, tmp_path, caplog):
    weights = WeightStore(store.database, str(tmp_path))
    kept = weights.keep("s1", confirmation())
    in_the_way = tmp_path / kept.weights.digests["a"]
    in_the_way.unlink()
    in_the_way.mkdir()
    delete(store, "s1")
    with caplog.at_level(logging.WARNING):
        weights.sweep()
    assert "are left for later" in caplog.text
    in_the_way.rmdir()
    weights.sweep()
    assert not [path for path in Path(tmp_path).iterdir() if path.name in digests(0.5)]


def test_what_another_study_just_found_to_be_there_is_not_removed(store, tmp_path, monkeypatch):
    sweeper, writer = (WeightStore(store.database, str(tmp_path / "w")) for _ in range(2))
    sweeper.keep("s1", confirmation())
    delete(store, "s1")
    removing, remove = threading.Event(), WeightFiles.remove

    def remove_late(files, digest):
        removing.set()
        time.sleep(0.3)
        remove(files, digest)

    monkeypatch.setattr(WeightFiles, "remove", remove_late)
    with ThreadPoolExecutor(1) as pool:
        swept = pool.submit(sweeper.sweep)
        removing.wait()
        kept = writer.keep("s2", confirmation())
        swept.result()
    for modality in "ab":
        assert WeightFiles(str(tmp_path / "w")).load(kept, modality)
