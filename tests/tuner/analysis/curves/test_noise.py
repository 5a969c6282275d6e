"""How sure mean gains are where each seed has validation rows of its own."""

from fractions import Fraction

import numpy as np
import pytest

from tuner.analysis.curves.noise import beside_the_seeds, row_covariance
from tuner.analysis.curves.observations import Observations
from tuner.study.scoring.targets import FoldShare


@pytest.mark.parametrize("counts", [(4,), (1,) * 4, (2,) * 4, (2, 1, 1), (3, 2), (6, 5, 5), (7, 1)])
def test_seeds_and_rows_together_hold_the_variance_over_rows_once(counts):
    """Exact expectations over rows: effects e_k of variance 1, the same for all seeds of fold k.

    The mean of the seeds varies by the sum of (S_k / S)². s² expects, over all pairs of seeds, half
    of the mean squared difference: 1 for each pair that is not of one fold.
    """
    total = sum(counts)
    mean = sum(Fraction(count, total) ** 2 for count in counts)
    fold = np.repeat(range(len(counts)), counts)
    apart = int((fold[:, None] != fold).sum())
    squares = Fraction(apart, total * (total - 1))
    of_rows = Fraction(1, len(counts))
    expected = (mean - squares / total) / of_rows
    assert beside_the_seeds(counts) == pytest.approx(float(expected))


def test_without_folds_nothing_is_changed_and_where_each_seed_has_its_own_nothing_is_added():
    assert [beside_the_seeds([count]) for count in range(2, 40)] == [1.0] * 38
    assert beside_the_seeds([1] * 5) == 0.0


def seen(resampled, folds, resolution=0.0):
    lambdas, scores = np.array([0.0, 1.0, 2.0]), np.zeros((3, 4))
    return Observations(
        lambdas=lambdas, scores=scores, resampled=resampled, folds=folds, resolution=resolution
    )


def test_the_covariance_over_rows_is_what_the_seed_noise_lacks():
    resampled = np.random.default_rng(0).normal(size=(50, 3))
    gains = resampled[:, 1:] - resampled[:, :1]
    tried = np.array([False, True, True])
    pairs = [FoldShare(0.5, np.array([0, 2])), FoldShare(0.5, np.array([1, 3]))]
    told = row_covariance(seen(resampled, pairs), tried)
    np.testing.assert_allclose(told, 2 / 3 * np.cov(gains, rowvar=False))


def test_one_row_of_every_seed_varies_whatever_was_resampled():
    """Of n rows in four folds a seed sees n / 4: one of them is 4 / n, and the mean moves by 1 / n,
    with four such seeds."""
    each = [FoldShare(0.25, np.array([k])) for k in range(4)]
    told = row_covariance(seen(np.zeros((9, 3)), each, 1 / 80), np.array([False, True, True]))
    np.testing.assert_allclose(told, 4 * (1 / 80) ** 2 * np.eye(2))
