"""Intervals of every look: closed forms, and simulated studies to which seeds are added."""

import numpy as np
import pytest
from scipy import stats

from tuner.analysis.gains.looks import ERROR, level


def test_the_first_look_has_the_error_of_any_interval():
    assert level([16]) == pytest.approx(ERROR)


def test_a_look_at_so_many_seeds_that_the_first_ones_do_not_count_is_independent():
    """What is left to spend is .01, of studies of which 95 % have not crossed yet."""
    assert level([1, 10**6]) == pytest.approx(0.01 / 0.95, rel=1e-3)


def test_two_looks_spend_what_the_bivariate_normal_says():
    first, second = (stats.norm.isf(level(looks) / 2) for looks in ([10], [10, 25]))
    together = stats.multivariate_normal(cov=[[1, np.sqrt(0.4)], [np.sqrt(0.4), 1]])
    inside = together.cdf([first, second], lower_limit=[-first, -second])
    assert 1 - inside == pytest.approx(ERROR + 0.01 * (1 - 0.4**2), abs=1e-5)


def test_looks_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match="more seeds than the one before"):
        level([16, 32, 32])


@pytest.mark.parametrize("rows", [0.0, 0.7])
def test_seeds_that_are_added_until_a_gain_shows_find_one_no_more_often(rows):
    """Who doubles the seeds three times, with rows that stay; by 95 % intervals it is 13 %."""
    looks, studies = [16, 32, 64, 128], 100_000
    rng = np.random.default_rng(0)
    added = rng.normal(size=(studies, 4)) * np.sqrt(np.diff([0, *looks]))
    means = added.cumsum(axis=1) / looks + rows / 4 * rng.normal(size=(studies, 1))
    spread = np.sqrt(1 / np.array(looks) + rows**2 / 16)
    limits = [stats.norm.isf(level(looks[: k + 1]) / 2) for k in range(4)]
    found = (np.abs(means / spread) > limits).any(axis=1).mean()
    naive = (np.abs(means / spread) > 1.96).any(axis=1).mean()
    assert found <= ERROR + 0.01 + 3 * np.sqrt(0.06 * 0.94 / studies)
    assert naive > 1.3 * found
