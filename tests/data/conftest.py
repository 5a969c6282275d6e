"""Small data sets for the tests of the data package."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Arrays = dict[str, Any]


def make_arrays(rows: int = 60, classes: int = 3, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=(rows, 4)).astype(np.float32),
        "b": rng.normal(size=(rows, 5, 2)).astype(np.float32),
        "y": np.arange(rows) % classes,
    }


@pytest.fixture(name="make")
def _make() -> Callable[..., Arrays]:
    return make_arrays


@pytest.fixture
def arrays() -> Arrays:
    return make_arrays()
