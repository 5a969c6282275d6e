"""Rows of one group stand and fall together: against closed forms and a naive jackknife."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.models.evaluation.metrics import METRICS
from tuner.models.evaluation.resampling import Resamples, bootstrap_weights


def test_bootstrap_weights_draw_as_many_rows_as_there_are_and_spread_like_the_mean():
    weights = bootstrap_weights(200, 3000, seed=4)
    assert (weights.sum(1) == 200).all()
    correct = (np.arange(200) < 140).astype(int)
    scores = METRICS["accuracy"].mean_scores(np.ones(200, int), correct[None], weights)
    assert scores.mean() == pytest.approx(0.7, abs=0.003)
    assert scores.std() == pytest.approx(np.sqrt(0.7 * 0.3 / 200), rel=0.05)


@settings(max_examples=30, deadline=None)
@given(groups=st.integers(2, 12), rows=st.integers(1, 9), seed=st.integers(0, 999))
def test_of_equal_groups_a_mean_varies_as_the_means_of_groups_do(groups, rows, seed):
    rng = np.random.default_rng(seed)
    errors = rng.exponential(size=(groups, rows))
    group = np.repeat(rng.permutation(groups), rows)
    resamples = Resamples.of_groups(group, 400, seed)
    scores = METRICS["mae"].mean_scores(
        np.zeros(groups * rows), errors.reshape(1, -1), resamples.weights
    )
    spread = resamples.stretched(scores).std(ddof=1)
    assert spread == pytest.approx(errors.mean(1).std(ddof=1) / np.sqrt(groups))
    assert resamples.grouping.count == groups
    assert resamples.grouping.freedom == pytest.approx(groups - 1)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_each_metric_is_scored_without_one_group_at_a_time(name):
    """The naive jackknife: (G - 1) / G times the sum of squares."""
    rng = np.random.default_rng(0)
    group = np.repeat([7, -2, 40, 5], [9, 20, 11, 30])
    truth = rng.integers(0, 3, len(group))
    predictions = rng.integers(0, 3, (2, len(group)))
    if METRICS[name].task == "regression":
        truth, predictions = truth + rng.normal(size=len(group)), predictions + 0.1
    resamples = Resamples.of_groups(group, 400, 0)
    scores = METRICS[name].mean_scores(truth, predictions, resamples.weights)
    left = [
        np.mean([METRICS[name].score(truth[kept], p[kept]) for p in predictions])
        for kept in (group != each for each in np.unique(group))
    ]
    variance = 3 / 4 * np.sum((np.array(left) - np.mean(left)) ** 2)
    assert resamples.stretched(scores).var(ddof=1) == pytest.approx(variance)


def test_of_unequal_groups_the_effective_number_counts():
    group = np.repeat(np.arange(10), [250] + [25] * 9)
    freedom = Resamples.of_groups(group, 400, 0).grouping.freedom
    assert freedom == pytest.approx(475**2 / (250**2 + 9 * 25**2) - 1)
    assert Resamples.of_groups(np.repeat([0, 1], [200, 20]), 400, 0).grouping.freedom == 1


def test_of_many_groups_several_are_left_out_together():
    """Whole groups, as many as can be alike; 100 parts of 1,000 groups of 3 tell as much."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(1000), 3)
    errors = np.abs(rng.normal(size=1000)[group] + 0.1 * rng.normal(size=3000))
    resamples = Resamples.of_groups(group, 100, 0)
    left_out = resamples.weights == 0
    assert left_out.shape == (100, 3000)
    assert (left_out.sum(0) == 1).all()
    assert (left_out.sum(1) == 30).all()
    assert (left_out.reshape(100, 1000, 3).sum(2) % 3 == 0).all()
    scores = METRICS["mae"].mean_scores(np.zeros(3000), errors[None], resamples.weights)
    expected = errors.reshape(1000, 3).mean(1).std(ddof=1) / np.sqrt(1000)
    assert resamples.stretched(scores).std(ddof=1) == pytest.approx(expected, rel=0.2)
    assert resamples.grouping.count == 1000
    assert resamples.grouping.freedom == pytest.approx(99)


def test_one_group_tells_nothing_of_others():
    resamples = Resamples.of_groups(np.full(50, 3), 400, 0)
    scores = METRICS["accuracy"].mean_scores(np.ones(50), np.ones((2, 50)), resamples.weights)
    assert resamples.stretched(scores) is None
    assert (resamples.grouping.count, resamples.grouping.freedom) == (1, 0)


def test_nor_do_groups_without_one_of_which_the_score_is_not_defined():
    """R² of a label that is constant in each of two groups, whatever it rounds to."""
    group = np.repeat([0, 1], 20)
    truth = np.where(group == 0, 0.1, 1000.1).astype(np.float32)
    resamples = Resamples.of_groups(group, 400, 0)
    scores = METRICS["r2"].mean_scores(truth, truth[None] + 1, resamples.weights)
    assert np.isnan(scores).all()
    assert resamples.stretched(scores) is None
