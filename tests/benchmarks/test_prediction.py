"""The count of λs that luck does not decide, against what normal errors have in closed form."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.benchmarks.prediction import Seen, difference
from tuner.prediction.model.families import Measured
from tuner.prediction.record import Curve
from tuner.study.space import LambdaSpace

LAMBDAS = LambdaSpace().to_lambda(np.arange(1, 9) / 8)
ERROR, SEEDS = 0.01, 6
SHAPE = np.eye(8) + 1  # of gains over λ = 0, if scores err alike and independently at nine λs
AT = 1.0  # the u that is asked about


def seen(gains, rng, rows=0.0, seeds=SEEDS):
    """A curve by seeds whose scores err alike and independently at all nine λs."""
    scores = np.append(0.0, gains)[:, None] + ERROR * rng.normal(size=(9, seeds))
    return Seen.of(
        Curve(
            lambdas=LAMBDAS,
            gains=scores[1:] - scores[0],
            rows=rows**2 * SHAPE,
            baseline=0.5,
            scored=500,
        )
    )


def crossed(gains, count):
    """Share of curves of which `AT` is good crosswise, where errors are known."""
    rng = np.random.default_rng(7)
    none = np.zeros((8, 8))
    whole, half = (ERROR**2 * SHAPE / n for n in (SEEDS, SEEDS / 2))
    blank = Measured(units=np.arange(1, 9) / 8, gains=np.zeros(8), noise=whole)
    known = Seen(blank, (replace(blank, noise=half), replace(blank, noise=half)))
    again = [known.anew(np.asarray(gains), none, rng) for _ in range(count)]
    return tuple(np.mean([how(each, AT) for each in again]) for how in (Seen.crossed, Seen.good))


@pytest.mark.slow
def test_in_a_flat_curve_a_lambda_is_good_unless_normal_errors_forbid_it():
    """Φ(1) of the times, and for certain where it is itself what the other half says is best.

    By all seeds it is so less often: the best of nine is by luck above all others.
    """
    share, by_all = crossed(np.zeros(8), 2000)
    assert share == pytest.approx(1 / 9 + 8 / 9 * norm.cdf(1), abs=0.025)
    assert by_all < share - 0.15


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [0.5, 1.0, 2.0])
def test_a_lambda_that_lacks_k_standard_errors_is_good_as_often_as_normal_errors_leave_it(lacking):
    error = ERROR * np.sqrt(2 / (SEEDS / 2))  # of a difference of two λs, by half of the seeds
    gains = np.full(8, -1.0)
    gains[3], gains[7] = 1.0, 1.0 - lacking * error
    # Where a half takes it for the best itself, nothing is lacking: its luck, Φ(-k).
    wrong = norm.cdf(-lacking)
    share, _ = crossed(gains, 1500)
    assert share == pytest.approx(wrong + (1 - wrong) * norm.cdf(1 - lacking), abs=0.03)


def test_halves_have_the_errors_of_their_seeds_and_of_all_rows():
    each = seen(np.zeros(8), np.random.default_rng(9), rows=0.02, seeds=5)
    rows = 0.02**2 * SHAPE
    of_seeds = each.whole.noise - rows  # of the mean of five
    for half, count in zip(each.halves, (3, 2), strict=True):
        assert half.noise == pytest.approx(rows + of_seeds * 5 / count)
    mean = (3 * each.halves[0].gains + 2 * each.halves[1].gains) / 5
    assert mean == pytest.approx(each.whole.gains)


def test_measured_anew_errors_are_as_large_as_they_were():
    rng = np.random.default_rng(10)
    each = seen(np.zeros(8), rng, rows=0.01)
    rows = 0.01**2 * SHAPE
    again = [each.anew(np.full(8, 0.1), rows, rng) for _ in range(2500)]
    whole = np.array([one.whole.gains for one in again])
    assert whole.mean(0) == pytest.approx(np.full(8, 0.1), abs=0.001)
    assert np.cov(whole.T) == pytest.approx(each.whole.noise, abs=4e-5)
    first = np.array([one.halves[0].gains for one in again])
    second = np.array([one.halves[1].gains for one in again])
    assert np.cov(first.T) == pytest.approx(each.halves[0].noise, abs=5e-5)
    common = (first - 0.1).T @ (second - 0.1) / len(again)
    assert common == pytest.approx(rows, abs=4e-5)  # rows are all that halves have in common


def test_a_difference_of_independent_sources_errs_as_a_mean_does():
    rng = np.random.default_rng(11)
    one, other = rng.normal(size=(2, 40))
    told = pd.DataFrame({"one": one, "other": other, "source": range(40)})
    mean, error = difference(told, "one", "other")
    assert mean == pytest.approx(np.mean(one - other))
    assert error == pytest.approx(np.std(one - other, ddof=1) / np.sqrt(40))
    again = pd.concat([told] * 3)  # curves of a source that are the same say no more than one
    assert difference(again, "one", "other") == pytest.approx((mean, error))
