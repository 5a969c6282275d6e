"""Gains at nodes stand for the many that were seen."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.support.noisy_curves import SPACE
from tuner.analysis.curves.model import CurveModel, GainProcesses
from tuner.analysis.curves.nodes import NodeGains
from tuner.analysis.curves.noise import seed_covariance
from tuner.analysis.curves.observations import Observations


def covariance(rng, size):
    """One of full rank, with correlated errors of unequal sizes."""
    mixed = rng.normal(size=(size, size + 5)) * rng.uniform(0.5, 2, size=(size, 1))
    return mixed @ mixed.T / size


def ascending(rng, count):
    return np.sort(rng.uniform(0.01, 1, count))


def test_few_gains_are_told_as_they_are():
    rng = np.random.default_rng(0)
    units, gains, noise = ascending(rng, 96), rng.normal(size=96), covariance(rng, 96)
    told = NodeGains.of(units, gains, noise[None])
    np.testing.assert_array_equal(told.units, units)
    np.testing.assert_array_equal(told.gains, gains[None])
    np.testing.assert_array_equal(told.noise, noise[None])
    assert told.log_likelihood.tolist() == [0]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), count=st.sampled_from([120, 200]))
def test_a_curve_that_is_straight_between_nodes_is_as_likely(seed, count):
    """By the dense formulas, for any prior of the values at the nodes, and λs tried again."""
    rng = np.random.default_rng(seed)
    units = ascending(rng, count)
    units[5:8] = units[5]
    gains, noise = rng.normal(size=count), np.stack([covariance(rng, count) for _ in range(2)])
    told = NodeGains.of(units, gains, noise)
    lines = np.stack([np.interp(units, told.units, e) for e in np.eye(told.units.size)], axis=1)
    for _ in range(2):
        prior = covariance(rng, told.units.size)
        for each in range(2):
            seen = stats.multivariate_normal(cov=lines @ prior @ lines.T + noise[each])
            at_nodes = stats.multivariate_normal(cov=prior + told.noise[each])
            assert seen.logpdf(gains) == pytest.approx(
                at_nodes.logpdf(told.gains[each]) + told.log_likelihood[each], rel=1e-6
            )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), is_crowded=st.booleans())
def test_no_line_spans_more_than_a_cell(seed, is_crowded):
    rng = np.random.default_rng(seed)
    units = ascending(rng, 300) ** (4 if is_crowded else 1)
    told = NodeGains.of(units, np.zeros(300), np.eye(300)[None])
    assert set(told.units) <= set(units)
    assert told.units.size <= 2 * 49
    between = np.setdiff1d(units, told.units)
    after = np.searchsorted(told.units, between)
    assert np.all(told.units[after] - told.units[after - 1] <= 1 / 48)


@pytest.mark.parametrize("length", [0.12, 0.3, 1.5])
def test_the_curve_is_that_of_all_gains(length):
    """Where it bends as sharply as it may, and is seen well."""
    rng = np.random.default_rng(1)
    units, at = ascending(rng, 200), np.linspace(0, 1, 65)
    replicates = np.sin(9 * units)[:, None] + 0.3 * rng.normal(size=(200, 4))
    noise = seed_covariance(units, replicates)[None] / 4
    gains, (lengths, amplitudes) = replicates.mean(axis=1), np.array([[length], [1.0]])
    told = NodeGains.of(units, gains, noise)
    assert told.units.size < 100
    nodes = GainProcesses.condition(told.units, told.gains, told.noise, lengths, amplitudes)
    dense = GainProcesses.condition(units, gains, noise, lengths, amplitudes)
    (means, covariances), (expected, spread) = nodes.posterior(at), dense.posterior(at)
    ours, deviations = (np.sqrt(np.diagonal(each[0])) for each in (covariances, spread))
    assert np.all(np.abs(means - expected) <= 0.05 * deviations)
    np.testing.assert_allclose(ours, deviations, atol=0.01 * deviations.max())
    log_evidence = nodes.log_evidence() + told.log_likelihood
    np.testing.assert_allclose(log_evidence, dense.log_evidence(), atol=0.5)


def test_four_hundred_strengths_take_little_memory_and_find_the_curve():
    rng = np.random.default_rng(0)
    units = np.append(0, ascending(rng, 400))
    truth = 0.1 * np.sin(3 * units)
    seen = Observations(
        lambdas=SPACE.to_lambda(units),
        scores=truth[:, None] + 0.02 * rng.normal(size=(401, 4)),
        resampled=truth + 0.005 * rng.normal(size=(500, 401)),
    )
    tracemalloc.start()
    try:
        model = CurveModel.fit(seen, SPACE)
        low, high = model.interval(SPACE.to_lambda(np.linspace(0, 1, 65)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500 * 2**20
    expected = 0.1 * np.sin(3 * np.linspace(0, 1, 65))
    assert np.all((low <= expected) & (expected <= high))
