"""Data sets with rows in common are known, whatever else of them differs."""

import numpy as np
import pytest

from tuner.data import from_arrays
from tuner.prediction.sketch import have_common_rows, sketch


def data(a, b, seed=0):
    y = np.random.default_rng(seed).integers(0, 2, len(a))
    return from_arrays({"a": a, "b": b, "y": y}, name="rows", seed=seed)


@pytest.fixture(scope="module")
def views():
    return np.random.default_rng(1).normal(size=(3, 1200, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("what", "common"),
    [
        ("the same", True),
        ("A and B changed places", True),
        ("another B", True),
        ("a tenth of the rows, in another order", True),
        ("double precision", True),
        ("half of them new", True),
        ("other rows", False),
        ("one row in a hundred", False),
    ],
)
def test_common_rows(views, what, common):
    a, b, other = views
    rng = np.random.default_rng(2)
    few = rng.permutation(1200)[:120]
    new = rng.normal(size=(1200, 5)).astype(np.float32)
    mixed = {n: np.where(np.arange(1200)[:, None] < n, a, new) for n in (600, 12)}
    theirs = {
        "the same": (a, b),
        "A and B changed places": (b, a),
        "another B": (a, other),
        "a tenth of the rows, in another order": (a[few], b[few]),
        "double precision": (a.astype(np.float64), b.astype(np.float64)),
        "half of them new": (mixed[600], other),
        "other rows": (new, other),
        "one row in a hundred": (mixed[12], other),
    }[what]
    assert have_common_rows(sketch(data(a, b)), sketch(data(*theirs, seed=3))) is common


def test_a_sketch_gives_no_row_away(views):
    told = sketch(data(*views[:2]))
    assert {len(each) for each in told.values()} == {64}
    assert all(0 <= number < 2**48 for each in told.values() for number in each)
