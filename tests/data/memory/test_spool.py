"""Data too large for memory: read, checked, standardised and trained from mapped files."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import data
from tuner.data.memory.scratch import scratch
from tuner.data.memory.spool import Spool, is_spooled, select, will_read


@pytest.fixture
def small(monkeypatch):
    """Memory for a few numbers only."""
    monkeypatch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", 100)


@pytest.mark.slow
@given(
    st.lists(st.binary(max_size=40), max_size=12),
    st.sampled_from([0, 1, 60, 10_000]),
    st.sampled_from("CF"),
)
def test_what_comes_out_is_what_went_in(pieces, limit, order):
    whole = b"".join(pieces)
    rows = len(whole) // 2
    spool = Spool()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", limit)
        for piece in pieces:
            spool.write(piece)
    spool.write(b"\0" * (2 * rows + 2 - len(whole)))
    array = spool.array(np.uint8, (rows + 1, 2), order=order)
    expected = np.frombuffer(whole + b"\0" * (2 * rows + 2 - len(whole)), np.uint8)
    np.testing.assert_array_equal(array, expected.reshape((rows + 1, 2), order=order))
    assert isinstance(array, np.memmap) == (any(pieces) and len(whole) > limit)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_file_goes_when_nothing_needs_it():
    def files():
        gc.collect()
        return {path for path in scratch().path.iterdir() if path.name != "lock"}

    before = files()
    spool = Spool()
    spool.write(b"x" * 1000)
    array = spool.array(np.uint8, (10, 100))
    assert len(files() - before) == 1
    del spool
    (path,) = files() - before
    view = array[3]
    del array
    assert (view == ord("x")).all()
    del view
    assert not path.exists()
    abandoned = Spool()
    abandoned.write(b"x" * 1000)
    del abandoned
    assert files() == before


@pytest.mark.usefixtures("small")
def test_rows_are_selected_without_being_whole_in_memory():
    spool = Spool()
    spool.append(np.arange(3000.0))
    array = spool.array(np.float64, (1000, 3))
    rows = np.array([5, 5, 999, 0] * 100)
    will_read(array, rows)
    chosen = select(array, rows)
    assert isinstance(chosen, np.memmap)
    np.testing.assert_array_equal(chosen, np.asarray(array)[rows])


def saved(folder, arrays):
    """The same arrays in every kind of file."""
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    np.savez(folder / "columns.npz", **{n: np.asfortranarray(each) for n, each in arrays.items()})
    columns = {name: pa.array(array.tolist()) for name, array in arrays.items()}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return sorted(folder.iterdir())


def padded(seed=0, rows=400):
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=(rows, 30)).astype(np.float32),
        "b": rng.normal(size=(rows, 6, 5)).astype(np.float32),
        "b_mask": np.arange(6) < rng.integers(1, 7, (rows, 1)),
        "y": rng.integers(0, 3, rows),
        "group": np.char.add("g", rng.integers(0, 150, rows).astype(str)),
    }


def test_a_mapped_data_set_is_the_same_data_set(tmp_path, monkeypatch):
    from tuner.models.rows import Split, TrainingData

    for path in saved(tmp_path, padded()):
        held = data.read(path)
        with monkeypatch.context() as patch:
            patch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", 100)
            patch.setattr("tuner.data.memory.blocks.BLOCK_VALUES", 70)
            mapped = data.read(path)
            rows = TrainingData.of(mapped)
        assert isinstance(mapped.a.values, np.memmap)
        assert isinstance(rows.train.b, np.memmap)
        assert mapped.fingerprint == held.fingerprint
        assert mapped.warnings == held.warnings
        for side in ("a", "b"):
            theirs = getattr(held, side).values
            np.testing.assert_array_equal(getattr(mapped, side).values, theirs)
        expected = TrainingData.of(held)
        for split in Split:
            ours, theirs = rows.scaling.rows(mapped, split), expected.scaling.rows(held, split)
            np.testing.assert_allclose(ours.a, theirs.a, atol=1e-6)
            np.testing.assert_allclose(ours.b, theirs.b, atol=1e-6)
            np.testing.assert_array_equal(ours.target, theirs.target)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["nan", "infinite", "constant", "large", "bare mask"])
def test_what_is_wrong_is_found_in_a_mapped_data_set_too(tmp_path, monkeypatch, fault):
    arrays = padded()
    if fault == "nan":
        arrays["a"][[7, 390], 3] = np.nan
    elif fault == "infinite":
        arrays["b"][399, 0, 0] = -np.inf
    elif fault == "constant":
        arrays["b"][:] = 2.0
    elif fault == "large":
        arrays["a"] = arrays["a"].astype(np.float64)
        arrays["a"][3] = 1e39
    else:
        arrays["b_mask"][17] = False
    for path in saved(tmp_path, arrays):
        with pytest.raises(data.DataError) as held:
            data.read(path)
        with monkeypatch.context() as patch:
            patch.setattr("tuner.data.memory.spool.IN_MEMORY_BYTES", 100)
            patch.setattr("tuner.data.memory.blocks.BLOCK_VALUES", 70)
            with pytest.raises(data.DataError) as mapped:
                data.read(path)
        assert mapped.value.findings == held.value.findings


_WITHIN = """
import resource, sys
from pathlib import Path
import numpy as np
import torch
from tuner.data import read
from tuner.data.memory import spool
from tuner.data.information.profile import information_profile
from tuner.models.config import TrainingConfig
from tuner.models.rows import Split, TrainingData
from tuner.models.training.loop import train

torch.set_num_threads(1)
used = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
limit = int(used.split()[1]) * 1024 + 150 * 2**20
spool.IN_MEMORY_BYTES = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
dataset = read(sys.argv[1])
rows = TrainingData.of(dataset)
test = rows.scaling.rows(dataset, Split.TEST)
config = TrainingConfig(encoder_a="mlp", encoder_b="mlp", epochs=1, hidden=32)
outcome = train(rows, config, strength=1.0, seeds=[1, 2], test=test)
print(outcome.steps, len(outcome.test_predictions["a"][0]))
"""


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits private memory alone")
def test_a_data_set_of_more_than_memory_is_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1000, 1024)).astype(np.float32)
    large = np.tile(noise, (24, 1))  # 94 MiB each, of float32
    np.savez(tmp_path / "large.npz", a=large, b=large[::-1], y=np.arange(24_000) % 2)

    def run(limit):
        command = [sys.executable, "-c", _WITHIN, tmp_path / "large.npz", str(limit)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    mapped = run(2**20)
    assert mapped.returncode == 0, mapped.stderr
    assert mapped.stdout.split() == ["262", "3600"]
    assert "MemoryError" in run(2**40).stderr


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="limits differ elsewhere")
def test_a_full_folder_is_named_with_what_to_do(tmp_path):
    np.savez(tmp_path / "data.npz", **padded())
    script = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tuner.data import read\nfrom tuner.data.inspection import inspect\n"
        "from tuner.data.memory import spool\nspool.IN_MEMORY_BYTES = 100\n"
        "print(*inspect(sys.argv[1]).errors)\nread(sys.argv[1])"
    )
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; exec "$0" -B -c "$1" "$2"', sys.executable, script, "data.npz"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path}: has no room" in ended.stderr
    assert f"{tmp_path}: has no room" in ended.stdout
    assert "TMPDIR" in ended.stderr


def test_memory_that_a_spool_filled_is_told_from_that_of_others():
    spool = Spool()
    spool.append(np.arange(6, dtype=np.float32).reshape(2, 3))
    array = spool.array(np.float32, (2, 3))
    assert is_spooled(array)
    assert is_spooled(array[1:])
    assert not is_spooled(array.copy())
    assert not is_spooled(np.frombuffer(bytearray(8), np.float32))
    assert not is_spooled(np.frombuffer(memoryview(bytearray(8)), np.float32))


def test_arrays_of_a_caller_are_copied_and_those_of_a_file_are_not(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(60, 3)).astype(np.float32) for name in "ab"}
    arrays["y"] = np.arange(60) % 2
    held = data.from_arrays(arrays, name="caller")
    before = held.a.values.copy()
    arrays["a"][:] = 0
    np.testing.assert_array_equal(held.a.values, before)

    np.savez(tmp_path / "file.npz", **arrays | {"a": before})
    read = data.read(tmp_path / "file.npz")
    assert read.fingerprint == held.fingerprint
    assert is_spooled(read.a.values)
    assert read.a.values.flags.c_contiguous
