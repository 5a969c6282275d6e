"""Laws of standardisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuner.data import Standardizer
from tuner.data.memory import blocks

shapes = st.sampled_from([(50, 3), (20, 4, 3), (10, 3, 4, 5)])
seeds = st.integers(0, 2**32 - 1)


def axes(values):
    return tuple(i for i in range(values.ndim) if i != (1 if values.ndim == 4 else values.ndim - 1))


@given(shapes, seeds, st.floats(0.01, 100), st.floats(-100, 100))
def test_fitted_values_have_mean_0_and_deviation_1(shape, seed, scale, shift):
    values = np.random.default_rng(seed).normal(shift, scale, shape).astype(np.float32)
    result = Standardizer.fit(values)(values)
    assert result.dtype == np.float32
    assert result.shape == shape
    tolerance = 1e-4 * (1 + abs(shift) / scale)
    np.testing.assert_allclose(result.mean(axis=axes(values)), 0, atol=tolerance)
    np.testing.assert_allclose(result.std(axis=axes(values)), 1, atol=tolerance)


@given(shapes, seeds, st.sampled_from([0.25, 2.0, 64.0]), st.integers(-8, 8))
def test_the_result_does_not_depend_on_units(shape, seed, factor, shift):
    values = np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.float32)
    other = values * np.float32(factor) + np.float32(shift)  # exact: small whole numbers
    np.testing.assert_allclose(
        Standardizer.fit(values)(values), Standardizer.fit(other)(other), atol=1e-4
    )


@given(shapes, seeds)
def test_round_trip(shape, seed):
    values = np.random.default_rng(seed).normal(5, 3, shape).astype(np.float32)
    fitted = Standardizer.fit(values)
    along = (-1, 1, 1) if values.ndim == 4 else (-1,)
    back = fitted(values) * fitted.scale.reshape(along) + fitted.mean.reshape(along)
    np.testing.assert_allclose(back, values, rtol=1e-4, atol=1e-4)


@given(hnp.arrays(np.bool_, (12, 6)), seeds)
def test_only_real_steps_count(mask, seed):
    mask[0, 0] = True
    values = np.random.default_rng(seed).normal(size=(12, 6, 2)).astype(np.float32)
    fitted, oracle = Standardizer.fit(values, mask), Standardizer.fit(values[mask])
    np.testing.assert_allclose(fitted.mean, oracle.mean, rtol=1e-6)
    np.testing.assert_allclose(fitted.scale, oracle.scale, rtol=1e-6)


def test_a_constant_feature_becomes_0():
    values = np.full((1000, 2), 0.1, dtype=np.float32)
    values[:, 1] = np.arange(1000)
    fitted = Standardizer.fit(values)
    assert fitted.scale[0] == 1
    assert (fitted(values)[:, 0] == 0).all()


def test_a_large_mean_costs_no_accuracy():
    values = np.float32(2**20) + np.resize(np.float32([-1, 1]), (100_000, 1))
    fitted = Standardizer.fit(values)
    assert fitted.mean[0] == 2**20
    assert fitted.scale[0] == 1


def test_extremes_do_not_overflow():
    values = np.resize(np.float32([-3e38, 3e38]), (10, 1))
    np.testing.assert_allclose(Standardizer.fit(values)(values), np.sign(values))


def test_blocks_make_no_difference(monkeypatch):
    values = np.random.default_rng(0).normal(size=(37, 4, 3)).astype(np.float32)
    mask = np.random.default_rng(1).random((37, 4)) < 0.5
    whole = Standardizer.fit(values, mask)
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 60)
    parts = Standardizer.fit(values, mask)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-6)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-6)
    np.testing.assert_allclose(parts(values), whole(values), rtol=1e-5)


@pytest.mark.parametrize("values", [np.zeros((0, 3), np.float32), np.zeros(3, np.float32)])
def test_nothing_to_fit_to(values):
    with pytest.raises(ValueError, match="cannot"):
        Standardizer.fit(values)
