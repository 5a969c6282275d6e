"""Targets are centred and scaled so that training sees their differences."""

import numpy as np
import pytest

from tuner import data
from tuner.data import Split
from tuner.models.rows import Scaling, TrainingData


def dataset_of(y, seed=0):
    a, b = np.random.default_rng(seed).normal(size=(2, len(y), 3))
    return data.from_arrays({"a": a, "b": b, "y": y}, task="regression")


def scaled(y):
    dataset = dataset_of(y)
    rows = Scaling.of(dataset).rows(dataset, Split.TRAIN)
    return rows.target, dataset.y[dataset.indices(Split.TRAIN)]


def test_targets_have_mean_zero_and_deviation_one():
    target, _ = scaled(5 + 3 * np.random.default_rng(0).normal(size=400))
    assert target.dtype == np.float32
    assert target.mean() == pytest.approx(0, abs=1e-5)
    assert target.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=400),
        lambda rng: rng.uniform(size=400),
        lambda rng: rng.exponential(size=400),
        lambda rng: rng.laplace(size=400),
        lambda rng: rng.poisson(2, 400),
    ],
)
def test_ordinary_targets_are_scaled_by_mean_and_deviation(draw):
    dataset = dataset_of(draw(np.random.default_rng(0)))
    known = dataset.y[dataset.indices(Split.TRAIN)].astype(np.float64)
    scaling = Scaling.of(dataset)
    assert (scaling.target_mean, scaling.target_scale) == (known.mean(), known.std())


def test_without_rows_the_rest_stays():
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(60, 4, 3)),
        "b": rng.normal(size=(60, 2)),
        "y": rng.normal(size=60),
    }
    arrays["a_mask"] = np.arange(4) < rng.integers(2, 5, 60)[:, None]
    whole = TrainingData.of(data.from_arrays(arrays, task="regression"))
    none = whole.without_rows()
    for rows, few in ((whole.train, none.train), (whole.validation, none.validation)):
        for name, values in vars(rows).items():
            left = getattr(few, name)
            assert (left is None) == (values is None)
            assert left is None or (left.shape, left.dtype) == (
                (0, *values.shape[1:]),
                values.dtype,
            )
    assert none.padded == whole.padded == (True, False)
    kept = ("task", "outputs", "shapes", "scaling")
    assert [getattr(none, name) for name in kept] == [getattr(whole, name) for name in kept]


@pytest.mark.parametrize("far", [1e3, -1e5, 1e8])
@pytest.mark.parametrize("share", [20, 100])
def test_outliers_do_not_make_one_number_of_the_others(far, share):
    y = np.random.default_rng(0).normal(size=400)
    y[::share] = far
    target, truth = scaled(y)
    others = target[truth != np.float32(far)]
    assert np.median(others) == pytest.approx(0, abs=0.2)
    assert others.std() == pytest.approx(1, abs=0.25)


def test_half_of_the_targets_are_equal_and_some_lie_far_out():
    y = np.where(np.arange(400) % 5 < 3, 0.0, np.random.default_rng(0).normal(size=400))
    y[::100] = 1e6
    target, truth = scaled(y)
    assert 0.2 < np.abs(target[truth < 1e6]).max() < 20


def test_targets_with_an_offset_come_back_as_they_were():
    y = 1.7e9 + 15 * np.random.default_rng(0).normal(size=400)
    dataset = dataset_of(y)
    training = TrainingData.of(dataset)
    assert len(np.unique(training.train.target)) == training.train.count
    decoded = training.decode(training.train.target[:, None])
    assert decoded.dtype == np.float64
    np.testing.assert_allclose(decoded, y[dataset.indices(Split.TRAIN)], atol=1e-4, rtol=0)
