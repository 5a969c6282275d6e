from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from tests.support.noisy_curves import OWN, SPACE, flat, hump, observe, rise, search
from tuner.analysis.curves.compression import Compression
from tuner.analysis.curves.model import CurveModel, GainProcesses
from tuner.analysis.curves.noise import seed_covariance
from tuner.analysis.curves.observations import Observations
from tuner.study.space import LambdaSpace

LAMBDAS = SPACE.to_lambda(np.linspace(0, 1, 33))


def _fit(observations):
    return CurveModel.fit(observations, SPACE)


def _everything(model):
    return np.concatenate([model.mean(LAMBDAS), *model.interval(LAMBDAS)])


def _change(observations, change):
    return replace(
        observations,
        scores=change(observations.scores),
        resampled=change(observations.resampled),
    )


# Observations


@pytest.mark.parametrize(
    ("fault", "lambdas", "scores", "resampled"),
    [
        ("at least one more", [0.0], [[1, 2]], None),
        ("ascend", [0.1, 0.2], [[1, 2], [3, 4]], None),
        ("ascend", [0, 2, 1], [[1, 2], [3, 4], [5, 6]], None),
        ("above 0", [0.0, 0.0], [[1, 2], [3, 4]], None),
        ("scores must be", [0.0, 1.0], [[1], [3]], None),
        ("scores must be", [0.0, 1.0], [[1, 2]], None),
        ("scores must be finite", [0.0, 1.0], [[1, 2], [3, np.nan]], None),
        ("scores must be finite", [0.0, 1.0], [[1, 2], [3, 1e200]], None),
        ("lambdas must be finite", [0.0, np.inf], [[1, 2], [3, 4]], None),
        ("resampled must be", [0.0, 1.0], [[1, 2], [3, 4]], [[1, 2]]),
        ("resampled must be", [0.0, 1.0], [[1, 2], [3, 4]], [[1], [2]]),
        ("resampled must be finite", [0.0, 1.0], [[1, 2], [3, 4]], [[1, 2], [np.inf, 2]]),
    ],
)
def test_faulty_observations_are_refused(fault, lambdas, scores, resampled):
    with pytest.raises(ValueError, match=fault):
        Observations(
            lambdas=np.array(lambdas, dtype=float),
            scores=np.array(scores, dtype=float),
            resampled=None if resampled is None else np.array(resampled, dtype=float),
        )


def test_a_strength_outside_the_space_is_refused():
    seen = Observations(lambdas=np.array([0.0, 4.0]), scores=np.array([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(ValueError, match="above the space"):
        CurveModel.fit(seen, LambdaSpace(maximum=2.0))


# Gaussian processes, against oracles


def test_posterior_equals_scikit_learn():
    """There, f(0) = 0 is one more observation, without noise."""
    rng = np.random.default_rng(0)
    units, gains, errors = np.sort(rng.uniform(0.05, 1, 9)), rng.normal(size=9), rng.uniform(1, 2)
    at = np.linspace(0, 1, 17)
    lengths, amplitudes = np.array([0.15, 0.5]), np.array([1.3, 0.7])
    ours = GainProcesses.condition(
        units, gains, np.stack([errors * np.eye(9)] * 2), lengths, amplitudes
    )
    means, covariances = ours.posterior(at)
    for k in range(2):
        theirs = GaussianProcessRegressor(
            ConstantKernel(amplitudes[k] ** 2) * Matern(lengths[k], nu=2.5),
            alpha=np.append(1e-13, np.full(9, errors)),
            optimizer=None,
        ).fit(np.append(0, units)[:, None], np.append(0, gains))
        mean, covariance = theirs.predict(at[:, None], return_cov=True)
        np.testing.assert_allclose(means[k], mean, atol=1e-7)
        np.testing.assert_allclose(covariances[k], covariance, atol=1e-7)


def test_posterior_and_evidence_equal_the_dense_formulas_under_correlated_noise():
    rng = np.random.default_rng(1)
    units, gains = np.sort(rng.uniform(0.05, 1, 7)), rng.normal(size=7)
    noise = np.cov(rng.normal(size=(7, 20)))
    at = np.array([0.0, 0.3, 1.0])
    ours = GainProcesses.condition(units, gains, noise[None], np.array([0.4]), np.array([2.0]))

    def prior(left, right):
        free = Matern(0.4, nu=2.5)
        left, right, zero = left[:, None], right[:, None], np.zeros((1, 1))
        return 4 * (free(left, right) - free(left, zero) @ free(zero, right))

    covariance = prior(units, units) + noise
    gain = prior(at, units) @ np.linalg.inv(covariance)
    means, covariances = ours.posterior(at)
    np.testing.assert_allclose(means[0], gain @ gains, atol=1e-6)
    np.testing.assert_allclose(covariances[0], prior(at, at) - gain @ prior(units, at), atol=1e-6)
    expected = stats.multivariate_normal.logpdf(gains, cov=covariance)
    np.testing.assert_allclose(ours.log_evidence(), expected, atol=1e-5)


# Noise


@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_seed_noise_is_recovered(drift):
    """Own noise at each λ, the baseline's shared by all, and a drift: known covariances."""
    rng = np.random.default_rng(2)
    units, replicates = np.linspace(0.1, 1, 10), 400
    walk = np.cumsum(rng.normal(size=(10, replicates)) * np.sqrt(0.1), axis=0)
    own = OWN * rng.normal(size=(11, replicates))
    estimate = seed_covariance(units, own[1:] - own[0] + drift * walk)
    truth = OWN**2 * (np.eye(10) + 1) + drift**2 * np.minimum(units[:, None], units)
    np.testing.assert_allclose(estimate, truth, atol=0.15 * truth.max())


def test_replicates_that_disagree_at_one_strength_are_distrusted_there_only():
    rng = np.random.default_rng(3)
    units = np.linspace(0.1, 1, 10)
    gains = rng.normal(size=(10, 5))
    before = np.diag(seed_covariance(units, gains))
    gains[4, 2] -= 100
    after = np.diag(seed_covariance(units, gains))
    assert after[4] > 100 * before[4]
    assert np.all(np.delete(after, 4) < 3 * np.delete(before, 4))


@pytest.mark.parametrize("cases", [50, pytest.param(150, marks=pytest.mark.soak)])
def test_the_noise_of_the_baseline_is_not_taken_for_signal(cases):
    """The baseline's error shifts every gain alike; the curve must not believe it."""
    misled = 0
    for case in range(cases):
        rng = np.random.default_rng([4, case])
        scores = rng.normal(size=(20, 4))
        seen = Observations(lambdas=SPACE.to_lambda(np.linspace(0, 1, 20)), scores=scores)
        low, high = _fit(seen).interval(np.array([0.5]))
        misled += low[0] > 0 or high[0] < 0
    assert misled <= 0.07 * cases


# Laws


def test_the_gain_at_zero_is_zero():
    model = _fit(search(np.random.default_rng(5), 12, 4, rise(0.03)))
    zero = np.array([0.0])
    assert abs(model.mean(zero)[0]) < 1e-12
    assert np.abs(model.interval(zero)).max() < 1e-6
    assert np.all(model.draws(zero, 10, np.random.default_rng(0)) == 0)


def test_draws_have_the_mean_and_interval_of_the_model():
    model = _fit(search(np.random.default_rng(6), 12, 4, hump(0.03, 0.6)))
    draws = model.draws(LAMBDAS, 20_000, np.random.default_rng(0))
    low, high = model.interval(LAMBDAS, level=0.9)
    np.testing.assert_allclose(draws.mean(axis=0), model.mean(LAMBDAS), atol=5e-4)
    inside = ((low <= draws) & (draws <= high)).mean(axis=0)[1:]
    np.testing.assert_allclose(inside, 0.9, atol=0.03)


def test_mean_and_interval_of_one_posterior_are_those_of_two():
    model = _fit(search(np.random.default_rng(6), 12, 4, hump(0.03, 0.6)))
    together = model.mean_and_interval(LAMBDAS)
    apart = (model.mean(LAMBDAS), *model.interval(LAMBDAS))
    np.testing.assert_array_equal(together, apart)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(1e-6, 1e6), case=st.integers(0, 10**6))
def test_shifts_leave_gains_alone_and_scales_scale_them(shift, scale, case):
    seen = search(np.random.default_rng(case), 8, 3, rise(0.02))
    expected = _everything(_fit(seen))
    shifted = _everything(_fit(_change(seen, lambda scores: scores + shift)))
    scaled = _everything(_fit(_change(seen, lambda scores: scores * scale)))
    np.testing.assert_allclose(shifted, expected, atol=1e-8)
    np.testing.assert_allclose(scaled, expected * scale, atol=1e-8 * scale)


@settings(max_examples=20, deadline=None)
@given(case=st.integers(0, 10**6))
def test_seeds_have_no_order_and_no_level(case):
    rng = np.random.default_rng(case)
    seen = search(rng, 8, 4, rise(0.02))
    expected = _everything(_fit(seen))
    permuted = replace(seen, scores=seen.scores[:, rng.permutation(4)])
    levelled = replace(seen, scores=seen.scores + rng.normal(size=4))
    resampled = replace(seen, resampled=rng.permutation(seen.resampled))
    for same in (permuted, levelled, resampled):
        np.testing.assert_allclose(_everything(_fit(same)), expected, atol=1e-8)


def test_noise_of_rows_or_seeds_widens_the_interval():
    rng = np.random.default_rng(7)
    u = np.linspace(0, 1, 12)
    scores, resampled = observe(rng, u, 4, rise(0.05))

    def width(scores, resampled):
        seen = Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled)
        low, high = _fit(seen).interval(LAMBDAS[8:])
        return (high - low).mean()

    deviations = scores - scores.mean(axis=1, keepdims=True)
    assert width(scores, None) < width(scores, resampled)
    assert width(scores, resampled) < width(scores + 2 * deviations, resampled)
    assert width(scores, resampled) < width(scores, resampled + resampled - resampled.mean(axis=0))


# Hard cases


def test_two_strengths_and_two_seeds_say_little():
    seen = Observations(lambdas=np.array([0.0, 1.0]), scores=np.array([[0.5, 0.6], [0.51, 0.63]]))
    low, high = _fit(seen).interval(np.array([1.0]))
    assert low[0] < 0 < high[0]


def test_scores_all_the_same_are_a_gain_of_nothing():
    model = _fit(Observations(lambdas=LAMBDAS, scores=np.full((33, 3), 0.7)))
    assert np.abs(_everything(model)).max() < 1e-4
    assert np.all(np.isfinite(_everything(model)))


def test_without_noise_the_curve_is_interpolated():
    u = np.linspace(0, 1, 17)
    curve = hump(0.1, 0.5)
    seen = Observations(lambdas=SPACE.to_lambda(u), scores=np.tile(0.5 + curve(u)[:, None], (1, 3)))
    truth = curve(np.linspace(0, 1, 33))
    np.testing.assert_allclose(_fit(seen).mean(LAMBDAS), truth, atol=1e-3)


def test_where_most_strengths_score_the_same_a_fall_beyond_them_is_seen():
    """No noise at all at four λs is no reason to believe in none at the others."""
    luck = np.array([0.06, -0.06, 0.02, -0.02])
    scores = 0.8 + np.array([[0], [0], [0], [0], [-0.17], [-0.57]]) + 0 * luck
    scores[4:] += luck
    seen = Observations(lambdas=SPACE.to_lambda(np.linspace(0, 1, 6)), scores=scores)
    assert _fit(seen).interval(np.array([4.0]))[1] < -0.3


def test_the_same_strength_tried_twice_is_accepted():
    rng = np.random.default_rng(8)
    u = np.array([0, 0.3, 0.3, 0.3, 0.5, 0.5 + 1e-9, 0.9])
    scores, resampled = observe(rng, u, 3, flat)
    for again in (scores, scores[[0, 1, 1, 1, 4, 4, 6]]):
        seen = Observations(lambdas=SPACE.to_lambda(u), scores=again, resampled=resampled)
        assert np.all(np.isfinite(_everything(_fit(seen))))


@pytest.mark.parametrize("loss", [1.0, 1e3, 1e12])
def test_diverged_trainings_do_not_hide_what_happens_before_them(loss):
    rng = np.random.default_rng(9)
    u = np.linspace(0, 1, 21)
    scores, resampled = observe(rng, u, 5, hump(0.04, 0.2))
    diverged = u > 0.75
    scores[diverged] -= loss * rng.lognormal(size=(diverged.sum(), 5))
    scores[8, 2] -= loss
    model = _fit(Observations(lambdas=SPACE.to_lambda(u), scores=scores, resampled=resampled))
    mean = model.mean(LAMBDAS)
    units = np.linspace(0, 1, 33)
    assert np.abs(mean - hump(0.04, 0.2)(units))[units < 0.6].max() < 0.02
    assert np.all(mean[units > 0.85] < -0.1)


@given(gain=st.floats(-1e6, 1e6), step=st.floats(1e-3, 1), knee=st.sampled_from([1e-3, 1.0, 50.0]))
def test_compression_keeps_order_and_can_be_undone(gain, step, knee):
    compression = Compression(knee=knee)
    gains = np.array([gain, gain + step])
    compressed = compression.apply(gains)
    assert compressed[0] <= compressed[1]
    expected = np.maximum(gains, -10 * knee)
    np.testing.assert_allclose(compression.undo(compressed), expected, rtol=1e-9, atol=1e-12)


def test_compression_has_the_slope_it_says():
    compression = Compression(knee=2.0)
    gains = np.array([-15.0, -5.0, -2.5, -1.0, 0.0, 3.0])
    numeric = (compression.apply(gains + 1e-6) - compression.apply(gains - 1e-6)) / 2e-6
    np.testing.assert_allclose(compression.slope(gains), numeric, rtol=1e-6)


# Calibration


@pytest.mark.slow
@pytest.mark.parametrize("curve", [flat, rise(0.05), hump(0.03, 0.6)])
def test_intervals_cover_the_truth(curve):
    covered = []
    truth = curve(np.linspace(0, 1, 33))[1:]
    for case in range(60):
        low, high = _fit(search(np.random.default_rng([10, case]), 16, 4, curve)).interval(
            LAMBDAS[1:]
        )
        covered.append(np.mean((low <= truth) & (truth <= high)))
    assert np.mean(covered) >= 0.9
