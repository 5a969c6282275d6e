"""What past studies lead one to expect, in the model of the curve: oracles, limits, and its say."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from tests.support.noisy_curves import SPACE, flat, hump, rise, search
from tests.support.priors import families, prior
from tuner.analysis.curves.compression import Compression
from tuner.analysis.curves.families import NODES, PAST, FamilyProcesses, node_weights
from tuner.analysis.curves.model import CurveModel, Expectation, gain_kernel
from tuner.analysis.curves.noise import row_covariance, seed_covariance
from tuner.analysis.decision import choose
from tuner.study.space import LambdaSpace

AT = SPACE.to_lambda(np.linspace(0, 1, 17))


def expecting(told, weight=0.5):
    return Expectation.of(prior(told, weight), "joint")


def seen(curve, seed=0, trials=6):
    return search(np.random.default_rng(seed), trials, 4, curve)


def test_posterior_and_evidence_equal_the_dense_formulas_under_correlated_noise():
    rng = np.random.default_rng(0)
    units, gains = np.sort(rng.uniform(0.05, 1, 5)), rng.normal(size=5)
    noise = np.cov(rng.normal(size=(5, 30)))
    mean, root = rng.normal(size=NODES.size), rng.normal(size=(NODES.size, NODES.size))
    covariance = root @ root.T
    ours = FamilyProcesses.condition(
        SPACE, units, gains[None], noise[None], mean[None], covariance[None]
    )
    w, at = node_weights(units), node_weights(np.array([0.0, 0.3, 1.0]))
    total = w @ covariance @ w.T + noise
    theirs = stats.multivariate_normal(w @ mean, total).logpdf(gains)
    assert ours.log_evidence()[0] == pytest.approx(theirs, rel=1e-6)
    gain = at @ covariance @ w.T @ np.linalg.inv(total)
    means, covariances = ours.posterior(np.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(means[0], at @ mean + gain @ (gains - w @ mean), rtol=1e-6)
    expected = at @ covariance @ at.T - gain @ w @ covariance @ at.T
    np.testing.assert_allclose(covariances[0], expected, atol=1e-6)
    assert means[0, 0] == covariances[0, 0, 0] == 0  # at λ = 0


def test_a_family_is_at_its_lambdas_whatever_the_study_searches():
    told = families(0.05 * NODES, spread=1e-3)
    short = LambdaSpace(maximum=1.0)
    rng = np.random.default_rng(1)
    whole = search(rng, 6, 4, rise(0.0))
    kept = whole.lambdas <= 1.0
    part = replace(
        whole,
        lambdas=whole.lambdas[kept],
        scores=whole.scores[kept],
        resampled=whole.resampled[:, kept],
    )
    model = CurveModel.fit(part, short, Expectation(families=told, weight=1 - 1e-12))
    expected = 0.05 * np.asarray(PAST.to_unit(np.array([0.25, 1.0])))
    assert model.mean(np.array([0.25, 1.0])) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("curve", [flat, rise(0.03), hump(0.03, 0.6)])
def test_no_weight_is_no_prior_to_the_last_bit(curve):
    told = seen(curve)
    assert expecting(families(0.02 * NODES), weight=0) is None
    assert Expectation.of(None, "joint") is None
    nothing = choose(told, SPACE, seed=1)
    assert choose(told, SPACE, seed=1, expected=expecting(families(0 * NODES), 0)) == nothing


@pytest.mark.parametrize("curve", [flat, rise(0.03), hump(0.03, 0.6)])
def test_a_prior_that_expects_anything_is_as_good_as_none(curve):
    told = seen(curve)
    alone = CurveModel.fit(told, SPACE)
    model = CurveModel.fit(told, SPACE, expecting(families(0 * NODES, spread=1e6)))
    assert model.mean(AT) == pytest.approx(alone.mean(AT), abs=1e-6)
    for ours, theirs in zip(model.interval(AT), alone.interval(AT), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)
    assert model.believed < 1e-9


def test_a_right_prior_is_believed_and_brings_the_curve_nearer():
    curve, told = hump(0.03, 0.6), families(hump(0.03, 0.6)(NODES), spread=0.3)
    missed, believed = {True: [], False: []}, []
    for seed in range(8):
        at = seen(curve, seed, trials=4)
        for has in missed:
            model = CurveModel.fit(at, SPACE, expecting(told) if has else None)
            missed[has].append(np.abs(model.mean(AT) - curve(PAST.to_unit(AT))).mean())
        believed.append(CurveModel.fit(at, SPACE, expecting(told)).believed)
    assert np.mean(believed) > 0.6
    assert np.mean(missed[True]) < 0.6 * np.mean(missed[False])


def test_what_is_believed_follows_bayes_rule_over_every_process():
    """Naively: all densities of the mean gains, none of them left out for being small."""
    at, told = seen(hump(0.03, 0.6), 2, trials=4), families(hump(0.03, 0.6)(NODES), spread=0.3)
    gains = at.scores[1:] - at.scores[0]
    units, means, count = SPACE.to_unit(at.lambdas[1:]), gains.mean(1), gains.shape[1]
    knee = Compression.suited_to(gains, np.diag(row_covariance(at, at.lambdas > 0))).knee
    rows, seeds = row_covariance(at, at.lambdas > 0), seed_covariance(units, gains) / count
    freedom = (count - 1) * units.size
    scales = freedom / stats.chi2(freedom).ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    floor = max(3e-3 * np.abs(means).max(), 1e-6 * knee)
    error = np.sqrt(np.median(np.diag(seeds + rows)))
    relative = np.geomspace(1, max(32, 4 * np.abs(means).max() / error), 8)
    w = node_weights(np.asarray(units))
    vague, expected, prior_weights = [], [], []
    for scale in scales:
        noise = scale * seeds + rows + floor**2 * np.eye(units.size)
        for size in relative:
            for length in np.geomspace(0.12, 1.5, 6):
                kernel = gain_kernel(units, units, np.array([length]), np.array([error * size]))[0]
                density = stats.multivariate_normal(cov=kernel + noise).pdf(means)
                weight = np.exp(-((np.log(length / 0.3) / 0.7) ** 2) / 2)
                prior_weights.append(weight * size / (1 + (size / 16) ** 2))
                vague.append(prior_weights[-1] * density)
        for widened in (1, 4):
            spread = widened * w @ np.array(told.covariances[0]) @ w.T + noise
            expected.append(stats.multivariate_normal(w @ told.means[0], spread).pdf(means) / 10)
    odds = sum(expected) / (sum(vague) / sum(prior_weights))
    model = CurveModel.fit(at, SPACE, expecting(told))
    assert model.believed == pytest.approx(odds / (1 + odds), abs=0.02)
    assert 0.05 < model.believed < 0.95  # neither is left out


def test_of_several_families_the_one_that_is_seen_remains():
    told = families(-0.05 * NODES, 0.05 * NODES, spread=0.2)
    model = CurveModel.fit(seen(rise(0.05)), SPACE, expecting(told))
    assert model.mean(np.array([4.0]))[0] == pytest.approx(0.05, abs=0.01)
    assert model.believed > 0.5


def test_a_prior_that_what_is_seen_contradicts_is_dropped():
    told = families(-0.3 * NODES, spread=0.5)
    at = seen(rise(0.05), trials=8)
    alone, model = CurveModel.fit(at, SPACE), CurveModel.fit(at, SPACE, expecting(told))
    assert model.believed < 0.01
    assert model.mean(AT) == pytest.approx(alone.mean(AT), abs=1e-6)


@pytest.mark.parametrize("curve", [flat, rise(-0.03)])
def test_what_a_verdict_rests_on_is_seen_and_not_expected(curve):
    """However sure past studies are of a gain."""
    at = seen(curve)
    alone = choose(at, SPACE, seed=0)
    told = choose(at, SPACE, seed=0, expected=expecting(families(0.1 * NODES, spread=3), 0.9))
    assert told.band == alone.band
    assert told.average == alone.average
    draws = CurveModel.fit(at, SPACE).draws(
        np.array([0.0, told.candidate]), 4000, np.random.default_rng(0)
    )
    assert told.support == pytest.approx(np.mean(draws[:, 1] > 0), abs=0.03)
    assert asdict(told)["expected"]["value"] == pytest.approx(np.median(draws[:, 1]), abs=2e-3)


def test_expectations_move_the_candidate_among_equals():
    """Two λs that were seen to gain alike: the one that past studies prefer is tested."""
    at = seen(lambda u: 0.02 * (u > 0.15), 3, trials=8)
    early = families(np.interp(NODES, [0, 0.3, 1], [0, 0.02, -0.02]), spread=0.3)
    late = families(0.02 * NODES, spread=0.3)
    chosen = [
        choose(at, SPACE, seed=0, expected=expecting(f, 0.9)).candidate for f in (early, late)
    ]
    assert chosen[0] < chosen[1]
