"""Classes that are doubtful are named."""

import numpy as np
import pytest

from tuner import data


def warnings_of(make, y, **options):
    return data.from_arrays(make(rows=len(y)) | {"y": y}, **options).warnings


@pytest.mark.parametrize(
    "names",
    [
        ["cat ", "cat", "Cat", "dog"],
        ["new  york", "New York", "paris"],
        ["\uff21", "a", "b"],  # a full-width A
        ["1", "1.0", "2"],
        ["stra\u00dfe", "STRASSE", "weg"],
    ],
)
def test_near_twins(make, names):
    (warning,) = warnings_of(make, np.resize(names, 300))
    for twin in names[:-1]:
        assert repr(twin) in warning
    assert repr(names[-1]) not in warning


@pytest.mark.parametrize(
    "names", [["cat", "dog"], ["1", "-2", "2"], ["a1", "a2"], ["x.1", "x_1"], ["e", "\u00e9"]]
)
def test_names_that_differ(make, names):
    assert warnings_of(make, np.resize(names, 300)) == ()


@pytest.mark.parametrize(
    "twin",
    [
        "c\u0430t",  # a Cyrillic a
        "cat\u200b",  # a space of no width
        "\ufeffcat",  # a byte order mark
    ],
)
def test_twins_that_look_the_same_are_written_so_that_they_do_not(make, twin):
    (warning,) = warnings_of(make, np.resize(["cat", twin, "dog"], 300))
    assert "'cat' (100 rows)" in warning
    assert ascii(twin) in warning


def test_quotes_and_separators_make_twins(make):
    names = ["new-york", "New York", "new_york", '"paris"', "paris"]
    (warning,) = warnings_of(make, np.resize(names, 300))
    assert all(repr(name) in warning for name in names)


def test_large_numbers_are_compared_to_the_last_digit(make):
    assert warnings_of(make, np.resize(np.arange(3, dtype="u8") + 2**63, 300)) == ()
    assert warnings_of(make, np.resize([str(2**63 + each) for each in range(3)], 300)) == ()


def test_a_majority_and_the_class_that_it_hides(make):
    y = (np.arange(300) % 20 == 0).astype(int)
    (warning,) = warnings_of(make, y)
    assert "0 is the class of 285 of 300 labelled rows (95 %)" in warning
    assert "accuracy of 0.95" in warning
    assert "--metric balanced_accuracy" in warning


def test_a_majority_of_four_fifths_is_none(make):
    assert warnings_of(make, np.resize([0, 0, 0, 0, 1], 300)) == ()


def test_rare_classes(make):
    y = np.resize(["a", "b", "c"], 300)
    y[:4] = "d"
    (warning,) = warnings_of(make, y)
    assert "1 rare class: 'd' (4 rows)" in warning


def test_a_class_that_is_rare_beside_the_others(make):
    y = np.resize(["a", "b", "c"], 3000)
    y[:40] = "d"
    assert "'d' (40 rows)" in warnings_of(make, y)[0]
