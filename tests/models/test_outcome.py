"""Outcomes as bytes, and which replicate is the best."""

import io
from dataclasses import replace
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.models.outcome import (
    RULES,
    KeptByAccuracy,
    TrainingOutcome,
    curve_names,
    joined,
    weights_name,
)


def outcome(
    seed: int = 0, replicates: int = 3, *, tested: bool, measured: bool = True, both: bool = False
):
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
        curves={
            name: rng.normal(size=(replicates, 4)).astype(np.float32)
            for name in curve_names("classification")
        },
        similarity={"cka": rng.random(replicates)} if measured else {},
        similarity_null=(
            {"cka": rng.random((replicates, 3)).astype(np.float32)} if measured else {}
        ),
        steps=int(rng.integers(0, 2**40)),
        seconds=float(rng.random()),
        weights=(
            {weights_name(m, rule): weights for m in "ab" for rule in RULES[: 1 + both]}
            if tested
            else None
        ),
        by_accuracy=kept_by_accuracy(rng, replicates) if both else None,
        environment={"device": "cpu", "torch": "2"} if measured else {},
        together=(
            {"loss/loss/fused": rng.integers(0, 3, (replicates, 2)).astype(np.int32)}
            if tested and measured
            else {}
        ),
    )


def kept_by_accuracy(rng, replicates):
    return KeptByAccuracy(
        predictions={m: rng.integers(0, 3, (replicates, 5)) for m in "ab"},
        test_predictions={m: rng.integers(0, 3, (replicates, 2)) for m in "ab"},
        best_epoch={m: rng.integers(0, 4, replicates) for m in "ab"},
        crossed={
            f"{rule}/{m}": rng.integers(0, 3, (replicates, 5)) for m in "ab" for rule in RULES
        },
    )


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_equal(value, other[name])
    elif isinstance(one, KeptByAccuracy):
        assert_equal(vars(one), vars(other))
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
    both=st.booleans(),
)
def test_an_outcome_comes_back_from_bytes_as_it_went(seed, replicates, tested, measured, both):
    before = outcome(seed, replicates, tested=tested, measured=measured, both=tested and both)
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


def test_an_outcome_of_before_there_was_a_null_is_read():
    before = replace(outcome(tested=True), similarity_null={})
    after = TrainingOutcome.from_bytes(before.to_bytes())
    assert after.similarity_null == {}
    assert after.similarity.keys() == {"cka"}


def test_the_best_replicate_had_the_least_loss_in_any_epoch_before_it_stopped():
    made = outcome(tested=False)
    made.curves["validation_loss_a"][:] = [
        [3, 2, 4, np.nan],
        [5, 1, np.nan, np.nan],
        [2, 2, 2, 2],
    ]
    assert made.best_loss("a") == pytest.approx([2, 1, 2])
    assert made.best_replicate("a") == 1


def test_by_accuracy_the_best_replicate_is_the_most_accurate_and_of_these_has_the_least_loss():
    made = outcome(tested=True, both=True)
    made.by_accuracy.best_epoch["a"][:] = [1, 0, 2]
    made.curves["validation_accuracy_a"][[0, 1, 2], [1, 0, 2]] = [0.9, 0.9, 0.8]
    made.curves["validation_loss_a"][[0, 1, 2], [1, 0, 2]] = [3, 2, 1]
    assert made.best_replicate("a", "accuracy") == 1
    assert made.kept_by({"a": "accuracy", "b": "loss"}).best_replicate("a") == 1


def test_each_modality_has_what_its_rule_kept():
    made = outcome(tested=True, both=True)
    kept = made.kept_by({"a": "accuracy", "b": "loss"})
    for part in ("predictions", "test_predictions", "best_epoch"):
        assert getattr(kept, part)["a"] is getattr(made.by_accuracy, part)["a"]
        assert getattr(kept, part)["b"] is getattr(made, part)["b"]
    assert (kept.curves, kept.similarity) == (made.curves, made.similarity)


def test_what_has_no_other_rule_stays_as_it_is():
    made = outcome(tested=True)
    assert made.kept_by({"a": "accuracy", "b": "accuracy"}) is made


@given(seed=st.integers(0, 2**31), left=st.integers(1, 3), right=st.integers(1, 3))
def test_stacks_join_along_the_replicates_with_the_weights_of_the_best(seed, left, right):
    one, other = (
        outcome(seed + k, count, tested=True, both=True) for k, count in enumerate((left, right))
    )
    whole = joined(one, other)
    assert whole.steps == one.steps + other.steps
    np.testing.assert_array_equal(whole.seeds, [*one.seeds, *other.seeds])
    np.testing.assert_array_equal(
        whole.by_accuracy.crossed["loss/a"],
        [*one.by_accuracy.crossed["loss/a"], *other.by_accuracy.crossed["loss/a"]],
    )
    for side in "ab":
        for rule in RULES:
            name, best = weights_name(side, rule), whole.best_replicate(side, rule)
            assert whole.weights[name] is (one if best < left else other).weights[name]


def test_what_an_earlier_program_did_not_measure_of_pairs_is_not_joined():
    new = outcome(tested=True)
    old = replace(outcome(1, tested=True), together={})
    assert joined(new, new).pair["fused"].shape == (6, 2)
    assert joined(new, old).together == joined(old, new).together == {}


def test_replicates_in_another_order_keep_what_is_theirs():
    whole = outcome(tested=True, both=True)
    turned = whole.in_order([2, 0, 1])
    assert turned.in_order([1, 2, 0]).to_bytes() == whole.to_bytes()
    assert turned.seeds.tolist() == whole.seeds[[2, 0, 1]].tolist()
    for name in ("predictions", "curves", "similarity", "together"):
        for key, values in getattr(whole, name).items():
            np.testing.assert_array_equal(getattr(turned, name)[key], values[[2, 0, 1]])
    crossed = (turned.by_accuracy.crossed, whole.by_accuracy.crossed)
    for key, values in crossed[1].items():
        np.testing.assert_array_equal(crossed[0][key], values[[2, 0, 1]])
    assert turned.weights is whole.weights


def test_what_is_validated_stands_among_the_rows_of_all():
    rows = np.array([0, 1, 1, 0, 1, 1, 1], bool)
    whole = outcome(tested=True, both=True)
    told = whole.validated_among(rows)
    np.testing.assert_array_equal(told.predictions["a"][:, rows], whole.predictions["a"])
    assert (told.predictions["a"][:, ~rows] == -1).all()
    assert np.isnan(told.predictions["b"][:, ~rows]).all()
    np.testing.assert_equal(told.test_predictions, whole.test_predictions)


def test_joined_stacks_keep_the_similarities_that_both_have():
    few = replace(outcome(1, tested=False), similarity={}, similarity_null={})
    assert joined(outcome(tested=False), few).similarity == {}
    assert joined(few, outcome(tested=False)).similarity_null == {}
