"""No offset makes one of two values, or a constant of a feature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner import data
from tuner.data import Standardizer
from tuner.data.validation.numbers.precision import from_bfloat16, precision_of

SECONDS = 1.7e9  # since 1970: float32 has steps of 128 there


def spread(rows=300, seed=0):
    return np.random.default_rng(seed).normal(size=rows)


@pytest.mark.parametrize(
    "y",
    [
        SECONDS + 15 * spread(),
        (SECONDS + 15 * spread()).astype(np.int64),
        np.resize([20240101.25, 20240102.25, 20240103.5], 300),
        1e6 + 0.01 * np.resize([0.25, 1, 2], 300),
        np.where(spread(seed=1) > 1, np.nan, -SECONDS + spread()),
        np.where(np.arange(300) % 50 == 0, 0, SECONDS + 15 * spread()),
    ],
)
def test_targets_with_an_offset_stay_apart(make, y):
    dataset = data.from_arrays(make(rows=300) | {"y": y}, task="regression")
    assert dataset.y.dtype == np.float64
    np.testing.assert_array_equal(dataset.y, y)


@pytest.mark.parametrize(
    "y", [spread(), 100 + spread(), 2000.0 + np.resize(np.arange(21), 300), 1e9 * spread()]
)
def test_other_targets_are_float32_as_ever(make, y):
    assert data.from_arrays(make(rows=300) | {"y": y}, task="regression").y.dtype == np.float32


def test_the_same_targets_have_another_fingerprint_by_a_digit_that_float32_loses(make):
    arrays = make(rows=300)
    y = SECONDS + 15 * spread()
    other = y.copy()
    other[7] += 1
    one, two = (data.from_arrays(arrays | {"y": each}).fingerprint for each in (y, other))
    assert one != two


SHAPES = [(300, 4), (300, 5, 4), (300, 4, 3, 3)]


def feature(values, number):
    return values[:, number] if values.ndim == 4 else values[..., number]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("offset", "dtype"), [(SECONDS, np.float64), (2**31, np.int64), (2**30, np.int32)]
)
def test_features_with_an_offset_are_not_constant(make, shape, offset, dtype):
    values = 10 * np.random.default_rng(0).normal(size=shape)
    feature(values, 2)[:] += offset
    values = values.astype(dtype)
    dataset = data.from_arrays(make(rows=300) | {"a": values})
    assert dataset.warnings == ()
    np.testing.assert_array_equal(dataset.a.values, values)
    standard = Standardizer.fit(dataset.a.values)
    scaled = feature(standard(dataset.a.values), 2)
    assert scaled.dtype == np.float32
    exact = feature(values.astype(np.float64) - offset, 2)
    np.testing.assert_allclose(scaled, (exact - exact.mean()) / exact.std(), atol=1e-5)


def test_a_constant_is_one_in_any_type(make):
    values = np.random.default_rng(0).normal(size=(300, 4))
    values[:, 1] = SECONDS + 0.1
    values[:, 2] += SECONDS
    (warning,) = data.from_arrays(make(rows=300) | {"a": values}).warnings
    assert "1 constant feature of 4 (number 1" in warning


def test_padded_steps_do_not_count(make):
    values = np.random.default_rng(0).normal(size=(300, 5, 2))
    mask = np.ones((300, 5), bool)
    mask[:, 3:] = False
    values[~mask] = SECONDS + 0.1
    dataset = data.from_arrays(make(rows=300) | {"a": values, "a_mask": mask})
    assert dataset.a.values.dtype == np.float32


@given(st.sampled_from([np.float16, np.float32, np.int8, np.uint16, np.bool_]))
def test_types_that_float32_holds_are_float32(dtype):
    assert precision_of(np.zeros((3, 2), dtype)) == np.float32


@pytest.mark.parametrize("shape", SHAPES)
def test_raw_bfloat16_is_read(make, tmp_path, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    np.savez(tmp_path / "raw.npz", **make(rows=300) | {"a": halves.view("V2")})
    read = data.read(tmp_path / "raw.npz").a.values
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values, rtol=2**-7)
    np.testing.assert_array_equal(read.view(np.uint32) >> 16, halves)
    assert (read.view(np.uint32) & 0xFFFF == 0).all()


def test_bfloat16_of_known_values():
    raw = np.array([0x3F80, 0xC000, 0x7F80, 0x0000], np.uint16).view("V2")
    np.testing.assert_array_equal(from_bfloat16(raw[:, None])[:, 0], [1, -2, np.inf, 0])


def test_other_raw_bytes_are_refused_with_what_works(make, tmp_path):
    np.savez(tmp_path / "raw.npz", **make() | {"a": np.zeros((60, 4), "V1")})
    with pytest.raises(data.DataError, match=r"raw bytes, 1 a value.*\.astype\('float32'\)"):
        data.read(tmp_path / "raw.npz")
