"""Rows are folded, halved, permuted and resampled by whole groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.information.sampling import FOLDS, folds, group_weights, halves, permutation


@st.composite
def grouped(draw):
    """Groups of 1 to 8 rows in any order, with labels of 2 or 3 classes."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=4, max_size=30))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    y = np.unique(rng.integers(0, draw(st.integers(2, 3)), len(group)), return_inverse=True)[1]
    return group, y, rng


@settings(max_examples=50, deadline=None)
@given(grouped())
def test_groups_stay_whole(case):
    group, y, rng = case
    for part in (folds(y, group, rng), halves(len(y), group, rng), *group_weights(group, 3, rng)):
        for each in np.unique(group):
            assert len(set(part[group == each])) == 1


def test_folds_hold_every_class_alike_where_groups_allow():
    """40 groups of one class each, half of them of either: 4 of either in a fold."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.arange(40) % 2)
    group = np.repeat(np.arange(40), 5)
    fold = folds(label[group], group, rng)
    counts = np.zeros((FOLDS, 2))
    np.add.at(counts, (fold, label[group]), 1)
    assert (counts == 20).all()


def test_halves_hold_as_many_groups():
    half = halves(90, np.repeat(np.arange(9), 10), np.random.default_rng(0))
    assert sorted(np.bincount(half)) == [40, 50]


@settings(max_examples=50, deadline=None)
@given(grouped())
def test_a_permutation_gives_a_group_the_rows_of_one_other(case):
    group, y, rng = case
    order = permutation(len(y), group, rng)
    sizes = np.bincount(group)
    donors = [np.unique(group[order[group == each]]) for each in range(len(sizes))]
    assert all(len(donor) == 1 for donor in donors)
    assert sorted(int(donor[0]) for donor in donors) == list(range(len(sizes)))
    for each, (donor,) in enumerate(donors):
        taken = order[group == each]
        # Each row of the other group once, before any comes again.
        assert len(set(taken)) == min(sizes[each], sizes[donor])


def test_without_groups_a_permutation_is_that_of_the_labels():
    y = np.arange(50) * 3 % 7
    shuffled = np.random.default_rng(4).permutation(y)
    order = permutation(50, None, np.random.default_rng(4))
    np.testing.assert_array_equal(y[order], shuffled)


def test_resamples_hold_as_many_groups_as_there_are():
    weights = group_weights(np.repeat(np.arange(8), 3), 500, np.random.default_rng(0))
    assert (weights.sum(1) == 24).all()
    # How often a group is drawn is binomial: variance 8 · 1/8 · 7/8.
    assert weights.var() == pytest.approx(7 / 8, rel=0.05)
