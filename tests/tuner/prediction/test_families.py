"""Families of curves against known answers: planted ones, closed forms, limits of a prior."""

import numpy as np
import pytest
from scipy import stats

from tuner.analysis.curves.families import NODES, node_weights
from tuner.prediction.model.families import (
    Families,
    Measured,
    Seen,
    fit_families,
    responsibilities,
)

MEAN = 0.04 * np.sin(np.pi * NODES)
AXIS = np.minimum(NODES[:, None], NODES)
COVARIANCE = 0.02**2 * AXIS  # of a Brownian motion


def measured(curve, rng, size=0.004):
    """Gains at four to eight λs of its own."""
    count = rng.integers(4, 9)
    units = np.sort(rng.uniform(0.05, 1, count))
    noise = size**2 * (np.eye(count) + 0.5)
    gains = rng.multivariate_normal(node_weights(units) @ curve, noise)
    return Measured(units=units, gains=gains, noise=noise)


def corpus(seed, count=400, mean=MEAN, covariance=COVARIANCE):
    rng = np.random.default_rng(seed)
    return [measured(rng.multivariate_normal(mean, covariance), rng) for _ in range(count)]


def test_a_curve_is_straight_between_nodes_and_begins_at_0():
    curve = np.arange(1.0, 9.0)
    assert node_weights(np.array([0.0, 1 / 16, 1 / 8, 3 / 16, 1.0])) @ curve == pytest.approx(
        [0, 0.5, 1, 1.5, 8]
    )


@pytest.mark.slow
def test_one_family_is_found_from_curves_with_lambdas_of_their_own():
    """Mean within 3 standard errors, of what the noise leaves; covariance within 10 % (Frobenius).

    The covariance of 400 curves themselves errs by 3 to 14 %, which is of chance alone: what is
    asked of one corpus is a quarter, and a tenth of the mean of four.
    """
    found = []
    for seed in range(4):
        curves = corpus(seed)
        one = fit_families(curves, 1)
        (mean,), (covariance,) = one.means, one.covariances
        information = np.zeros((NODES.size, NODES.size))
        for each in curves:
            w = node_weights(each.units)
            information += w.T @ np.linalg.solve(w @ COVARIANCE @ w.T + each.noise, w)
        error = np.sqrt(np.diag(np.linalg.inv(information)))
        assert np.all(np.abs(mean - MEAN) < 3 * error)
        assert off(covariance) < 0.25
        found.append(covariance)
    assert off(np.mean(found, axis=0)) < 0.1


def off(covariance):
    return np.linalg.norm(covariance - COVARIANCE) / np.linalg.norm(COVARIANCE)


@pytest.mark.slow
def test_two_families_are_told_apart():
    falls = -0.05 * NODES**2
    curves = corpus(1, 60, covariance=COVARIANCE / 10) + corpus(2, 40, falls, COVARIANCE / 10)
    found = fit_families(curves, 2)
    order = np.argsort(found.means[:, -1])
    assert found.shares[order] == pytest.approx([0.4, 0.6], abs=0.05)
    assert found.means[order[0]] == pytest.approx(falls, abs=0.006)
    assert found.means[order[1]] == pytest.approx(MEAN, abs=0.006)
    share = responsibilities(found, Seen.of(curves))[:, order[1]]
    assert np.mean((share > 0.5) == (np.arange(100) < 60)) > 0.95


def test_evidence_and_posterior_are_those_of_gaussians():
    """Against the textbook formulas, which invert what the code never does."""
    rng = np.random.default_rng(3)
    seen = measured(MEAN, rng)
    w = node_weights(seen.units)
    one = Families(shares=np.ones(1), means=MEAN[None], covariances=COVARIANCE[None])
    total = w @ COVARIANCE @ w.T + seen.noise
    expected = stats.multivariate_normal(w @ MEAN, total).logpdf(seen.gains)
    assert one.log_evidence(Seen.of([seen]))[0, 0] == pytest.approx(expected, rel=1e-4)
    after = one.conditioned(seen)
    kalman = COVARIANCE @ w.T @ np.linalg.inv(total)
    assert after.means[0] == pytest.approx(MEAN + kalman @ (seen.gains - w @ MEAN), abs=1e-6)
    assert after.covariances[0] == pytest.approx(COVARIANCE - kalman @ w @ COVARIANCE, abs=1e-8)


def test_a_prior_that_knows_nothing_leaves_what_the_vague_one_leaves():
    """C → ∞: the wide family is improbable whatever is seen, and the vague one has it all."""
    seen = measured(MEAN, np.random.default_rng(4))
    vague = Families(shares=np.ones(1), means=np.zeros((1, 8)), covariances=4 * COVARIANCE[None])
    endless = Families(shares=np.ones(1), means=MEAN[None], covariances=1e8 * COVARIANCE[None])
    alone, mixed = vague.conditioned(seen), endless.joined(vague, 0.5).conditioned(seen)
    assert mixed.shares @ mixed.means == pytest.approx(alone.means[0], abs=1e-6)
    spread = np.einsum("k,kij->ij", mixed.shares, mixed.covariances)
    assert spread == pytest.approx(alone.covariances[0], abs=1e-6)


def test_at_weight_0_a_prior_changes_not_one_byte():
    seen = measured(MEAN, np.random.default_rng(5))
    vague = Families(shares=np.ones(1), means=np.zeros((1, 8)), covariances=4 * COVARIANCE[None])
    sure = Families(shares=np.ones(1), means=-MEAN[None], covariances=COVARIANCE[None] / 100)
    mixed = sure.joined(vague, 0.0).conditioned(seen)
    alone = vague.conditioned(seen)
    assert mixed.shares.tolist() == [0.0, 1.0]
    assert (mixed.shares @ mixed.means).tobytes() == alone.means[0].tobytes()
    drawn = [each.draws(50, np.random.default_rng(6)) for each in (mixed, alone)]
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_a_wrong_prior_costs_no_more_than_the_logarithm_of_its_weight():
    """Robust mixture (Schmidli et al. 2014): at worst .69 nat at weight a half."""
    vague = Families(shares=np.ones(1), means=np.zeros((1, 8)), covariances=4 * COVARIANCE[None])
    wrong = Families(shares=np.ones(1), means=-MEAN[None], covariances=COVARIANCE[None] / 1000)
    mixed = wrong.joined(vague, 0.5)
    for seed in range(20):
        seen = Seen.of([measured(MEAN, np.random.default_rng(seed))])
        both = np.logaddexp.reduce(np.log(mixed.shares) + mixed.log_evidence(seen)[0])
        assert both >= vague.log_evidence(seen)[0, 0] - np.log(2) - 1e-9
