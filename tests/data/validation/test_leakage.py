"""The label among the features is said, by the name or the number of the column."""

import numpy as np
import pandas as pd
import pytest

from tuner import data
from tuner.data.synthetic import WorldConfig, make_world

ROWS = 300


def warnings_of(arrays, **options):
    dataset = data.from_arrays(arrays, **options)
    return [text for text in dataset.warnings if "label in another form" in text]


@pytest.fixture
def clean(make):
    return make(rows=ROWS) | {"b": np.random.default_rng(1).normal(size=(ROWS, 5))}


CODES = np.arange(ROWS) * 7 % 11 % 3
AGES = np.random.default_rng(2).uniform(20, 80, ROWS)
LEAKS = {
    "itself": (CODES, CODES),
    "other codes": (CODES, np.array([9.5, -2, 4])[CODES]),
    "of text": (np.array(["ham", "eggs", "tea"])[CODES], CODES),
    "a column of its one-hot form": (CODES, CODES == 2),
    "a rating": (AGES // 10, (AGES // 10 > 5) * 1.0),
    "numbers": (AGES, AGES),
    "another unit": (AGES, 451 - 1.8 * AGES),
    "a logarithm": (AGES, np.log(AGES)),
    "rounded": (AGES, AGES.astype(np.float16)),
}


@pytest.mark.parametrize(("y", "column"), LEAKS.values(), ids=LEAKS.keys())
@pytest.mark.parametrize("side", ["a", "b"])
def test_a_column_that_is_the_label_is_numbered(clean, side, y, column):
    arrays = clean | {"y": y, side: np.insert(clean[side].astype(float), 2, column, axis=1)}
    if y.dtype.kind == "f":
        arrays["y"] = np.where(np.arange(ROWS) % 9 == 4, np.nan, y)  # of rows that have one
    (text,) = warnings_of(arrays)
    assert f"array {side!r}: feature 2 (counting from 0)" in text
    advice = text.partition("out, as by ")[2].removesuffix(".")
    assert warnings_of(arrays | {side: eval(advice, {"numpy": np, side: arrays[side]})}) == []


def test_the_columns_of_a_pattern_are_named(clean, tmp_path):
    columns = {f"lab_{n}": clean["a"][:, n] for n in range(4)}
    columns |= {"lab_dead": CODES * 10 + 3, "lab_icu": CODES == 1, "y": CODES}
    columns |= {f"scan{n}": clean["b"][:, n] for n in range(5)}
    pd.DataFrame(columns).to_csv(tmp_path / "clinic.csv", index=False)
    (text,) = data.read(tmp_path / "clinic.csv", a="lab_*", b="scan*").warnings
    assert "array 'lab_*': columns 'lab_dead' and 'lab_icu' are" in text
    assert data.read(tmp_path / "clinic.csv", a="lab_[0-9]", b="scan*").warnings == ()
    assert warnings_of(columns, a="lab_*", b="scan*") == [text]


@pytest.mark.parametrize(
    "b",
    [
        np.array(["a photo of a cat", "a photo of a dog", "an owl"])[CODES],
        np.random.default_rng(0).normal(size=(3, 7, 2))[CODES],
        np.random.default_rng(0).integers(0, 9, size=(3, 1, 4, 4))[CODES],
    ],
    ids=["text", "sequences", "images"],
)
def test_rows_that_are_alike_within_a_class(clean, b):
    (text,) = warnings_of(clean | {"y": CODES, "b": b})
    assert "array 'b' is the label in another form" in text
    b[0] = b[1]  # one row of another class
    assert warnings_of(clean | {"y": CODES, "b": b}) == []


@pytest.mark.parametrize("y", [CODES, AGES, AGES // 10], ids=["classes", "numbers", "ratings"])
def test_what_only_depends_on_the_label_is_no_leak(clean, y):
    rng = np.random.default_rng(3)
    noisy = y + 0.01 * y.std() * rng.normal(size=ROWS)
    slip = np.where(np.arange(ROWS) == np.argmin(y), y.max(), y)
    above = (y > np.median(y)) & (np.arange(ROWS) > 20)
    rare = np.arange(ROWS) == int(np.argmax(y))
    columns = np.stack([noisy, slip, above, rare, np.arange(ROWS)], axis=1)
    assert warnings_of(clean | {"y": y, "a": columns}) == []


def test_a_word_that_is_in_all_rows_of_a_rare_class_is_no_leak(clean):
    y = np.where(np.arange(ROWS) < 4, 2, np.arange(ROWS) % 2)
    words = np.random.default_rng(0).integers(0, 2, size=(ROWS, 6)) * 1.0
    words[:, 3] = y == 2
    assert warnings_of(clean | {"y": y, "a": words}) == []


@pytest.mark.parametrize("continuous", [True, False])
def test_what_a_world_shares_of_its_label_is_no_leak(continuous):
    world = make_world(WorldConfig(rows=400, redundant=8, synergistic=0, continuous=continuous))
    assert not any("another form" in warning for warning in world.dataset.warnings)
