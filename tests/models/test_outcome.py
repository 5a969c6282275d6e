"""Outcomes as bytes, and which replicate is the best."""

import io
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.models.outcome import CURVES, TrainingOutcome


def outcome(seed: int = 0, replicates: int = 3, *, tested: bool, measured: bool = True):
    rng = np.random.default_rng(seed)
    weights = {"encoder.0.weight": rng.normal(size=(1, 4, 2)).astype(np.float32)}
    return TrainingOutcome(
        strength=0.1 + seed,
        seeds=rng.integers(0, 2**62, replicates),
        predictions={
            "a": rng.integers(0, 3, (replicates, 5)).astype(np.int32),
            "b": rng.normal(size=(replicates, 5)).astype(np.float32),
        },
        test_predictions={m: rng.normal(size=(replicates, 2)) for m in "ab"} if tested else None,
        best_epoch={m: rng.integers(0, 4, replicates) for m in "ab"},
        curves={name: rng.normal(size=(replicates, 4)).astype(np.float32) for name in CURVES},
        similarity={"cka": rng.random(replicates)} if measured else {},
        steps=int(rng.integers(0, 2**40)),
        seconds=float(rng.random()),
        weights={"a": weights, "b": weights} if tested else None,
    )


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_equal(value, other[name])
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@given(
    seed=st.integers(0, 2**31),
    replicates=st.integers(1, 4),
    tested=st.booleans(),
    measured=st.booleans(),
)
def test_an_outcome_comes_back_from_bytes_as_it_went(seed, replicates, tested, measured):
    before = outcome(seed, replicates, tested=tested, measured=measured)
    after = TrainingOutcome.from_bytes(before.to_bytes())
    assert_equal(vars(after), vars(before))


def test_the_bytes_are_an_archive_without_pickles():
    content = io.BytesIO(outcome(tested=True).to_bytes())
    with np.load(content, allow_pickle=False) as archive:
        names = set(archive.files)
    assert {"seeds", "scalars", "predictions/a", "weights/b/encoder.0.weight"} <= names


def test_all_but_the_weights_is_compressed():
    with ZipFile(io.BytesIO(outcome(tested=True).to_bytes())) as archive:
        stored = {e.filename for e in archive.infolist() if e.compress_type == ZIP_STORED}
    assert stored == {f"weights/{m}/encoder.0.weight.npy" for m in "ab"}


def test_the_best_replicate_had_the_least_loss_in_any_epoch_before_it_stopped():
    made = outcome(tested=False)
    made.curves["validation_loss_a"][:] = [
        [3, 2, 4, np.nan],
        [5, 1, np.nan, np.nan],
        [2, 2, 2, 2],
    ]
    assert made.best_loss("a") == pytest.approx([2, 1, 2])
    assert made.best_replicate("a") == 1
