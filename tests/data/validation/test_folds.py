"""Laws of the folds that a confirmation tests in turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.data import Split, from_arrays
from tuner.data.validation.division.folds import (
    fold_numbers,
    lacking_class,
    unvalidated_class,
    validation_numbers,
)


def dataset(seed, rows=200, labelled=0.8, groups=None, task="classification", classes=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows) if task == "classification" else rng.normal(size=rows)
    known = rng.random(rows) < labelled
    arrays = {
        "a": rng.normal(size=(rows, 3)),
        "b": rng.normal(size=(rows, 3)),
        "y": np.where(known, y, -1 if task == "classification" else np.nan),
    }
    if groups is not None:
        arrays["group"] = rng.integers(0, groups, rows)
    return from_arrays(arrays, seed=seed, task=task)


@given(
    seed=st.integers(0, 99),
    folds=st.integers(2, 5),
    task=st.sampled_from(["classification", "regression"]),
)
def test_every_labelled_row_that_is_not_a_validation_row_is_tested_once(seed, folds, task):
    data = dataset(seed, task=task)
    numbers = fold_numbers(data, folds, seed)
    tested = data.labelled & (data.split != Split.VALIDATION)
    np.testing.assert_array_equal(numbers >= 0, tested)
    assert numbers.max() == folds - 1
    sizes = np.bincount(numbers[tested])
    assert np.ptp(sizes) <= 1
    if data.classes is not None:  # dealt out in turn
        for code in range(len(data.classes)):
            of_class = np.bincount(numbers[tested & (data.y == code)], minlength=folds)
            assert np.ptp(of_class) <= 1
        assert lacking_class(data, numbers, folds) is None
    np.testing.assert_array_equal(numbers, fold_numbers(data, folds, seed))


def test_numbers_to_predict_are_spread_over_their_range():
    data = dataset(0, rows=2000, task="regression")
    numbers = fold_numbers(data, 3, 0)
    medians = [np.median(data.y[numbers == fold]) for fold in range(3)]
    assert np.ptp(medians) < 0.05


@given(st.integers(0, 30))
def test_groups_stay_whole_and_what_has_no_label_is_not_trained_on_beside_them(seed):
    data = dataset(seed, groups=40)
    numbers = fold_numbers(data, 3, seed)
    assert (numbers[data.split == Split.VALIDATION] == -1).all()
    for group in np.unique(data.group):
        of_group = data.group == group
        assert len(set(numbers[of_group])) == 1
        is_divided = (of_group & data.labelled & (data.split != Split.VALIDATION)).any()
        assert (numbers[of_group][0] >= 0) == is_divided
    shares = np.bincount(numbers[(numbers >= 0) & data.labelled]) / (numbers >= 0).sum()
    assert np.ptp(shares) < 0.1


def test_another_seed_makes_other_folds():
    data = dataset(0)
    assert (fold_numbers(data, 3, 0) != fold_numbers(data, 3, 1)).any()


@pytest.mark.parametrize(("numbers", "lacking"), [([0, 1, 0, 1], None), ([0, 0, 1, 2], "x")])
def test_a_class_of_one_fold_alone_is_told(numbers, lacking):
    data = dataset(0)
    codes = np.array([0, 0, 1, 1])
    made = type("Rows", (), {"y": codes, "split": np.zeros(4), "classes": ("x", "y")})
    assert lacking_class(made, np.array(numbers), 2) == lacking
    assert lacking_class(data, fold_numbers(data, 3, 0), 3) is None


@given(
    seed=st.integers(0, 99),
    folds=st.integers(2, 5),
    task=st.sampled_from(["classification", "regression"]),
    groups=st.sampled_from([None, 60]),
)
def test_every_fold_has_validation_rows_of_its_own_as_many_as_the_split(seed, folds, task, groups):
    data = dataset(seed, task=task, groups=groups)
    numbers = validation_numbers(data, folds, seed)
    np.testing.assert_array_equal(numbers == 0, data.split == Split.VALIDATION)
    assert (numbers[data.split == Split.TEST] == -1).all()
    assert set(numbers[data.labelled]) - {-1} == set(range(folds))
    sizes = np.bincount(numbers[data.labelled & (numbers >= 0)])
    assert np.ptp(sizes) <= max(4, sizes[0] // 3)
    if groups is None:
        assert data.labelled[numbers >= 0].all()
        if data.classes is not None:
            assert unvalidated_class(data, numbers, folds) is None
    else:
        for group in np.unique(data.group):
            assert len(set(numbers[data.group == group])) == 1
    np.testing.assert_array_equal(numbers, validation_numbers(data, folds, seed))


@pytest.mark.parametrize(("numbers", "lost"), [([0, 1, 0, 1], None), ([0, 1, 0, -1], "y")])
def test_a_class_that_some_fold_does_not_validate_is_told(numbers, lost):
    made = type("Rows", (), {"y": np.array([0, 0, 1, 1]), "classes": ("x", "y")})
    assert unvalidated_class(made, np.array(numbers), 2) == lost
