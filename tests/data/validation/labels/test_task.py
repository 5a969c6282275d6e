"""What labels ask for, by what they are."""

import numpy as np
import pytest

from tuner import data
from tuner.data.validation.labels.task import read_task

NAN = np.nan


def times(rows):
    """Each value as often as is said: {1: 2, 5: 1} is 1, 1, 5."""
    return np.repeat(np.array(list(rows)), list(rows.values()))


def balanced(values, rows):
    return np.resize(np.array(values), rows)


STARS = times({1: 20, 2: 60, 3: 150, 4: 100, 5: 40})
POISSON = np.random.default_rng(0).poisson(np.exp(np.random.default_rng(1).normal(size=300)))
AGES = np.random.default_rng(0).integers(18, 91, 2000)

EXAMPLES = {
    # values: task, whether the owner is told of the other reading
    "text": (balanced(["no", "yes"], 60), "classification", False),
    "digits as text": (balanced(["0", "1"], 60), "classification", False),
    "booleans": (balanced([False, True], 60), "classification", False),
    "fractions": (balanced([0.5, 1, 2], 60), "regression", False),
    "one fraction": (np.append(balanced([0.0, 1], 60), 0.5), "regression", False),
    "half stars": (np.repeat(np.arange(1, 5.5, 0.5), 20), "regression", False),
    "digits": (balanced(range(10), 200), "classification", False),
    "two codes": (balanced([0, 1], 60), "classification", False),
    "codes from 1": (balanced([1, 2, 3], 60), "classification", False),
    "codes with gaps": (balanced([3, 7, 8], 60), "classification", False),
    "a hundred codes": (balanced(range(100), 2000), "classification", False),
    "codes, most of one": (times({0: 940, 1: 30, 2: 30}), "classification", False),
    "codes in no order": (times({0: 90, 1: 10, 2: 80, 3: 9, 4: 70}), "classification", False),
    "codes by frequency": (
        times({0: 200, 1: 90, 2: 40, 3: 20, 4: 10, 5: 8}),
        "classification",
        True,
    ),
    "balanced 1 to 5": (balanced([1, 2, 3, 4, 5], 200), "classification", True),
    "balanced 0 to 10": (balanced(range(11), 220), "classification", True),
    "0 to 10": (
        np.clip(np.rint(np.random.default_rng(0).normal(6, 2, 400)), 0, 10).astype(int),
        "regression",
        True,
    ),
    "stars": (STARS, "regression", True),
    "most have five stars": (
        times({1: 12, 2: 20, 3: 60, 4: 200, 5: 600}),
        "regression",
        True,
    ),
    "a count": (POISSON, "regression", True),
    "three codes and a slip": (times({0: 30, 1: 30, 2: 30, 7: 1}), "classification", False),
    "ten codes and a slip": (
        np.append(balanced(range(10), 300), 99),
        "classification",
        False,
    ),
    "ages": (AGES, "classification", True),
    "a scale around 0": (balanced([-3, -2, -1, 0, 1, 2, 3], 210), "regression", True),
    "codes with a mark": (balanced([0, 1, 2, -100], 200), "classification", False),
    "identifiers": (np.arange(60), "classification", False),
}
AS_FLOATS = {
    "digits": (balanced(range(10), 200), "classification"),
    "two codes": (balanced([0, 1], 60), "classification"),
    "codes with gaps": (balanced([10, 20, 30], 60), "classification"),
    "balanced 1 to 5": (balanced([1, 2, 3, 4, 5], 200), "classification"),
    "stars": (STARS, "regression"),
    "a count": (POISSON, "regression"),
    "a count without rare values": (
        times({0: 300, 1: 200, 2: 90, 3: 40, 4: 12, 5: 5}),
        "regression",
    ),
    "grades around 0": (balanced([-3, -2, 0, 1, 2, 3], 120), "regression"),
    "a hundred": (balanced(range(100), 2000), "regression"),
    "a value in two rows": (times({0: 30, 1: 30, 2: 2}), "regression"),
    "prices": (np.arange(60) * 100, "regression"),
}


@pytest.mark.parametrize(("values", "task", "told"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_the_rule(values, task, told):
    reading = read_task(values)
    assert (reading.task, reading.doubtful) == (task, told)


@pytest.mark.parametrize(("values", "task"), AS_FLOATS.values(), ids=AS_FLOATS.keys())
def test_the_rule_for_whole_numbers_stored_as_floats(values, task):
    assert read_task(values.astype(float)).task == task


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("seed", range(20))
def test_codes_in_balance_are_classes(classes, seed):
    rng = np.random.default_rng(seed)
    assert read_task(rng.integers(0, classes, 40 * classes)).task == "classification"
    assert read_task(rng.integers(1, classes + 1, 40 * classes)).task == "classification"


@pytest.mark.parametrize("seed", range(20))
def test_codes_out_of_balance_and_in_no_order_are_classes(seed):
    rng = np.random.default_rng(seed)
    shares = rng.permutation([0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.05, 0.03, 0.02, 0.01])
    assert read_task(rng.choice(10, 3000, p=shares)).task == "classification"


@pytest.mark.parametrize("seed", range(20))
def test_ratings_that_gather_around_one_are_a_scale(seed):
    rng = np.random.default_rng(seed)
    for steps in (5, 7, 10):
        middle = (1 + steps) / 2
        ratings = np.clip(np.rint(rng.normal(middle, steps / 6, 400)), 1, steps)
        assert read_task(ratings.astype(int)).task == "regression"
        assert read_task(ratings).task == "regression"


@pytest.mark.parametrize("mean", [1, 3, 8])
@pytest.mark.parametrize("seed", range(10))
def test_counts_are_numbers_or_refused_with_the_way(mean, seed, make):
    arrays = make(rows=300)
    counts = np.random.default_rng(seed).poisson(mean, 300)
    try:
        dataset = data.from_arrays(arrays | {"y": counts})
    except data.DataError as error:
        assert "--task regression" in str(error)  # noqa: PT017
    else:
        assert dataset.task == "regression" or "--task regression" in str(dataset.warnings)
    assert data.from_arrays(arrays | {"y": counts}, task="regression").task == "regression"


@pytest.mark.parametrize(
    ("y", "other"),
    [
        (balanced([0.0, 1, 2, NAN], 120), "regression"),
        (STARS, "classification"),
        (balanced([1, 2, 3, 4, 5], 200), "regression"),
        (balanced([-3.0, -2, 1, 2], 120), "classification"),
    ],
)
def test_the_other_reading_is_one_option_away(make, y, other):
    arrays = make(rows=len(y)) | {"y": y}
    dataset = data.from_arrays(arrays)
    assert any(f"--task {other}" in warning for warning in dataset.warnings)
    chosen = data.from_arrays(arrays, task=other)
    assert chosen.task == other != dataset.task
    assert not any("--task" in warning for warning in chosen.warnings)


def test_a_reading_depends_on_values_alone(make):
    """Classes as a join makes them: floats, NaN where nothing was joined."""
    codes = np.resize([0, 1, 2, -1], 120)
    floats = np.where(codes < 0, NAN, codes)
    one, other = (data.from_arrays(make(rows=120) | {"y": y}) for y in (codes, floats))
    assert one.fingerprint == other.fingerprint
    assert one.classes == other.classes == (0, 1, 2)
